"""Everything about who may do what, in one value.

Promise: a name and a password are checked under the rate limit, at the same cost for an unknown
name, with the same answer.

    access = Access(journal)
    access.sign_in("ada", "correct horse", address="127.0.0.1")     # 'editor', or raises
    access.bearer("kel_…").scope                                    # 'read', of a reader's at most
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from ledger.access.accounts import ROLES, Accounts
from ledger.access.attempts import Attempts
from ledger.access.passwords import Passwords
from ledger.access.proposals import SECONDS, WAITING, Kind, Pending, Proposals
from ledger.access.secrets import Sessions
from ledger.access.tokens import SCOPES, Tokens, TokenView
from ledger.errors import NotAllowed
from ledger.journal import Journal

_SCOPE: Final = MappingProxyType({"reader": "read", "editor": "edit", "admin": "edit"})


def now() -> int:
    """Seconds since 1970."""
    return int(time.time())


class Access:
    """Accounts, sessions, tokens, proposals and failed attempts of one ledger."""

    def __init__(
        self,
        journal: Journal,
        *,
        passwords: Passwords | None = None,
        clock: Callable[[], int] = now,
    ) -> None:
        database = journal.database
        self.accounts = Accounts(journal, passwords or Passwords(), clock)
        self.attempts = Attempts(database, clock)
        self.sessions = Sessions(database, clock)
        self.tokens = Tokens(database, clock)
        self.proposals = Proposals(database, clock)

    def sign_in(self, name: str, password: str, *, address: str) -> str:
        """The role of who knows the password. Raises: NotAllowed, TooManyAttempts."""
        account = f"user {name[:64]}"
        attempt = self.attempts.begin([account, f"from {address[:64]}"])
        if not self.accounts.right(name, password):
            raise NotAllowed("the name or the password is wrong")
        self.attempts.succeeded(attempt, account)
        self.accounts.renew(name, password)
        return self.accounts.role(name) or ROLES[0]

    def bearer(self, secret: str) -> TokenView | None:
        """Whose token it is, with no more scope than the account's role has now."""
        token = self.tokens.holder(secret)
        role = self.accounts.role(token.name) if token else None
        if token is None or role is None:
            return None
        most = _SCOPE[role]
        return (
            token if SCOPES.index(token.scope) <= SCOPES.index(most) else replace(token, scope=most)
        )

    def propose(self, kind: Kind, body: Mapping[str, Any], proposer: str) -> Pending:
        """A new proposal. Raises: NotAllowed for nobody's, where a second person must confirm."""
        two = self.accounts.four_eyes()
        if two and not proposer:
            raise NotAllowed("another person has to confirm it, so it needs a name: log in first")
        return self.proposals.open(kind, body, proposer, WAITING if two else SECONDS)

    def confirm(self, name: str, digest: str, *, who: str, role: str | None) -> Pending:
        """Use a proposal, once, as `who`. Raises: NotAllowed, ProposalGone."""
        self.allow(role, "editor")
        found = self.proposals.get(name)
        if found is not None and found.proposer in ("", who) and self.accounts.four_eyes():
            raise NotAllowed("somebody else than who proposed it has to confirm it")
        return self.proposals.take(name, digest)

    def refuse(self, name: str, *, who: str | None, role: str | None) -> None:
        """Make a proposal useless; one's own, nobody's, or any as an editor. Raises: NotAllowed."""
        found = self.proposals.get(name)
        if found is not None and found.proposer not in ("", who):
            self.allow(role, "editor")
        self.proposals.withdraw(name)

    def allow(self, role: str | None, needed: str) -> None:
        """Refuse a role below the one needed. Raises: NotAllowed."""
        if role is None or ROLES.index(role) < ROLES.index(needed):
            raise NotAllowed(f"this needs the role {needed}; you are {role or 'nobody'}")
