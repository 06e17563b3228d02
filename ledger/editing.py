"""One edit, from request to history: compute, store, apply what was stored, measure, gate, commit.

Promise: the head moves only by a committed `apply`; after a rejection, an error or Ctrl-C at any
point the history, the live model and the other edits are as they were.

Rules: the delta is written to the store before any row refers to it; an edit computed on version n
is committed only if the head is still n (StaleVersion otherwise).

    editing = Editing(workspace)
    outcome = editing.run(request, Settings(method="rome"), gate=Gate(), author="ada", note="")
    outcome.outcome, outcome.metrics
"""

from __future__ import annotations

from dataclasses import asdict, replace

from editors.requests import EditRequest
from ledger.candidates import HOLDS, Candidate, Candidates, Progress, Settings
from ledger.chain import weights_digest
from ledger.errors import IntegrityFailure
from ledger.evaluation.gates import Gate
from ledger.evaluation.metrics import answers_with, token_accuracy
from ledger.evaluation.scoring import Question, predict, protocol
from ledger.measuring import Measured
from ledger.records import (
    BaseTensorRecord,
    BatchRecord,
    EditRecord,
    MeasurementRecord,
    ObjectRecord,
    Rows,
    new_edit,
)
from ledger.views import EditOutcome
from ledger.weights import NAMES
from ledger.workspace import Workspace

_FACT = ("subject", "prompt", "target_new", "target_true")


class Editing:
    """Runs edits on one workspace (a ledger with its live model)."""

    def __init__(self, workspace: Workspace) -> None:
        self._w = workspace

    def run(
        self,
        request: EditRequest,
        settings: Settings,
        *,
        gate: Gate | None,
        author: str,
        note: str,
        dry_run: bool = False,
        progress: Progress = None,
    ) -> EditOutcome:
        """Edit one fact.

        Raises: InvalidRequest, UnknownMethod, InvalidHparams, LayerOutOfRange, EditFailed,
        StaleVersion, IntegrityFailure; the ledger is then as before.
        """
        candidates = Candidates(self._w)
        candidates.hparams(settings)  # a setting that makes no sense is refused whatever the answer
        try:
            head, plan = self._w.at_head()
            before, known = self._current_answer(request)
            if known:
                return _no_op(request, head, settings, before)
            candidate = candidates.compute(request, settings, head, plan, progress)
            broken = len(candidate.broken)
            reasons = tuple(gate.reasons(candidate.metrics, broken)) if gate else ()
            if dry_run:
                return _outcome("dry-run", candidate, head, None, before, reasons)
            return self._commit(candidate, head, author, note, before, gate, reasons)
        finally:
            self._w.rest()

    def _current_answer(self, request: EditRequest) -> tuple[str, bool]:
        """The free answer of the head, and whether it is the target already."""
        found = predict(self._w.live.model, [Question(request.text, request.target_new)])[0]
        right = token_accuracy(found.argmax, found.gold) == HOLDS
        return found.free, right and answers_with(found.free, request.target_new)

    def _commit(
        self,
        c: Candidate,
        head: int,
        author: str,
        note: str,
        before: str,
        gate: Gate | None,
        reasons: tuple[str, ...],
    ) -> EditOutcome:
        oid = self._w.store.put(c.data)
        if self._w.store.get(oid) != c.data:
            raise IntegrityFailure(f"object {oid[:12]} was not stored as it was computed")
        payload = {
            "fingerprint": c.settings.fingerprint(c.request),
            "gate": None if gate is None else asdict(gate),
            "reasons": list(reasons),
            "broken": list(c.broken),
            "before": before,
            "after": c.measured.after,
        }
        rows = self._rows(c, oid, author, note)
        if reasons:
            entry = self._w.journal.append(
                "reject", expected_head=head, rows=rows, payload=payload, author=author, note=note
            )
            self._w.examiner.kept(rows.predictions)
            return _outcome("rejected", c, head, entry.edits[0], before, reasons)
        entry = self._w.journal.append(
            "apply",
            expected_head=head,
            rows=replace(rows, measurements=(*rows.measurements, *_changed(c))),
            weights_digest=weights_digest(self._w.record.base_digest, c.tensors),
            tensors=c.tensors,
            payload=payload,
            author=author,
            note=note,
        )
        self._w.examiner.kept(rows.predictions)
        holding = {**c.earlier, entry.edits[0]: c.metrics["reliability"]}
        self._w.applied(entry.version, holding)
        return _outcome("applied", c, entry.version, entry.edits[0], before, ())

    def _rows(self, c: Candidate, oid: str, author: str, note: str) -> Rows:
        layer = getattr(c.hparams, "layer", None)
        batch = BatchRecord(
            oid=oid,
            method=c.settings.method,
            layers=() if layer is None else (layer,),
            hparams=c.hparams.to_dict(),
            seed=self._w.seed,
            environment=dict(c.environment),
            evidence=dict(c.delta.evidence),
            author=author,
            note=note,
        )
        request = c.request.to_json()
        edit = EditRecord(
            component=0,
            subject=c.request.subject,
            prompt=c.request.prompt,
            target_new=c.request.target_new,
            target_true=c.request.target_true,
            probes={k: request[k] for k in request if k not in _FACT},
        )
        measured = Measured(c.metrics, c.measured.details, c.measured.after)
        return Rows(
            base_tensors=tuple(self._base_tensor(name) for name in c.delta.parameters),
            objects=(ObjectRecord(oid=oid, kind="delta", size=len(c.data)),),
            batch=batch,
            edits=(edit,),
            measurements=measured.rows(new_edit(0), "edit"),
            predictions=c.measured.predictions,
        )

    def _base_tensor(self, parameter: str) -> BaseTensorRecord:
        tensor = self._w.versions.base(parameter)
        key = self._w.versions.key(parameter)
        return BaseTensorRecord(
            parameter=parameter,
            checkpoint_key=key,
            dtype=NAMES[tensor.dtype],
            shape=tuple(tensor.shape),
            sha256=self._w.versions.checkpoint.digest(key),
        )


def _changed(c: Candidate) -> tuple[MeasurementRecord, ...]:
    """The new reliability of earlier edits that this one touches."""
    return tuple(
        MeasurementRecord(
            edit_id=edit, suite="earlier", metric="reliability", value=value, protocol=protocol()
        )
        for edit, value in c.moved.items()
    )


def _no_op(request: EditRequest, head: int, settings: Settings, answer: str) -> EditOutcome:
    return EditOutcome(
        outcome="no-op",
        request=request.to_json(),
        version=head,
        before=answer,
        after=answer,
        method=settings.method,
    )


def _outcome(
    word: str,
    c: Candidate,
    version: int,
    edit: int | None,
    before: str,
    reasons: tuple[str, ...],
) -> EditOutcome:
    return EditOutcome(
        outcome=word,
        request=c.request.to_json(),
        version=version,
        edit=edit,
        reasons=reasons,
        metrics=dict(c.metrics),
        before=before,
        after=c.measured.after,
        broken=c.broken,
        method=c.settings.method,
        layer=getattr(c.hparams, "layer", None),
    )
