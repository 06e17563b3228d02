"""Tokens of the API, one a program: random, stored as sha256 only, with a scope and an end.

Promise: a token is shown once; one that ended or was taken back is none; a rotation makes the new
one and ends the old one in the same transaction.

Rules: `chat` may ask the model, `read` see the ledger too, `edit` change it too.

    secret = tokens.add("ada", "nightly", "read", days=90)
    tokens.holder(secret).scope              # 'read'
    tokens.rotate("3fa94c", overlap=3600)    # a new secret; the old one ends in an hour
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from ledger.access.secrets import digest, fresh
from ledger.db import Database
from ledger.errors import InvalidInput, UnknownRevision

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from ledger.db import Writing

SCOPES: Final = ("chat", "read", "edit")
PREFIX: Final = "kel_"
SHOWN: Final = 12
LABEL_LIMIT: Final = 200
DAY: Final = 24 * 3600


@dataclass(frozen=True)
class TokenView:
    """A token without its secret; `id` is the beginning of its hash, times are seconds since 1970,
    `expires_at` None for no end."""

    id: str
    name: str
    label: str
    scope: str
    created_at: int
    expires_at: int | None = None


class Tokens:
    """The tokens of one ledger; `clock` gives seconds since 1970."""

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        self._database, self._clock = database, clock

    def add(self, name: str, label: str, scope: str, days: int | None = None) -> str:
        """A new token's secret; it ends after so many days. Raises: InvalidInput."""
        if scope not in SCOPES:
            raise InvalidInput(f"scope {scope!r} is none of {', '.join(SCOPES)}")
        if len(label) > LABEL_LIMIT or not label.isprintable():
            raise InvalidInput(f"a label has up to {LABEL_LIMIT} printable characters")
        now = self._clock()
        view = TokenView("", name, label, scope, now, _end(now, days))
        with self._database.write() as writing:
            return _added(writing, view)

    def holder(self, secret: str) -> TokenView | None:
        """Whose token it is, and what for; None if there is none or it ended."""
        with self._database.read() as reading:
            rows = reading.query(
                "SELECT * FROM token WHERE id = :id AND (expires_at IS NULL OR expires_at > :now)",
                id=digest(secret),
                now=self._clock(),
            )
        return _shown(rows[0]) if rows else None

    def all(self) -> list[TokenView]:
        """Every token, oldest first, also those that ended."""
        with self._database.read() as reading:
            rows = reading.query("SELECT * FROM token ORDER BY created_at, id")
        return [_shown(row) for row in rows]

    def rotate(self, start: str, *, overlap: int = 0, days: int | None = None) -> str:
        """Another secret for a token; the old one ends in `overlap` seconds.

        It lasts as long as the old one was made for, unless `days` are given.
        Raises: UnknownRevision, InvalidInput.
        """
        from sqlalchemy import update

        from ledger.access.tables import TOKEN

        if overlap < 0:
            raise InvalidInput("an overlap is 0 seconds or more")
        old, now = self.find(start), self._clock()
        lasted = None if old.expires_at is None else old.expires_at - old.created_at
        end = _end(now, days) if days is not None or lasted is None else now + lasted
        last = min(now + overlap, old.expires_at or now + overlap)
        with self._database.write() as writing:
            if overlap:
                writing.connection.execute(update(TOKEN).where(_is(old)).values(expires_at=last))
            else:
                _delete(writing, _is(old))
            return _added(writing, replace(old, created_at=now, expires_at=end))

    def remove(self, start: str) -> None:
        """Take a token back by the beginning of its hash. Raises: UnknownRevision."""
        found = self.find(start)
        with self._database.write() as writing:
            _delete(writing, _is(found))

    def find(self, start: str) -> TokenView:
        """The one token whose hash begins so. Raises: UnknownRevision."""
        found = [token for token in self.all() if token.id.startswith(start[:SHOWN])]
        if len(start) < 6 or len(found) != 1:
            raise UnknownRevision(f"no token, or several, begin with {start[:SHOWN]!r}")
        return found[0]


def _end(now: int, days: int | None) -> int | None:
    if days is not None and not 1 <= days <= 36500:
        raise InvalidInput(f"a token lasts 1 to 36500 days, not {days}")
    return None if days is None else now + days * DAY


def _added(writing: Writing, view: TokenView) -> str:
    from sqlalchemy import insert

    from ledger.access.tables import TOKEN

    secret = PREFIX + fresh()
    writing.connection.execute(insert(TOKEN), [{**asdict(view), "id": digest(secret)}])
    return secret


def _delete(writing: Writing, which: ColumnElement[bool]) -> None:
    from sqlalchemy import delete

    from ledger.access.tables import TOKEN

    writing.connection.execute(delete(TOKEN).where(which))


def _is(token: TokenView) -> ColumnElement[bool]:
    from ledger.access.tables import TOKEN

    return TOKEN.c.id.startswith(token.id, autoescape=True)


def _shown(row: Any) -> TokenView:
    return TokenView(**{**row, "id": row["id"][:SHOWN]})
