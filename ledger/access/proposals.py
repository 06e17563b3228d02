"""Proposals: changes that wait for a confirmation, for five minutes, to be used once; for a day
where a second person has to confirm them.

Promise: of two confirmations at the same time one wins; what is confirmed is what was shown, by its
digest; a proposal that was used, withdrawn or left too long cannot be used.

    pending = proposals.open("edit", request.to_json(), proposer="ada")
    proposals.take(pending.id, pending.digest)         # raises ProposalGone the second time
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from ledger.access.secrets import fresh
from ledger.chain import digest as json_digest
from ledger.db import Database
from ledger.errors import ProposalGone
from ledger.sqlite import Row

SECONDS: Final = 5 * 60
WAITING: Final = 24 * 3600
KEPT: Final = 24 * 3600
MOST_LISTED: Final = 1000
Kind = Literal["edit", "revert", "reapply"]


@dataclass(frozen=True)
class Pending:
    """A proposal. state: 'open', 'used' or 'withdrawn'; times in seconds since 1970."""

    id: str
    kind: str
    body: Mapping[str, Any]
    digest: str
    proposer: str
    created_at: int
    expires_at: int
    state: str


class Proposals:
    """The proposals of one ledger."""

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        self._database, self._clock = database, clock

    def open(
        self, kind: Kind, body: Mapping[str, Any], proposer: str, seconds: int = SECONDS
    ) -> Pending:
        """A new proposal; those that ended a day ago are forgotten."""
        from sqlalchemy import delete, insert

        from ledger.access.tables import PROPOSAL

        now, name = self._clock(), fresh()
        whole = {"id": name, "kind": kind, "body": dict(body), "proposer": proposer}
        found = Pending(
            name, kind, dict(body), json_digest(whole), proposer, now, now + seconds, "open"
        )
        row = {**found.__dict__, "body": json.dumps(found.body, ensure_ascii=False, sort_keys=True)}
        with self._database.write() as writing:
            old = PROPOSAL.c.expires_at < now - KEPT
            writing.connection.execute(delete(PROPOSAL).where(old))
            writing.connection.execute(insert(PROPOSAL), [row])
        return found

    def get(self, name: str) -> Pending | None:
        """A proposal in whatever state."""
        with self._database.read() as reading:
            rows = reading.query("SELECT * FROM proposal WHERE id = :id", id=name)
        return _pending(rows[0]) if rows else None

    def waiting(self) -> list[Pending]:
        """Those that could be confirmed now, oldest first; at most the first thousand."""
        with self._database.read() as reading:
            rows = reading.query(
                "SELECT * FROM proposal WHERE state = 'open' AND expires_at > :now "
                "ORDER BY created_at, id LIMIT :most",
                now=self._clock(),
                most=MOST_LISTED,
            )
        return [_pending(row) for row in rows]

    def usable(self, pending: Pending) -> bool:
        """Whether it could be confirmed now."""
        return pending.state == "open" and self._clock() < pending.expires_at

    def take(self, name: str, digest: str) -> Pending:
        """Use a proposal, once. Raises: ProposalGone."""
        from sqlalchemy import update

        from ledger.access.tables import PROPOSAL

        found = self.get(name)
        if found is None or found.digest != digest:
            raise ProposalGone("this is not the proposal that was shown; make a new one")
        if found.state != "open":
            raise ProposalGone(f"the proposal was {found.state} already; make a new one")
        mine = (PROPOSAL.c.id == name) & (PROPOSAL.c.state == "open")
        mine &= PROPOSAL.c.expires_at > self._clock()
        with self._database.write() as writing:
            done = writing.connection.execute(update(PROPOSAL).where(mine).values(state="used"))
            taken = done.rowcount == 1
        if not taken:
            raise ProposalGone("the proposal is too old or was used meanwhile; make a new one")
        return found

    def withdraw(self, name: str) -> None:
        """Make a proposal useless."""
        from sqlalchemy import update

        from ledger.access.tables import PROPOSAL

        mine = (PROPOSAL.c.id == name) & (PROPOSAL.c.state == "open")
        with self._database.write() as writing:
            writing.connection.execute(update(PROPOSAL).where(mine).values(state="withdrawn"))


def _pending(row: Row) -> Pending:
    return Pending(**{**row, "body": json.loads(str(row["body"]))})
