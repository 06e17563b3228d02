"""Solving the rest of a batch again, from its stored keys and values, as if a fact had never been.

Promise: no gradient steps and no model pass but for the measurements: with K and V the stored keys
and values of the facts that stay, and W the weights without the batch, per parameter
Δ = (V - W K)(Kᵀ C⁻¹ K + ridge I)⁻¹ Kᵀ C⁻¹. With ridge 0, (W + Δ) K = V holds exactly.

Rules: C is the second moment that the batch was computed with, the identity if it used none. The
ridge is the batch's own: λ of MEMIT and PMET, λ_E λ of EMMET, else 0; MEMIT's previous keys are
those of the edits active now. Every parameter is solved by itself: for a batch over several layers
the keys of the upper ones are those that were measured with the fact still below them. History gets
a revert of the batch and an apply of the new one; the gate decides before either.

    outcome = resolve_batch(workspace, (3,), gate=Gate(), ridge=None, author="ada", note="")
    outcome.resolved.edits                  # the facts that stay, under new numbers
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from editors.covariance import SecondMoment, identity
from editors.delta import JSON, Delta, LowRank
from ledger.candidates import Candidate, Candidates, Computed
from ledger.carried import without
from ledger.changes import active_in, change, listed
from ledger.editing import Editing
from ledger.errors import Conflict, EditorFailure, InvalidInput
from ledger.evaluation.gates import Gate
from ledger.evaluation.scoring import Question, predict
from ledger.inspection import fingerprints
from ledger.journal import Journal
from ledger.records import BatchRecord, EditRecord
from ledger.running import request_of
from ledger.settings import Settings
from ledger.versions import Plan
from ledger.views import BatchOutcome, ChangeOutcome
from ledger.workspace import Workspace

METHOD = "resolve-batch"
_WORST_CONDITION = 1e12  # float32 keys say nothing about a system worse than this


@dataclass(frozen=True)
class _Task:
    """A batch, what of it is active (`replaced`) and what of that stays (`staying`)."""

    batch: BatchRecord
    replaced: tuple[int, ...]
    staying: tuple[int, ...]
    others: tuple[int, ...]  # all other active edits
    ridge: float


def resolve_batch(
    workspace: Workspace,
    edits: Sequence[int],
    *,
    gate: Gate | None,
    ridge: float | None,
    author: str,
    note: str,
) -> ChangeOutcome:
    """Take `edits` of one batch out and solve those of it that stay again.

    Edits that were taken out before may be named too. Raises: InvalidInput, EditorFailure (keys
    that coincide), Conflict; where the gate refuses, nothing is taken out.
    """
    task = _task(workspace, edits, ridge)
    return settle(
        workspace,
        task.replaced,
        task.staying,
        lambda records, without: _computed(workspace, task, records, without),
        source=f"batch {task.batch.id}",
        gate=gate,
        author=author,
        note=note,
    )


Compute = Callable[[Sequence[EditRecord], Plan], Computed]


def settle(
    workspace: Workspace,
    replaced: tuple[int, ...],
    staying: tuple[int, ...],
    compute: Compute,
    *,
    source: str,
    gate: Gate | None,
    author: str,
    note: str,
    dry_run: bool = False,
    active: Sequence[int] | None = None,
    first: Callable[[], object] | None = None,
) -> ChangeOutcome:
    """Put one new batch of the facts `staying` in the place of the edits `replaced`.

    `compute` is given their records and the plan without what is replaced. `active` is another set
    of edits than the head's; `first` leads there, and is called before anything is taken out.
    Raises: Conflict; where the gate refuses, or in a dry run, nothing is taken out.
    """
    try:
        head, held = _standing(workspace, active)
        others = without(held, replaced)
        rest = {edit: held[edit] for edit in others}
        records = workspace.journal.edits(staying)
        before = _answers(workspace, records)
        plan = workspace.versions.plan(others)
        candidate = Candidates(workspace).measure(compute(records, plan), rest, plan)
        broken, count = len(candidate.broken), len(records)
        if dry_run or (gate and gate.reasons(candidate.metrics, broken, count)):
            kept = Editing(workspace).finish(candidate, head, before, gate, author, note, dry_run)
            entry = workspace.journal.entry_of(head)
            return ChangeOutcome("revert", (), head, entry.weights_digest, resolved=kept)
        if first is not None:
            first()
        done = _replace(workspace, replaced, candidate, before, gate, author, note)
        return replace(done, notes=_continued(staying, done.resolved, source))
    finally:
        workspace.rest()


def _standing(workspace: Workspace, active: Sequence[int] | None) -> tuple[int, dict[int, float]]:
    """The head, and the reliability of its edits, or of others, with them in the live model."""
    if active is None:
        head, plan = workspace.at_head()
        found = workspace.holding(head, plan)
        return head, {edit: found[edit] for edit in workspace.journal.history().active()}
    plan = workspace.versions.plan(active)
    edits = workspace.journal.edits(active)
    return workspace.journal.history().head, workspace.examiner.holding(edits, plan)


def _continued(staying: Sequence[int], done: BatchOutcome | None, source: str) -> tuple[str, ...]:
    """How the facts that stay are called from now on."""
    if done is None:
        return ()
    new = [edit.edit for edit in done.edits if edit.edit is not None]
    return (
        f"{listed(staying)} go on as {listed(new)} (batch {done.batch}), solved again from the "
        f"stored keys and values of {source}",
    )


def _task(workspace: Workspace, edits: Sequence[int], ridge: float | None) -> _Task:
    journal, active = workspace.journal, workspace.journal.history().active()
    batches = {edit.batch_id for edit in journal.edits(edits)}
    if len(batches) != 1:
        raise InvalidInput(f"{listed(edits)} are not of one batch: solve one batch at a time")
    (number,) = batches
    batch, replaced = journal.batch(number), active_in(journal, number, active)
    staying = without(replaced, edits)
    if not staying:
        raise InvalidInput(
            f"nothing of batch {number} stays active without {listed(edits)}, so there is nothing "
            "to solve again: a revert is enough"
        )
    delta = workspace.versions.delta(str(batch.oid))
    if not all(isinstance(c, LowRank) and n in delta.keys for n, c in delta.parameters.items()):
        raise InvalidInput(
            f"batch {number} ({batch.method}) keeps no keys and values to solve again from: revert "
            "all of it and edit the facts that should stay"
        )
    others = without(active, replaced)
    return _Task(batch, replaced, staying, others, _ridge(batch.hparams, ridge))


def _ridge(hparams: Mapping[str, Any], given: float | None) -> float:
    """The given ridge, else the one of the method that made the batch, on Kᵀ C⁻¹ K."""
    weight = float(hparams.get("mom2_update_weight", 0.0))
    own = float(hparams.get("ridge", weight * float(hparams.get("emmet_lambda", 1.0))))
    ridge = own if given is None else given
    if not 0 <= ridge < math.inf:
        raise InvalidInput(f"the ridge is {ridge}; it must be a number from 0 up")
    return ridge


def _answers(workspace: Workspace, records: Sequence[EditRecord]) -> list[str]:
    asked = [Question(edit.prompt.replace("{}", edit.subject)) for edit in records]
    return [found.free for found in predict(workspace.live.model, asked)]


def _computed(
    workspace: Workspace, task: _Task, records: Sequence[EditRecord], without: Plan
) -> Computed:
    started = time.perf_counter()
    old = workspace.versions.delta(str(task.batch.oid))
    workspace.live.show(without)
    changes: dict[str, LowRank] = {}
    keys: dict[str, Tensor] = {}
    values: dict[str, Tensor] = {}
    for name in old.parameters:
        found = workspace.versions.constraints(task.staying, name)
        if found is None:
            raise EditorFailure(f"batch {task.batch.id} has no keys of {name}: nothing was changed")
        keys[name], values[name] = (item.float().contiguous() for item in found)
        changes[name] = _solved(workspace, task, name, *found)
    evidence: dict[str, JSON] = {
        "batch": task.batch.id,
        "replaces": list(task.staying),
        "ridge": task.ridge,
    }
    return Computed(
        requests=tuple(request_of(edit) for edit in records),
        fingerprints=fingerprints_of(workspace.journal, records, METHOD),
        method=METHOD,
        hparams={"ridge": task.ridge, "previous_weight": _previous_weight(task)},
        environment=Candidates(workspace).environment(
            f"batch {task.batch.id}", task.batch.environment.get("statistics", {})
        ),
        delta=Delta(changes, keys, values, old.templates, evidence),
        seconds=time.perf_counter() - started,
    )


def _solved(workspace: Workspace, task: _Task, name: str, keys: Tensor, values: Tensor) -> LowRank:
    """One parameter's change. Shapes: keys [m, n], values [d, n] -> u [d, n], v [n, m]."""
    weight = workspace.live.model.weight(name).cpu().double()  # [d, m]
    held = keys
    earlier = workspace.versions.constraints(task.others, name)
    if earlier is not None and _previous_weight(task) > 0:
        held = torch.cat([earlier[0] * math.sqrt(_previous_weight(task)), keys], dim=1)
    spread = moment_of(workspace, task.batch, name, keys.shape[0]).solve(held).cpu()  # C⁻¹ K
    system = held.T @ spread
    system.diagonal().add_(task.ridge)
    factor, info = torch.linalg.cholesky_ex((system + system.T) / 2)
    pivots = factor.diagonal()
    if int(info) != 0 or float((pivots.max() / pivots.min()) ** 2) > _WORST_CONDITION:
        raise EditorFailure(
            f"keys of batch {task.batch.id} coincide, so {name} cannot be solved again without a "
            "ridge: give one above 0"
        )
    chosen = torch.eye(held.shape[1], dtype=torch.float64)[:, -keys.shape[1] :]
    columns = spread @ torch.cholesky_solve(chosen, factor)  # [m, n]
    residual = values - weight @ keys
    return LowRank(residual.float().contiguous(), columns.T.float().contiguous())


