"""Accounts: names with a role. Who had which role since when is history; passwords are not.

Promise: a change of a role is an entry of the ledger; a password's hash is in the `credential`
table only, is replaced by the next one, and goes with the account.

Rules: whether changes need a second person is a row of `user` as well, under a name that no
account can have.

    accounts.add("ada", "editor", "correct horse", author="root")
    accounts.role("ada")                        # 'editor'
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ledger.access.passwords import Passwords
from ledger.errors import Conflict, InvalidInput, UnknownRevision
from ledger.journal import Journal
from ledger.records import Rows, UserRecord

ROLES: Final = ("reader", "editor", "admin")
_GONE: Final = ""
_EVERYBODY: Final = "*"
_FOUR_EYES: Final = "four-eyes"
_NAME = re.compile(r"[\w][\w.@-]{0,63}")


@dataclass(frozen=True)
class AccountView:
    """An account: its name, its role and since when it has it."""

    name: str
    role: str
    since: str


class Accounts:
    """The accounts of one ledger."""

    def __init__(self, journal: Journal, passwords: Passwords, clock: Callable[[], int]) -> None:
        self._journal, self._passwords, self._clock = journal, passwords, clock

    def all(self) -> list[AccountView]:
        """Every account there is, by name."""
        return [found for found in self._rows() if found.name != _EVERYBODY]

    def four_eyes(self) -> bool:
        """Whether a change must be confirmed by somebody else than who proposed it."""
        return any(found.name == _EVERYBODY for found in self._rows())

    def need_four_eyes(self, needed: bool, *, author: str) -> None:
        """Have it so from now on, or no longer; recorded in the history."""
        if needed != self.four_eyes():
            self._record(_EVERYBODY, _FOUR_EYES if needed else _GONE, author)

    def _rows(self) -> list[AccountView]:
        """The last row of each name, without those that are gone."""
        with self._journal.database.read() as reading:
            rows = reading.query('SELECT name, role, created_at FROM "user" ORDER BY id')
        last = {str(row["name"]): row for row in rows}
        return [
            AccountView(name, str(row["role"]), str(row["created_at"]))
            for name, row in sorted(last.items())
            if row["role"] != _GONE
        ]

    def role(self, name: str) -> str | None:
        """The role of an account; None if there is none."""
        return next((found.role for found in self.all() if found.name == name), None)

    def add(self, name: str, role: str, password: str, *, author: str) -> None:
        """Make an account. Raises: InvalidInput, Conflict if the name is taken."""
        if not _NAME.fullmatch(name):
            raise InvalidInput(f"{name!r} is no name: up to 64 letters, digits and . _ @ -")
        _check_role(role)
        if self.role(name) is not None:
            raise Conflict(f"there is an account {name!r} already; `kel user passwd` changes it")
        stored = self._passwords.hashed(password)
        self._record(name, role, author)
        self._keep(name, stored)

    def change_role(self, name: str, role: str, *, author: str) -> None:
        """Give an account another role, from now on. Raises: InvalidInput, UnknownRevision."""
        _check_role(role)
        self._known(name)
        if self.role(name) != role:
            self._record(name, role, author)

    def remove(self, name: str, *, author: str) -> None:
        """Take an account away, with its password, sessions and tokens. Raises: UnknownRevision."""
        self._known(name)
        self._record(name, _GONE, author)
        self._keep(name, None)
        self._forget(name, tokens=True)

    def change_password(self, name: str, password: str) -> None:
        """Set a password; the account is logged out everywhere. Raises: UnknownRevision."""
        self._known(name)
        self._keep(name, self._passwords.hashed(password))
        self._forget(name, tokens=False)

    def right(self, name: str, password: str) -> bool:
        """Whether it is the account's password; takes as long if there is no such account."""
        known = self._stored(name) if self.role(name) is not None else None
        return self._passwords.match(known, password)

    def renew(self, name: str, password: str) -> None:
        """Hash the right password again if that was done at another cost; nobody is logged out."""
        from sqlalchemy import update

        from ledger.access.tables import CREDENTIAL

        old = self._stored(name)
        if old is None or not self._passwords.outdated(old):
            return
        # Another password may have been set meanwhile: that one stays.
        same = (CREDENTIAL.c.name == name) & (CREDENTIAL.c.password_hash == old)
        new = self._passwords.hashed(password)
        with self._journal.database.write() as writing:
            writing.connection.execute(update(CREDENTIAL).where(same).values(password_hash=new))

    def _stored(self, name: str) -> str | None:
        """The hash of an account's password."""
        with self._journal.database.read() as reading:
            rows = reading.query("SELECT password_hash FROM credential WHERE name = :n", n=name)
        return str(rows[0]["password_hash"]) if rows else None

    def _known(self, name: str) -> None:
        if self.role(name) is None:
            raise UnknownRevision(f"there is no account {name!r}; `kel user list` shows them")

    def _record(self, name: str, role: str, author: str) -> None:
        rows = Rows(users=(UserRecord(name=name, role=role, password_hash=""),))
        self._journal.append("user", rows=rows, payload={"name": name, "role": role}, author=author)

    def _keep(self, name: str, stored: str | None) -> None:
        from sqlalchemy import delete, insert

        from ledger.access.tables import CREDENTIAL

        with self._journal.database.write() as writing:
            writing.connection.execute(delete(CREDENTIAL).where(CREDENTIAL.c.name == name))
            if stored is not None:
                row = {"name": name, "password_hash": stored, "changed_at": self._clock()}
                writing.connection.execute(insert(CREDENTIAL), [row])

    def _forget(self, name: str, *, tokens: bool) -> None:
        from sqlalchemy import delete

        from ledger.access.tables import SESSION, TOKEN

        with self._journal.database.write() as writing:
            writing.connection.execute(delete(SESSION).where(SESSION.c.name == name))
            if tokens:
                writing.connection.execute(delete(TOKEN).where(TOKEN.c.name == name))


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise InvalidInput(f"role {role!r} is none of {', '.join(ROLES)}")
