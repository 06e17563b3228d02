"""Secrets and the sessions of the browser: random, and stored as sha256 only.

Promise: nobody who reads the database can use what is in it; a session that was not used for half
an hour, or is older than half a day, is none.

    token = sessions.start("ada")
    sessions.holder(token)             # 'ada'
    sessions.end(token)
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from typing import Final

from ledger.db import Database

IDLE: Final = 30 * 60
LONGEST: Final = 12 * 3600
TOUCHED: Final = 60


def fresh() -> str:
    """A secret of 256 bits."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class Sessions:
    """Who is logged in where."""

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        self._database, self._clock = database, clock

    def start(self, name: str) -> str:
        """A new session's secret; sessions that are over are forgotten."""
        from sqlalchemy import delete, insert, or_

        from ledger.access.tables import SESSION

        now, secret = self._clock(), fresh()
        over = or_(SESSION.c.seen_at < now - IDLE, SESSION.c.created_at < now - LONGEST)
        row = {"id": digest(secret), "name": name, "created_at": now, "seen_at": now}
        with self._database.write() as writing:
            writing.connection.execute(delete(SESSION).where(over))
            writing.connection.execute(insert(SESSION), [row])
        return secret

    def holder(self, secret: str) -> str | None:
        """Whose session it is; None if it is over. Changes nothing."""
        now = self._clock()
        with self._database.read() as reading:
            rows = reading.query(
                "SELECT name FROM session WHERE id = :id AND seen_at >= :seen "
                "AND created_at >= :at",
                id=digest(secret),
                seen=now - IDLE,
                at=now - LONGEST,
            )
        return str(rows[0]["name"]) if rows else None

    def touch(self, secret: str) -> None:
        """The session was used; written at most once a minute."""
        from sqlalchemy import update

        from ledger.access.tables import SESSION

        now = self._clock()
        with self._database.read() as reading:
            seen = reading.query("SELECT seen_at FROM session WHERE id = :id", id=digest(secret))
        if seen and seen[0]["seen_at"] <= now - TOUCHED:
            mine = SESSION.c.id == digest(secret)
            with self._database.write() as writing:
                writing.connection.execute(update(SESSION).where(mine).values(seen_at=now))

    def end(self, secret: str) -> None:
        """Log out."""
        from sqlalchemy import delete

        from ledger.access.tables import SESSION

        with self._database.write() as writing:
            writing.connection.execute(delete(SESSION).where(SESSION.c.id == digest(secret)))
