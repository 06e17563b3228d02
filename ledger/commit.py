"""Writing a measured batch into the history: its object, its rows, one entry.

Promise: the object is in the store, byte for byte, before any row names it; one entry holds the
batch with all its edits, applied or rejected as a whole.

Rules: a batch of one fact keeps every number with the edit; of several, the numbers they share
(random probes, size of the update) are rows of suite `batch` without an edit, and the texts of the
entry's payload are lists, in the order of its edits.

    done = commit(workspace, candidate, head, before, gate, reasons, author, note)
    done.version, done.batch, done.edits
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from editors.requests import EditRequest
from ledger.candidates import Candidate
from ledger.chain import weights_digest
from ledger.errors import IntegrityFailure
from ledger.evaluation.gates import Gate
from ledger.records import (
    BaseTensorRecord,
    BatchRecord,
    EditRecord,
    MeasurementRecord,
    ObjectRecord,
    Rows,
    new_edit,
)
from ledger.weights import NAMES
from ledger.workspace import Workspace

_PROBES = ("paraphrases", "neighbourhood", "same_subject", "portability")


@dataclass(frozen=True)
class Origin:
    """Where a batch was carried over from: who made it there and why, and what the entry says."""

    author: str
    note: str
    payload: Mapping[str, Any]


@dataclass(frozen=True)
class Committed:
    """Where a batch stands in the ledger."""

    version: int
    batch: int
    edits: tuple[int, ...]


def commit(
    workspace: Workspace,
    candidate: Candidate,
    head: int,
    before: Sequence[str],
    gate: Gate | None,
    reasons: Sequence[str],
    author: str,
    note: str,
    origin: Origin | None = None,
) -> Committed:
    """Record a batch that was computed on `head`: `apply`, or with reasons against it `reject`.

    The batch is `author`'s, or that of the `origin` it was carried over from.
    Raises: StaleVersion, Busy, IntegrityFailure, ObjectLost.
    """
    oid = workspace.store.put(candidate.data)
    if workspace.store.get(oid) != candidate.data:
        raise IntegrityFailure(f"object {oid[:12]} was not stored as it was computed")
    made = origin or Origin(author, note, {})
    rows = _rows(workspace, candidate, oid, made.author, made.note)
    payload = {**_payload(candidate, before, gate, reasons), **made.payload}
    if reasons:
        entry = workspace.journal.append(
            "reject", expected_head=head, rows=rows, payload=payload, author=author, note=note
        )
    else:
        entry = workspace.journal.append(
            "apply",
            expected_head=head,
            rows=replace(
                rows,
                measurements=(
                    *rows.measurements,
                    *moved_rows(candidate.moved, candidate.shared.protocol),
                ),
            ),
            weights_digest=weights_digest(workspace.record.base_digest, candidate.tensors),
            tensors=candidate.tensors,
            payload=payload,
            author=author,
            note=note,
        )
        own = zip(entry.edits, (m.metrics["reliability"] for m in candidate.measured), strict=True)
        workspace.applied(entry.version, {**candidate.earlier, **dict(own)})
    workspace.examiner.kept(rows.predictions)
    batch = workspace.journal.edits(entry.edits[:1])[0].batch_id
    return Committed(entry.version, batch, entry.edits)


def _payload(
    candidate: Candidate, before: Sequence[str], gate: Gate | None, reasons: Sequence[str]
) -> dict[str, Any]:
    """Texts of one fact as they are, of several as lists."""
    after = [measured.after for measured in candidate.measured]
    names = list(candidate.computed.fingerprints)
    texts: dict[str, Any]
    if len(names) == 1:
        texts = {"fingerprint": names[0], "before": before[0], "after": after[0]}
    else:
        texts = {"fingerprints": names, "before": list(before), "after": after}
    return {
        **texts,
        "gate": None if gate is None else asdict(gate),
        "reasons": list(reasons),
        "broken": list(candidate.broken),
    }


def _rows(workspace: Workspace, c: Candidate, oid: str, author: str, note: str) -> Rows:
    computed = c.computed
    batch = BatchRecord(
        oid=oid,
        method=computed.method,
        layers=c.layers,
        hparams=dict(computed.hparams),
        seed=workspace.seed,
        environment=dict(computed.environment),
        evidence=dict(computed.delta.evidence),
        author=author,
        note=note,
    )
    return Rows(
        base_tensors=tuple(_base_tensor(workspace, name) for name in computed.delta.parameters),
        objects=(ObjectRecord(oid=oid, kind="delta", size=len(c.data)),),
        batch=batch,
        edits=tuple(_edit(request, place) for place, request in enumerate(c.requests)),
        measurements=tuple(_measurements(c)),
        predictions=tuple(p for m in (*c.measured, c.shared) for p in m.predictions),
    )


def _edit(request: EditRequest, component: int) -> EditRecord:
    fields = request.to_json()
    return EditRecord(
        component=component,
        **{name: fields[name] for name in fields if name not in _PROBES},
        probes={name: fields[name] for name in _PROBES},
    )


def _measurements(c: Candidate) -> Iterator[MeasurementRecord]:
    if len(c.measured) == 1:
        (own,) = c.measured
        both = replace(
            own,
            metrics={**own.metrics, **c.shared.metrics},
            details={**own.details, **c.shared.details},
        )
        yield from both.rows(new_edit(0), "edit")
        return
    for place, measured in enumerate(c.measured):
        yield from measured.rows(new_edit(place), "edit")
    yield from c.shared.rows(None, "batch")


def moved_rows(moved: Mapping[int, float], protocol: str) -> tuple[MeasurementRecord, ...]:
    """The new reliability of earlier edits that a change touches."""
    return tuple(
        MeasurementRecord(
            edit_id=edit, suite="earlier", metric="reliability", value=value, protocol=protocol
        )
        for edit, value in moved.items()
    )


def _base_tensor(workspace: Workspace, parameter: str) -> BaseTensorRecord:
    tensor = workspace.versions.base(parameter)
    key = workspace.versions.key(parameter)
    return BaseTensorRecord(
        parameter=parameter,
        checkpoint_key=key,
        dtype=NAMES[tensor.dtype],
        shape=tuple(tensor.shape),
        sha256=workspace.versions.checkpoint.digest(key),
    )
