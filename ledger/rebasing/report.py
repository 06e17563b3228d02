"""The report of a rebase, read from the new ledger's entries alone.

Promise: no model, no torch; at any moment it tells what was settled and what was not.

Rules: the first entry names the source and the options, every entry that settles facts says which
and how, the last one which of them did not hold in the end (docs/formats.md).

    view = report(journal, store, folder)
    view.done, view.counts
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from editors.requests import VALIDITY
from ledger.errors import InvalidInput
from ledger.inspection import entries_backwards
from ledger.journal import Journal
from ledger.rebasing.conflicts import disputes
from ledger.rebasing.views import DONE, FAILED, OUTCOMES, RebaseRow, RebaseView
from ledger.records import EditRecord, EntryRecord, ModelRecord
from ledger.views import Json

KEY: Final = "rebase"  # of an entry's payload


def begun(journal: Journal) -> Json | None:
    """What the first entry says of the rebase; None of a ledger that no rebase made."""
    (first,) = journal.entries(limit=1)
    found = first.payload.get(KEY)
    return found if isinstance(found, Mapping) else None


def settled(journal: Journal) -> tuple[EntryRecord, ...]:
    """The entries that settled facts or closed the rebase, oldest first."""
    found = [e for e in entries_backwards(journal) if KEY in e.payload and e.op != "init"]
    return tuple(reversed(found))


def report(journal: Journal, root: Path) -> RebaseView:
    """What became of every fact so far. Raises: InvalidInput for a ledger no rebase made."""
    told = begun(journal)
    if told is None:
        raise InvalidInput(f"{root} was not made by a rebase: there is nothing to report")
    entries = settled(journal)
    last = entries[-1].payload[KEY] if entries else {}
    done = last.get("outcome") == DONE
    rows = tuple(row for entry in entries for row in rows_of(journal, entry))
    lost = set(last["lost"]) if done else set()
    if done:
        rows = tuple(_closed(row, lost) for row in rows)
    notes = dict.fromkeys((*told["notes"], *_notes(entries)))
    return RebaseView(
        directory=str(root),
        source=told["source"],
        options=told["options"],
        base=base_of(journal.model()),
        version=journal.last_entry().version,
        facts=told["facts"],
        rows=rows,
        counts=counts_of(rows),
        conflicts=disputes(rows),
        notes=tuple(notes),
        done=done,
    )


def base_of(model: ModelRecord) -> Json:
    """The new base, for people."""
    return {
        "id": model.base_id,
        "revision": model.revision,
        "digest": model.base_digest,
        "model_type": model.model_type,
    }


def counts_of(rows: Sequence[RebaseRow]) -> dict[str, int]:
    """Facts by outcome, and those lost in the end."""
    found = Counter(row.outcome for row in rows)
    lost = sum(row.holds is False and row.outcome != FAILED for row in rows)
    return {name: found[name] for name in OUTCOMES} | {"lost": lost}


def rows_of(journal: Journal, entry: EntryRecord) -> tuple[RebaseRow, ...]:
    """The facts that an entry settled."""
    about = entry.payload[KEY]
    if about["outcome"] == DONE:
        return ()
    if entry.edits:
        return tuple(_edited(journal, entry))
    rows = journal.measurements(entry_seq=entry.seq)
    metrics = {row.metric: row.value for row in rows}
    told = zip(about["edits"], about["facts"], about["said"], strict=True)
    return tuple(
        RebaseRow(
            source=source,
            outcome=about["outcome"],
            request=request,
            method=about["method"],
            said=said,
            reasons=tuple(about["reasons"]),
            metrics=metrics,
        )
        for source, request, said in told
    )


def _edited(journal: Journal, entry: EntryRecord) -> Iterator[RebaseRow]:
    about, edits = entry.payload[KEY], journal.edits(entry.edits)
    batch = journal.batch(edits[0].batch_id)
    shared = journal.measurements(entry_seq=entry.seq, suite="batch")
    for source, edit, said in zip(about["edits"], edits, about["said"], strict=True):
        own = journal.measurements(edit_id=edit.id, entry_seq=entry.seq, suite="edit")
        yield RebaseRow(
            source=source,
            outcome=about["outcome"] if entry.op == "apply" else FAILED,
            request=_request(edit),
            edit=edit.id,
            method=batch.method,
            layers=batch.layers,
            said=said,
            reasons=tuple(entry.payload["reasons"]),
            metrics={row.metric: row.value for row in (*own, *shared)},
        )


def _request(edit: EditRecord) -> dict[str, Any]:
    """As `EditRequest.to_json`, without what checks it."""
    return {
        "subject": edit.subject,
        "prompt": edit.prompt,
        "target_new": edit.target_new,
        "target_true": edit.target_true,
        **{name: value for name in VALIDITY if (value := getattr(edit, name)) is not None},
        **edit.probes,
    }


def _closed(row: RebaseRow, lost: set[int]) -> RebaseRow:
    return replace(row, holds=row.source not in lost and row.outcome != FAILED)


def _notes(entries: Sequence[EntryRecord]) -> Iterator[str]:
    for entry in entries:
        yield from entry.payload[KEY].get("notes", ())
