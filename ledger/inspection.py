"""The reading verbs: status, show, diff. No torch, no numpy, no model, no checkpoint.

Promise: each view is built from the database alone (and, for `show`, from one object's header).

    status(journal, root).active
    show(journal, store, "3").metrics["reliability"]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from editors.requests import VALIDITY
from ledger.errors import UnknownRevision
from ledger.history import CHANGING
from ledger.journal import Journal
from ledger.records import BatchRecord, EditRecord, EntryRecord, MeasurementRecord
from ledger.views import BaseView, DiffView, EditView, StatusView
from store.canonical import strict_json
from store.errors import CanonicalError, ObjectError, ObjectRejected
from store.objects import ObjectStore

_PAGE = 500


def status(journal: Journal, root: Path) -> StatusView:
    """Where the ledger stands."""
    last, model, standing = journal.last_entry(), journal.model(), journal.standing()
    lines, active, met = standing.lines, standing.active, standing.met
    return StatusView(
        ledger=str(root),
        version=lines.head,
        active=tuple(sorted(active)),
        reverted=tuple(sorted(met - active)),
        rejected=journal.rejected(),
        weights_digest=last.weights_digest,
        head=last.hash,
        base=BaseView(
            id=model.base_id,
            revision=model.revision,
            path=model.path,
            dtype=model.dtype,
            digest=model.base_digest,
            model_type=model.model_type,
            assumed=model.config.get("assumed", ""),
            chat="chat" in model.config,
        ),
        tags=journal.tags(),
        entries=last.seq,
        branch=lines.current,
        branches=dict(lines.tips),
        elsewhere=tuple(sorted(standing.applied - met - active)),
    )


def fact_line(edit: EditRecord) -> str:
    """'prompt with subject -> target'."""
    return f"{edit.prompt.replace('{}', edit.subject)} -> {edit.target_new}"


def stating(journal: Journal, subject: str, prompt: str) -> EditRecord | None:
    """The edit that states a fact at the head, if one does."""
    active = journal.standing(_stated(journal, subject, prompt)).active
    return journal.edit(max(active)) if active else None


def _stated(journal: Journal, subject: str, prompt: str) -> list[int]:
    """Every edit that ever stated a fact."""
    return [stated.edit for stated in journal.about([subject]) if stated.prompt == prompt]


def show(journal: Journal, store: ObjectStore, ref: str) -> EditView:
    """One edit, whole. Raises: UnknownRevision."""
    edit = journal.edit(ref)
    batch = journal.batch(edit.batch_id)
    (entry,) = journal.entries(after=edit.entry_seq - 1, limit=1)
    rows = journal.measurements(edit_id=edit.id, suite="edit")
    standing = journal.standing(_stated(journal, edit.subject, edit.prompt))
    older, newer = _line_of(edit, standing.active)
    active, rejected = edit.id in standing.active, entry.op == "reject"
    return EditView(
        id=edit.id,
        hash=edit.hash,
        active=active,
        rejected=rejected,
        fact={
            "subject": edit.subject,
            "prompt": edit.prompt,
            "target_new": edit.target_new,
            "target_true": edit.target_true,
            **{name: getattr(edit, name) for name in VALIDITY},
        },
        method=batch.method,
        layers=batch.layers,
        hparams=batch.hparams,
        metrics={row.metric: row.value for row in rows},
        details=_details(journal, entry, edit, rows),
        delta=_delta(batch, store),
        created_at=edit.created_at,
        author=batch.author,
        note=batch.note,
        batch=batch.id,
        probes=edit.probes,
        supersedes=older,
        superseded_by=newer,
        branch=standing.lines.branch_of(entry.version),
        elsewhere=not (active or rejected or edit.id in standing.met),
    )


def _line_of(edit: EditRecord, active: Iterable[int]) -> tuple[tuple[int, ...], int | None]:
    """Of the active edits of its fact: those that it supersedes, and the one that supersedes it."""
    line = tuple(sorted(active))  # numbers are given in the order in which edits are made
    if edit.id not in line:
        return (), None
    place = line.index(edit.id)
    return line[:place], line[-1] if place < len(line) - 1 else None


def _details(
    journal: Journal, entry: EntryRecord, edit: EditRecord, rows: Iterable[MeasurementRecord]
) -> dict[str, Any]:
    batch, place = journal.batch(edit.batch_id), entry.edits.index(edit.id)
    told: dict[str, Any] = {
        name: entry.payload.get(name) for name in ("before", "after", "reasons", "broken")
    }
    for name in ("before", "after"):
        told[name] = told[name][place] if isinstance(told[name], list) else told[name]
    return {
        **told,
        **_shared(journal, entry),
        "environment": dict(batch.environment),
        "evidence": dict(batch.evidence),
        "measured": {row.metric: dict(row.detail) for row in rows if row.detail},
        "protocol": next((row.protocol for row in rows), None),
    }


def _shared(journal: Journal, entry: EntryRecord) -> dict[str, Any]:
    """The batch an edit was made in, with the numbers its facts share; nothing for a lone edit."""
    if len(entry.edits) == 1:
        return {}
    rows = journal.measurements(entry_seq=entry.seq, suite="batch")
    return {"batch": {"edits": list(entry.edits), "metrics": {r.metric: r.value for r in rows}}}


def _delta(batch: BatchRecord, store: ObjectStore) -> dict[str, Any]:
    """Where the delta lies and what it holds; without shapes if the object cannot be read."""
    found: dict[str, Any] = dict.fromkeys(("oid", "path", "size", "rank"))
    found |= {"oid": batch.oid, "parameters": []}
    if batch.oid is None:
        return found
    found["path"] = str(store.path(batch.oid))
    try:
        data = store.get(batch.oid)
        rank, parameters = _contents(data)
    except ObjectError as error:
        return found | {"error": str(error)}
    return found | {"size": len(data), "rank": rank, "parameters": parameters}


def _contents(data: bytes) -> tuple[int | None, list[str]]:
    """Rank (None without factors) and parameters of a delta, from the header of verified bytes.

    The tensors stay unread, so that no library for them is loaded. Raises: ObjectRejected.
    """
    length = int.from_bytes(data[:8], "little")
    try:
        header = strict_json(data[8 : 8 + length])
        shapes = {name: header[name]["shape"] for name in header if name != "__metadata__"}
        ranks = [int(shape[1]) for name, shape in shapes.items() if name.endswith(".u")]
    except (CanonicalError, LookupError, TypeError, ValueError) as error:
        raise ObjectRejected(f"not a canonical object (header): {error}", code="header") from error
    return max(ranks, default=None), sorted({name.rpartition(".")[0] for name in shapes})


def diff(journal: Journal, old: str, new: str) -> DiffView:
    """What changed between two versions. Raises: UnknownRevision."""
    lines, tags = journal.lines(), journal.tags()
    before, after = lines.resolve(old, tags), lines.resolve(new, tags)
    added, removed = journal.difference(before, after)
    one, two = (journal.entry_of(v).tensors for v in (before, after))
    return DiffView(
        old=before,
        new=after,
        added=added,
        removed=removed,
        facts={e.id: fact_line(e) for e in journal.edits((*added, *removed))},
        parameters={
            name: {"old": one.get(name), "new": two.get(name)}
            for name in sorted(set(one) | set(two))
            if one.get(name) != two.get(name)
        },
    )


def last_undoable(journal: Journal) -> EntryRecord:
    """The newest entry that changed weights, a tag or a branch. Raises: UnknownRevision."""
    for entry in entries_backwards(journal):
        if entry.op in CHANGING or entry.op in ("tag", "branch"):
            return entry
    raise UnknownRevision("nothing to undo: the ledger has no change yet.")


def known_requests(
    journal: Journal, gate: Mapping[str, Any] | None, *, batched: bool = False
) -> dict[str, int]:
    """Fingerprint -> edit, of the requests whose edit is active, or was rejected by this gate.

    A rejection counts on its branch, for runs of its kind: one fact at a time, or `batched`. That
    a batch was refused says nothing of its facts one by one.
    """
    history = journal.history()
    active, way = set(history.active()), history.lines.ancestors(history.head)
    found: dict[str, int] = {}
    for entry in entries_backwards(journal):
        refused = entry.op == "reject" and entry.payload.get("gate") == gate
        refused = refused and (len(entry.edits) > 1) == batched and entry.version in way
        for edit, name in fingerprints(entry).items():
            if refused or edit in active:
                found.setdefault(name, edit)
    return found


def fingerprints(entry: EntryRecord) -> dict[int, str]:
    """Edit -> fingerprint of its request, of an entry that recorded edits."""
    one, several = entry.payload.get("fingerprint"), entry.payload.get("fingerprints")
    names = [one] if several is None else several
    if not isinstance(names, list) or len(names) != len(entry.edits):
        return {}
    pairs = zip(entry.edits, names, strict=True)
    return {edit: name for edit, name in pairs if isinstance(name, str)}


def entries_backwards(journal: Journal, before: int = 0) -> Iterable[EntryRecord]:
    """All entries from the newest (under `before` if given), read page by page."""
    after = before
    while page := journal.entries(after=after, limit=_PAGE, newest_first=True):
        yield from page
        after = page[-1].seq
        if after == 1:
            return
