"""What a version carries, as facts: who said so, since when, whether it held at the last test.

Promise: read from the database alone; no model, no torch.

Rules: the same subject and the same prompt edited again is a supersession: while both are active,
the later one in ledger order is the fact, the earlier one is superseded by it. A fact carried on
under a new number by a re-solve is the same fact, and keeps the time and the author of its first
edit.

    for fact in facts(journal, version=3, search="born"):
        fact.subject, fact.prompt, fact.object, fact.since
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ledger.journal import Journal
    from ledger.records import BatchRecord, EditRecord


@dataclass(frozen=True)
class FactView:
    """A fact that a version carries. `since` and `author` are those of the edit that stated it
    first; `reliability` is the newest that was measured, by `protocol`."""

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


def superseded(edits: Sequence[EditRecord]) -> dict[int, int]:
    """Edit -> the later one of these that states the same subject and prompt anew."""
    last: dict[tuple[str, str], int] = {}
    found: dict[int, int] = {}
    for edit in reversed(edits):
        newer = last.setdefault((edit.subject, edit.prompt), edit.id)
        if newer != edit.id:
            found[edit.id] = newer
    return found


def facts(journal: Journal, version: int, search: str | None = None) -> list[FactView]:
    """The facts of a version in ledger order; `search` in subject, prompt, object or author.

    Superseded edits are facts no more; the fact that stands names them.
    """
    edits = journal.edits(journal.history().active(version))
    batches = journal.batches({edit.batch_id for edit in edits})
    older: dict[int, list[int]] = {}
    for old, new in superseded(edits).items():
        older.setdefault(new, []).append(old)
    gone = {edit for group in older.values() for edit in group}
    tests = _reliability(journal)
    found = [
        _view(journal, edit, batches, tests, tuple(sorted(older.get(edit.id, ()))))
        for edit in edits
        if edit.id not in gone
    ]
    return [fact for fact in found if search is None or _matches(fact, search)]


def _view(
    journal: Journal,
    edit: EditRecord,
    batches: Mapping[int, BatchRecord],
    tests: Mapping[int, tuple[float, str]],
    supersedes: tuple[int, ...],
) -> FactView:
    first, made = _first(journal, edit, batches[edit.batch_id])
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
    )


def _first(
    journal: Journal, edit: EditRecord, batch: BatchRecord
) -> tuple[EditRecord, BatchRecord]:
    """The edit that stated the fact, where re-solves only carried it on."""
    replaces = batch.evidence.get("replaces")
    while isinstance(replaces, list) and edit.component < len(replaces):
        edit = journal.edit(int(replaces[edit.component]))
        batch = journal.batch(edit.batch_id)
        replaces = batch.evidence.get("replaces")
    return edit, batch


def _reliability(journal: Journal) -> dict[int, tuple[float, str]]:
    """Edit -> the newest reliability that was measured for it, and the protocol."""
    rows = journal.measurements(metric="reliability")
    return {row.edit_id: (row.value, row.protocol) for row in rows if row.edit_id is not None}


def _matches(fact: FactView, search: str) -> bool:
    text = f"{fact.prompt.replace('{}', fact.subject)} {fact.object} {fact.author}"
    return search.casefold() in text.casefold()
