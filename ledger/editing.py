"""One batch, from requests to history: compute, store, show what was stored, measure, gate.

Promise: the head moves only by a committed `apply`; after a rejection, an error or Ctrl-C at any
point the history, the live model and the other edits are as they were.

Rules: a batch is applied or rejected as a whole; facts that the model states already are left out
of it. The delta is written to the store before any row refers to it; what was computed on version n
is committed only if the head is still n (StaleVersion otherwise).

    editing = Editing(workspace)
    outcome = editing.run([request], Settings(method="rome"), gate=Gate(), author="ada", note="")
    outcome.outcome, outcome.metrics, outcome.edits[0].after
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from editors.requests import EditRequest
from ledger.candidates import Candidate, Candidates, Progress
from ledger.commit import Origin, commit
from ledger.errors import InvalidInput
from ledger.evaluation.gates import Gate
from ledger.evaluation.metrics import answers_with, token_accuracy
from ledger.evaluation.scoring import Prediction, Question, predict
from ledger.placing import Placing
from ledger.retests import HOLDS, Retested
from ledger.settings import Settings
from ledger.views import BatchOutcome, EditOutcome
from ledger.workspace import Workspace


class Editing:
    """Runs edits on one workspace (a ledger with its live model)."""

    def __init__(self, workspace: Workspace) -> None:
        self._w = workspace

    def run(
        self,
        requests: Sequence[EditRequest],
        settings: Settings,
        *,
        gate: Gate | None,
        author: str,
        note: str,
        dry_run: bool = False,
        progress: Progress = None,
        retested: Retested = None,
    ) -> BatchOutcome:
        """Edit one fact, or several with one call of the editor.

        Raises: InvalidInput, InvalidRequest, UnknownMethod, InvalidHparams, LayerOutOfRange,
        EditFailed, EditorFailure, StaleVersion, IntegrityFailure; the ledger is then as before.
        """
        _check_distinct(requests)
        candidates = Candidates(self._w)
        # A setting that makes no sense is refused whatever the answer.
        Placing(self._w).hparams(settings, facts=len(requests))
        try:
            head, plan = self._w.at_head()
            answers = self.answers(requests)
            fresh = [r for r, a in zip(requests, answers, strict=True) if not states(r, a)]
            if not fresh:
                return _nothing(requests, answers, head, settings)
            candidate = candidates.compute(fresh, settings, head, plan, progress, retested)
            before = [a.free for r, a in zip(requests, answers, strict=True) if not states(r, a)]
            done = self.finish(candidate, head, before, gate, author, note, dry_run)
        finally:
            self._w.rest()
        return _with_known(done, requests, answers, settings)

    def finish(
        self,
        candidate: Candidate,
        head: int,
        before: Sequence[str],
        gate: Gate | None,
        author: str,
        note: str,
        dry_run: bool = False,
        origin: Origin | None = None,
    ) -> BatchOutcome:
        """Let the gate decide on a measured batch, and record it unless it is a dry run.

        `before`: the free answers of the head, one for each request.
        """
        broken, count = len(candidate.broken), len(candidate.requests)
        reasons = tuple(gate.reasons(candidate.metrics, broken, count)) if gate else ()
        if dry_run:
            return outcome_of("dry-run", candidate, head, before, reasons)
        committed = commit(self._w, candidate, head, before, gate, reasons, author, note, origin)
        word = "rejected" if reasons else "applied"
        return outcome_of(
            word, candidate, committed.version, before, reasons, committed.edits, committed.batch
        )

    def answers(self, requests: Sequence[EditRequest]) -> list[Prediction]:
        """What the live model says to each prompt."""
        asked = [Question(request.text, request.target_new) for request in requests]
        return predict(self._w.live.model, asked)


def states(request: EditRequest, found: Prediction) -> bool:
    """Whether the answer is the target already: teacher-forced token by token, and freely."""
    right = token_accuracy(found.argmax, found.gold) == HOLDS
    return right and answers_with(found.free, request.target_new)


def _check_distinct(requests: Sequence[EditRequest]) -> None:
    """A batch states a fact once: two answers to one prompt cannot both be learned."""
    if not requests:
        raise InvalidInput("a batch needs at least one request")
    seen: dict[str, int] = {}
    for place, request in enumerate(requests, start=1):
        if request.text in seen:
            raise InvalidInput(
                f"requests {seen[request.text]} and {place} of the batch have the same prompt "
                f"{request.text!r}: keep one, or put them into different batches"
            )
        seen[request.text] = place


def outcome_of(
    word: str,
    candidate: Candidate,
    version: int,
    before: Sequence[str],
    reasons: tuple[str, ...],
    edits: Sequence[int | None] = (),
    batch: int | None = None,
) -> BatchOutcome:
    """What became of a candidate; each edit has its own numbers and those of the batch."""
    numbers = edits or [None] * len(candidate.requests)
    return BatchOutcome(
        outcome=word,
        version=version,
        batch=batch,
        edits=tuple(
            EditOutcome(
                outcome=word,
                request=request.to_json(),
                version=version,
                edit=number,
                reasons=reasons,
                metrics={**measured.metrics, **candidate.shared.metrics},
                before=said,
                after=measured.after,
                broken=candidate.broken,
                method=candidate.computed.method,
                layer=candidate.layer,
                assumed=candidate.computed.environment.get("assumed", ""),
                disturbs=candidate.disturbs,
            )
            for request, number, measured, said in zip(
                candidate.requests, numbers, candidate.measured, before, strict=True
            )
        ),
        reasons=reasons,
        metrics=dict(candidate.metrics),
        broken=candidate.broken,
        method=candidate.computed.method,
        layers=candidate.layers,
    )


def _nothing(
    requests: Sequence[EditRequest], answers: Sequence[Prediction], head: int, settings: Settings
) -> BatchOutcome:
    """The model says all of it already."""
    edits = [_no_op(r, a.free, head, settings) for r, a in zip(requests, answers, strict=True)]
    return BatchOutcome("no-op", head, None, tuple(edits), method=settings.method)


def _with_known(
    done: BatchOutcome,
    requests: Sequence[EditRequest],
    answers: Sequence[Prediction],
    settings: Settings,
) -> BatchOutcome:
    """The outcome of a batch with the facts that were left out, in the order of the requests."""
    edited = iter(done.edits)
    edits = tuple(
        _no_op(request, found.free, done.version, settings)
        if states(request, found)
        else next(edited)
        for request, found in zip(requests, answers, strict=True)
    )
    return replace(done, edits=edits)


def _no_op(request: EditRequest, answer: str, version: int, settings: Settings) -> EditOutcome:
    return EditOutcome(
        outcome="no-op",
        request=request.to_json(),
        version=version,
        before=answer,
        after=answer,
        method=settings.method,
    )
