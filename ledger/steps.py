"""What the entries did and of which edits, read without what else the rows hold: for any length.

Promise: the texts of edits, which payloads hold, are not read; entries of one kind are found by
their index.

    with database.read() as snapshot:
        longer = history.after(changes(snapshot, after=history.seq))
        lines = Lines.of(branching(snapshot), head)
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from ledger.carried import Change
from ledger.errors import IntegrityFailure
from ledger.history import BRANCHING, CHANGING
from ledger.lines import Lines
from ledger.sqlite import Reading, Row


@dataclass(frozen=True)
class Stated:
    """A fact as an edit states it; `version` is the one it made, None if it was refused."""

    edit: int
    subject: str
    prompt: str
    version: int | None


@dataclass(frozen=True)
class Standing:
    """How edits stand at the head: as in `History`, without folding it.

    `applied` are those that were ever carried, `met` those that the line of the head ever carried.
    """

    applied: frozenset[int]
    active: frozenset[int]
    met: frozenset[int]
    lines: Lines

    def state(self, edit: int) -> Literal["active", "reverted", "elsewhere"]:
        """One word: `elsewhere` is an edit of another branch, or one that a gate refused."""
        if edit in self.active:
            return "active"
        return "reverted" if edit in self.met else "elsewhere"

    @classmethod
    def of(cls, came: Mapping[int, int], turns: Iterable[Change], lines: Lines) -> "Standing":
        """From the versions that brought edits, the entries that turned any later, the branches.

        Every change turns its edits to the other side: the first brings them.
        """
        on_way = lines.way(lines.head)
        active, met = set(came), {edit for edit, version in came.items() if on_way(version)}
        for change in turns:
            turned = came.keys() & change.edits
            active ^= turned
            if change.op != "switch" and on_way(change.version):
                met |= turned
        return cls(frozenset(came), frozenset(active), frozenset(met), lines)


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


def came(reading: Reading, edits: Iterable[int] | None = None) -> dict[int, int]:
    """Edit -> the version it was applied in, of some edits or of all; refused ones are left out."""
    every = (
        "SELECT edit.id, entry.version FROM edit JOIN entry ON entry.seq = edit.entry_seq"
        " WHERE entry.op = 'apply' ORDER BY edit.id"
    )
    some = (
        "SELECT edit.id, entry.version FROM edit JOIN entry ON entry.seq = edit.entry_seq"
        " WHERE edit.id IN (SELECT CAST(value AS BIGINT) FROM json_each(:keys))"
        " AND entry.op = 'apply' ORDER BY edit.id"
    )
    if edits is None:
        rows = reading.query(every)
    else:
        rows = reading.query(some, keys=json.dumps(sorted(set(edits))))
    return {row["id"]: row["version"] for row in rows}


def turns(reading: Reading) -> list[Change]:
    """The entries that turned edits which had come before, in order."""
    sql = (
        "SELECT seq, version, op, edits, payload FROM entry"
        " WHERE op IN ('revert', 'reapply', 'swap', 'switch', 'merge') ORDER BY seq"
    )
    return [change_of(row) for row in reading.query(sql)]


def carried(reading: Reading, edits: Iterable[int], version: int) -> frozenset[int]:
    """Those of some edits that a version carries."""
    brought = came(reading, edits)
    found = {edit for edit, first in brought.items() if first <= version}
    for change in turns(reading):
        if change.version <= version:
            found ^= brought.keys() & change.edits
    return frozenset(found)


def between(reading: Reading, low: int, high: int) -> frozenset[int]:
    """The edits that one of two versions carries and the other does not."""
    sql = (
        "SELECT seq, version, op, edits, '{}' AS payload FROM entry"
        " WHERE version > :low AND version <= :high"
    )
    found = set[int]()
    for row in reading.query(sql, low=low, high=high):
        if row["op"] in CHANGING:
            found.symmetric_difference_update(change_of(row).edits)
    return frozenset(found)


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


def about(reading: Reading, subjects: Iterable[str]) -> tuple[Stated, ...]:
    """What was stated of these subjects, in order."""
    sql = (
        "SELECT edit.id, subject, prompt,"
        " CASE WHEN entry.op = 'apply' THEN entry.version END AS version"
        " FROM edit JOIN entry ON entry.seq = edit.entry_seq"
        " WHERE subject IN (SELECT value FROM json_each(:keys)) ORDER BY edit.id"
    )
    found = reading.query(sql, keys=json.dumps(sorted(set(subjects))))
    return tuple(Stated(r["id"], r["subject"], r["prompt"], r["version"]) for r in found)


def siblings(reading: Reading, batch_ids: Iterable[int]) -> dict[int, tuple[int, ...]]:
    """Batch -> the numbers of its edits, by component."""
    sql = (
        "SELECT batch_id, id FROM edit WHERE batch_id IN"
        " (SELECT CAST(value AS BIGINT) FROM json_each(:keys)) ORDER BY batch_id, component, id"
    )
    found: dict[int, list[int]] = {}
    for row in reading.query(sql, keys=json.dumps(list(batch_ids))):
        found.setdefault(row["batch_id"], []).append(row["id"])
    return {batch: tuple(edits) for batch, edits in found.items()}


def _ids(written: str) -> tuple[int, ...]:
    # Nearly all hold one, and there may be very many; what was altered may be no text.
    if isinstance(written, str) and (one := written[1:-1]).isdecimal() and written == f"[{one}]":
        return (int(one),)
    return _read(written, lambda found: tuple(int(number) for number in found))


def _read(written: str, kind: Callable[[Any], T]) -> T:
    try:
        return kind(json.loads(written))
    except (ValueError, TypeError) as error:
        raise IntegrityFailure(f"an entry was altered ({error}); run verify.") from error
