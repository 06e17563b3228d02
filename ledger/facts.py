"""What a version carries, as facts: who said so, since when, whether it held at the last test.

Promise: read from the database alone; no model, no torch.

Rules: the same subject and the same prompt edited again is a supersession: while both are active,
the later one in ledger order is the fact, the earlier one is superseded by it. A fact carried on
under a new number by a re-solve is the same fact, and keeps the time and the author of its first
edit. A fact is expired after its last valid day and current from its first to its last; one without
days is always current.

    for fact in facts(journal, version=3, search="born", only="expired", on="2026-01-31"):
        fact.subject, fact.prompt, fact.object, fact.since, fact.valid_until
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from editors.requests import day
from ledger.errors import InvalidInput

if TYPE_CHECKING:
    from ledger.journal import Journal
    from ledger.records import BatchRecord, EditRecord, EntryRecord

ONLY: Final = ("current", "expired")


@dataclass(frozen=True)
class FactView:
    """A fact that a version carries. `since` and `author` are those of the edit that stated it
    first; `reliability` is the newest that was measured on the way to the version, by `protocol`.
    `valid_from` and `valid_until` are the first and the last day on which it is true, `source` is
    who says so."""

    edit: int
    subject: str
    prompt: str
    object: str
    instead_of: str | None
    since: str
    author: str
    method: str
    reliability: float | None
    protocol: str | None
    supersedes: tuple[int, ...] = ()
    note: str = ""
    valid_from: str | None = None
    valid_until: str | None = None
    source: str | None = None

    def expired(self, on: str) -> bool:
        """Whether its last valid day is before the day `on`."""
        return self.valid_until is not None and self.valid_until < on

    def current(self, on: str) -> bool:
        """Whether it is valid on the day `on`."""
        begun = self.valid_from is None or self.valid_from <= on
        return begun and not self.expired(on)


def fact_key(edit: EditRecord) -> tuple[str, str]:
    """What two edits of one fact have in common."""
    return edit.subject, edit.prompt


def superseded(edits: Sequence[EditRecord]) -> dict[int, int]:
    """Edit -> the later one of these that states the same subject and prompt anew."""
    last: dict[tuple[str, str], int] = {}
    found: dict[int, int] = {}
    for edit in reversed(edits):
        newer = last.setdefault(fact_key(edit), edit.id)
        if newer != edit.id:
            found[edit.id] = newer
    return found


def today() -> str:
    """The day in UTC, as `2026-01-31`."""
    return datetime.now(UTC).date().isoformat()


def expired(journal: Journal, on: str) -> tuple[int, ...]:
    """The edits that carry an expired fact at the head."""
    statement = "SELECT id FROM edit WHERE valid_until < :day"
    with journal.database.read() as snapshot:
        ended = {row["id"] for row in snapshot.query(statement, day=on)}
    active = journal.history().active()
    if ended.isdisjoint(active):
        return ()
    older = superseded(journal.edits(active))
    return tuple(edit for edit in active if edit in ended and edit not in older)


def facts(
    journal: Journal,
    version: int,
    search: str | None = None,
    *,
    only: str | None = None,
    on: str | None = None,
) -> list[FactView]:
    """The facts of a version in ledger order; `search` in subject, prompt, object, author, source.

    `only` those that are `current` or `expired` on the day `on`, by default today. Superseded edits
    are facts no more; the fact that stands names them. Raises: InvalidInput, InvalidRequest.
    """
    if only not in (None, *ONLY) or (on is not None and only is None):
        raise InvalidInput(f"a day is asked for with {' or '.join(ONLY)} facts, not {only!r}")
    date = today() if on is None else day("on", on)
    history = journal.history()
    edits = journal.edits(history.active(version))
    batches = journal.batches({edit.batch_id for edit in edits})
    older: dict[int, list[int]] = {}
    for old, new in superseded(edits).items():
        older.setdefault(new, []).append(old)
    gone = {edit for group in older.values() for edit in group}
    tests = _reliability(journal, history.lines.ancestors(version))
    found = [
        _view(journal, edit, batches, tests, tuple(sorted(older.get(edit.id, ()))))
        for edit in edits
        if edit.id not in gone
    ]
    return [
        fact
        for fact in found
        if (search is None or _matches(fact, search))
        and (only is None or (fact.expired(date) if only == "expired" else fact.current(date)))
    ]


@dataclass(frozen=True)
class KnownView:
    """A fact that the base states itself, as a rebase found: no edit carries it.

    `since`, `author` and `note` are those of the edit of the old ledger; `entry` recorded it here.
    """

    entry: int
    subject: str
    prompt: str
    object: str
    instead_of: str | None
    since: str
    author: str
    note: str
    source: str | None
    reliability: float | None


def known_facts(journal: Journal, version: int, search: str | None = None) -> list[KnownView]:
    """The facts left to the base that no edit of a version states anew."""
    (first,) = journal.entries(limit=1)
    if "rebase" not in first.payload:
        return []
    edits = journal.edits(journal.history().active(version))
    stated = {(edit.subject, edit.prompt) for edit in edits}
    found = [
        _known(journal, entry, fact)
        for entry in journal.entries()
        if entry.op == "rebase" and entry.payload["rebase"]["outcome"] == "known"
        for fact in entry.payload["rebase"]["facts"]
        if (fact["subject"], fact["prompt"]) not in stated
    ]
    return [fact for fact in found if search is None or _matches(fact, search)]


def _known(journal: Journal, entry: EntryRecord, fact: Mapping[str, Any]) -> KnownView:
    about = entry.payload["rebase"]
    rows = journal.measurements(entry_seq=entry.seq, metric="reliability")
    return KnownView(
        entry=entry.seq,
        subject=fact["subject"],
        prompt=fact["prompt"],
        object=fact["target_new"],
        instead_of=fact["target_true"],
        since=about["since"],
        author=about["author"],
        note=about["note"],
        source=fact.get("source"),
        reliability=rows[0].value if rows else None,
    )


def _view(
    journal: Journal,
    edit: EditRecord,
    batches: Mapping[int, BatchRecord],
    tests: Mapping[int, tuple[float, str]],
    supersedes: tuple[int, ...],
) -> FactView:
    first, made = first_stated(journal, edit, batches[edit.batch_id])
    value, protocol = tests.get(edit.id, (None, None))
    return FactView(
        edit=edit.id,
        subject=edit.subject,
        prompt=edit.prompt,
        object=edit.target_new,
        instead_of=edit.target_true,
        since=first.created_at,
        author=made.author,
        method=batches[edit.batch_id].method,
        reliability=value,
        protocol=protocol,
        supersedes=supersedes,
        note=made.note,
        valid_from=edit.valid_from,
        valid_until=edit.valid_until,
        source=edit.source,
    )


def first_stated(
    journal: Journal, edit: EditRecord, batch: BatchRecord
) -> tuple[EditRecord, BatchRecord]:
    """The edit that stated the fact, where re-solves only carried it on."""
    replaces = batch.evidence.get("replaces")
    while isinstance(replaces, list) and edit.component < len(replaces):
        edit = journal.edit(int(replaces[edit.component]))
        batch = journal.batch(edit.batch_id)
        replaces = batch.evidence.get("replaces")
    return edit, batch


def _reliability(journal: Journal, way: frozenset[int]) -> dict[int, tuple[float, str]]:
    """Edit -> its newest reliability on the way to a version, and the protocol."""
    rows = journal.measurements(metric="reliability")
    return {
        row.edit_id: (row.value, row.protocol)
        for row in rows
        if row.edit_id is not None and row.version in way
    }


def _matches(fact: FactView | KnownView, search: str) -> bool:
    asked = fact.prompt.replace("{}", fact.subject)
    text = f"{asked} {fact.object} {fact.author} {fact.source or ''}"
    return search.casefold() in text.casefold()
