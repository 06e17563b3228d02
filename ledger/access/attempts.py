"""Failed attempts: guessing is slow, for an account and from an address, also after a restart.

Promise: of any number of tries, also at once, at most `FREE` of one key are let through before it
has to wait; the wait doubles with every further `FREE` failures.

Rules: a try is recorded before the password is looked at and taken back if it was right, so tries
that run at the same time count one another.

    attempt = attempts.begin(["user ada", "from 127.0.0.1"])     # may raise TooManyAttempts
    attempts.succeeded(attempt)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from ledger.db import Database, Writing
from ledger.errors import TooManyAttempts

FREE: Final = 5
WAIT: Final = 15 * 60
FORGOTTEN: Final = 24 * 3600


class Attempts:
    """Counts the failures of keys; `clock` gives seconds since 1970."""

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        self._database, self._clock = database, clock

    def begin(self, keys: Sequence[str]) -> tuple[int, ...]:
        """Record a try of every key. Raises: TooManyAttempts, and nothing is recorded then."""
        from sqlalchemy import delete, func, insert, select

        from ledger.access.tables import ATTEMPT

        now = self._clock()
        with self._database.write() as writing:
            connection = writing.connection
            connection.execute(delete(ATTEMPT).where(ATTEMPT.c.at <= now - FORGOTTEN))
            left = max(_left(writing, key, now) for key in keys)
            if left <= 0:
                last = connection.execute(select(func.max(ATTEMPT.c.id))).scalar() or 0
                ids = tuple(range(last + 1, last + 1 + len(keys)))
                rows = [{"id": i, "key": k, "at": now} for i, k in zip(ids, keys, strict=True)]
                connection.execute(insert(ATTEMPT), rows)
        if left > 0:
            raise TooManyAttempts(left)
        return ids

    def succeeded(self, attempt: Sequence[int], account: str) -> None:
        """The try was right: it and the account's failures do not count."""
        from sqlalchemy import delete, or_

        from ledger.access.tables import ATTEMPT

        with self._database.write() as writing:
            gone = or_(ATTEMPT.c.id.in_(attempt), ATTEMPT.c.key == account)
            writing.connection.execute(delete(ATTEMPT).where(gone))


def _left(writing: Writing, key: str, now: int) -> int:
    """Seconds that a key has to wait; 0 or less if it need not."""
    from sqlalchemy import select

    from ledger.access.tables import ATTEMPT

    found = writing.connection.execute(select(ATTEMPT.c.at).where(ATTEMPT.c.key == key))
    times = sorted(row[0] for row in found)
    if len(times) < FREE:
        return 0
    wait = min(FORGOTTEN, WAIT * 2 ** (len(times) // FREE - 1))
    # Between two multiples of FREE the key has waited already.
    last = times[len(times) // FREE * FREE - 1]
    return int(last + wait - now)
