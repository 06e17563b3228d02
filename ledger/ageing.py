"""How a ledger ages: what its edits and everything else came to from version to version.

Promise: every number is one that was measured on that version and recorded; a version without
measurements has none.

Rules: of a version that an edit made, the numbers are those recorded with the edit; a test of all
active edits of a version takes their place. A version that carries no edit is the base, and agrees
with it by definition. drift is the mean change of the active edits' reliability since each was
made.

    view = aged(ledger.journal)
    view.versions[-1].reliability, view.unmeasured          # 0.93, (4, 7)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ledger.carried import Change
from ledger.journal import Journal
from ledger.records import MeasurementRecord

Measured = Sequence[MeasurementRecord]


@dataclass(frozen=True)
class VersionAge:
    """One version. `source`: what its numbers come from (`edit`, `test`, `base`, or nothing).

    reliability: mean over all active edits; locality: on the ledger's random probes.
    """

    version: int
    op: str
    edits: tuple[int, ...]  # that came or went
    active: int
    source: str
    reliability: float | None = None
    locality: float | None = None
    drift: float | None = None


@dataclass(frozen=True)
class HistoryView:
    """All versions from the base on, and those that have no numbers."""

    versions: tuple[VersionAge, ...]
    unmeasured: tuple[int, ...]


def aged(journal: Journal) -> HistoryView:
    """The versions of a ledger with what was measured on them."""
    changes = journal.history().changes
    tests: dict[int, list[Measured]] = defaultdict(list)
    for version, found in _tests(journal):
        tests[version].append(found)
    first: dict[int, float] = {}  # edit -> reliability right after it was made
    active: set[int] = set()
    rows = [VersionAge(0, "init", (), 0, "base", locality=1.0)]
    for change in changes:
        made = journal.measurements(entry_seq=change.seq) if change.op == "apply" else ()
        first.update(_reliabilities(made, "edit"))
        active = _after(active, change)
        age = VersionAge(change.version, change.op, change.edits, len(active), "")
        whole = [t for t in tests[change.version] if set(_reliabilities(t, "test")) == active]
        rows.append(_measured(age, active, made, whole[-1] if whole else (), first))
    missing = tuple(row.version for row in rows if not row.source)
    return HistoryView(tuple(rows), missing)


def _after(active: set[int], change: Change) -> set[int]:
    return active - set(change.edits) if change.op == "revert" else active | set(change.edits)


def _measured(
    age: VersionAge, active: set[int], made: Measured, tested: Measured, first: Mapping[int, float]
) -> VersionAge:
    """A version with its numbers: those of a test of all its edits, else of the edit that made it.

    `first`: the reliability of every edit right after it was made.
    """
    if not active:
        return replace(age, source="base", locality=1.0)
    if not (tested or made):
        return age
    if tested:
        now = _reliabilities(tested, "test")
        reliability = sum(now.values()) / len(now)
    else:
        reliability = _with_earlier(age, made)
    then = [first[edit] for edit in active if edit in first]
    return replace(
        age,
        source="test" if tested else "edit",
        reliability=reliability,
        locality=_value(tested or made, "locality_random"),
        drift=reliability - sum(then) / len(then) if len(then) == len(active) else None,
    )


def _with_earlier(age: VersionAge, made: Measured) -> float:
    """The mean over the edits that came and, as measured with them, those that were there."""
    own = _reliabilities(made, "edit")
    earlier = _value(made, "earlier_reliability") or 0.0
    return (sum(own.values()) + earlier * (age.active - len(own))) / age.active


def _reliabilities(rows: Iterable[MeasurementRecord], suite: str) -> dict[int, float]:
    return {
        row.edit_id: row.value
        for row in rows
        if row.suite == suite and row.metric == "reliability" and row.edit_id is not None
    }


def _value(rows: Iterable[MeasurementRecord], metric: str) -> float | None:
    return next((row.value for row in rows if row.metric == metric), None)


def _tests(journal: Journal) -> Iterator[tuple[int, Measured]]:
    """Version -> the numbers of each test of it, the newest last."""
    for entry in reversed([*journal.entries_of_kind("test")]):
        yield int(entry.payload["version"]), journal.measurements(entry_seq=entry.seq)