def _previous_weight(task: _Task) -> float:
    """λ_prev of the method that made the batch; 0 for one that knows no earlier keys."""
    return float(task.batch.hparams.get("previous_weight", 0.0))


def moment_of(workspace: Workspace, batch: BatchRecord, name: str, width: int) -> SecondMoment:
    """The second moment the batch was computed with."""
    layer = workspace.live.model.layer_index(name)
    used = batch.environment.get("statistics", {}).get(str(layer))
    if not used:
        return identity(width)
    return workspace.statistics.recorded(name, used["factor"])


def fingerprints_of(
    journal: Journal, records: Sequence[EditRecord], method: str
) -> tuple[str, ...]:
    """Those of the facts' first edits, so that a bulk run knows them still."""
    known: dict[int, str] = {}
    for seq in {record.entry_seq for record in records}:
        (entry,) = journal.entries(after=seq - 1, limit=1)
        known |= fingerprints(entry)
    own = Settings(method)
    return tuple(known.get(edit.id) or own.fingerprint(request_of(edit)) for edit in records)


def _replace(
    workspace: Workspace,
    replaced: tuple[int, ...],
    candidate: Candidate,
    before: Sequence[str],
    gate: Gate | None,
    author: str,
    note: str,
) -> ChangeOutcome:
    """Revert what is replaced, and apply the new batch on top of that."""
    workspace.store.put(candidate.data)  # what can fail for want of room fails before the revert
    reverted = change(workspace, "revert", replaced, author=author, note=note)
    try:
        done = Editing(workspace).finish(candidate, reverted.version, before, gate, author, note)
    except Conflict as error:
        raise Conflict(
            f"{listed(replaced)} were taken out (version {reverted.version}), but the new "
            f"batch was not recorded: {error} Reapply them, or edit the facts again."
        ) from error
    entry = workspace.journal.entry_of(done.version)
    return ChangeOutcome(
        "revert", reverted.edits, done.version, entry.weights_digest, resolved=done
    )
