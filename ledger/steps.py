"""What the entries did, read without what else they hold: enough to fold a history of any length.

Promise: the texts of edits, which payloads hold, are not read; entries of one kind are found by
their index.

    with database.read() as snapshot:
        longer = history.after(changes(snapshot, after=history.seq))
        lines = Lines.of(branching(snapshot), head)
"""

import json
from collections.abc import Callable
from typing import Any, TypeVar

from ledger.carried import Change
from ledger.errors import IntegrityFailure
from ledger.history import BRANCHING
from ledger.sqlite import Reading, Row

T = TypeVar("T")


def last_number(reading: Reading) -> int:
    """The number of the newest entry; 0 before the first."""
    return int(reading.query("SELECT max(seq) AS seq FROM entry")[0]["seq"] or 0)


def changes(reading: Reading, after: int = 0) -> list[Change]:
    """What the entries after `after` did; payloads of edits, which hold texts, are not read."""
    light = reading.query(
        "SELECT seq, version, op, edits,"
        " CASE WHEN op IN ('branch', 'switch', 'merge') THEN payload ELSE '{}' END AS payload"
        " FROM entry WHERE seq > :after ORDER BY seq",
        after=after,
    )
    return [change_of(row) for row in light]


def branching(reading: Reading) -> list[Change]:
    """The entries about branches."""
    sql = (
        "SELECT seq, version, op, edits, payload FROM entry"
        " WHERE op IN ('branch', 'switch', 'merge') ORDER BY seq"
    )
    return [change_of(row) for row in reading.query(sql)]


def change_of(row: Row) -> Change:
    """What a row of `entry` did, with its payload if it is about branches."""
    payload = _read(row["payload"], dict) if row["op"] in BRANCHING else {}
    return Change(row["seq"], row["version"], row["op"], _ids(row["edits"]), payload)


def rejected(reading: Reading) -> tuple[int, ...]:
    """Ids of the edits that a gate refused, in order."""
    found = reading.query("SELECT edits FROM entry WHERE op = 'reject' ORDER BY seq")
    return tuple(edit for row in found for edit in _ids(row["edits"]))


def _ids(written: str) -> tuple[int, ...]:
    return _read(written, lambda found: tuple(int(number) for number in found))


def _read(written: str, kind: Callable[[Any], T]) -> T:
    try:
        return kind(json.loads(written))
    except (ValueError, TypeError) as error:
        raise IntegrityFailure(f"an entry was altered ({error}); run verify.") from error
