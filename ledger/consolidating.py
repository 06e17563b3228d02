"""Solving all active edits again at once: one closed form in place of a history of single steps.

Promise: no gradient step. With K and V the stored keys and values of the facts, W the base with
whatever cannot be solved again (dense changes, methods without keys) and C one second moment,
Δ = (V - W K)(Kᵀ C⁻¹ K + ridge I)⁻¹ Kᵀ C⁻¹ per parameter; with ridge 0 every (W + Δ) k = v holds.

Rules: edits that change the same parameters are one batch, and the batches are solved one after the
other. A fact that was edited again (same subject, same prompt) is left out: the newer one stands
for it. Facts of one subject may have one key; a matrix can answer it once, so they share the newest
value and its column. History gets, per batch, a revert of the old edits and an apply of the new
ones.

    for outcome in consolidate(workspace, gate=Gate(), ridge=0.0, author="ada", note=""):
        outcome.resolved.metrics["reliability"]
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from editors.covariance import SecondMoment
from editors.delta import JSON, Delta, LowRank
from editors.errors import EditFailed
from editors.solves import push_through
from ledger.candidates import Candidates, Computed
from ledger.changes import ALL, listed
from ledger.errors import EditorFailure, InvalidInput
from ledger.evaluation.gates import Gate
from ledger.facts import superseded
from ledger.records import EditRecord
from ledger.resolving import fingerprints_of, moment_of, settle
from ledger.running import request_of
from ledger.versions import Plan
from ledger.views import ChangeOutcome
from ledger.workspace import Workspace

METHOD = ALL
_SAME = 1 - 1e-6  # cosine, in the metric of C⁻¹, from which two keys are one


@dataclass(frozen=True)
class _Group:
    """Active edits that change the same parameters; `staying` are those nothing superseded."""

    parameters: tuple[str, ...]
    replaced: tuple[int, ...]
    staying: tuple[int, ...]
    older: tuple[int, ...]


def consolidate(
    workspace: Workspace,
    *,
    gate: Gate | None,
    ridge: float,
    author: str,
    note: str,
    dry_run: bool = False,
    active: Sequence[int] | None = None,
    first: Callable[[], object] | None = None,
) -> Iterator[ChangeOutcome]:
    """Solve the active edits again, batch by batch.

    `active` is another set of edits than the head's, and `first` records it, once the gate has let
    the first batch pass. Raises: InvalidInput if no active edit keeps keys, EditorFailure,
    Conflict. Where the gate refuses a batch nothing of it is changed.
    """
    if not 0 <= ridge < math.inf:
        raise InvalidInput(f"the ridge is {ridge}; it must be a number from 0 up")
    groups = _groups(workspace, workspace.journal.history().active() if active is None else active)
    if not groups:
        raise InvalidInput("no active edit keeps keys and values, so there is nothing to solve")
    for place, group in enumerate(groups):
        there = None if place and not dry_run else active
        yield _solved_again(
            workspace, group, ridge, gate, author, note, dry_run, there, None if place else first
        )


def _groups(workspace: Workspace, active: Sequence[int]) -> list[_Group]:
    journal, versions = workspace.journal, workspace.versions
    records = {record.id: record for record in journal.edits(active)}
    batches = journal.batches({record.batch_id for record in records.values()})
    found: dict[tuple[str, ...], list[int]] = {}
    for edit in active:
        delta = versions.delta(str(batches[records[edit].batch_id].oid))
        low = all(isinstance(c, LowRank) and n in delta.keys for n, c in delta.parameters.items())
        if low:
            found.setdefault(tuple(sorted(delta.parameters)), []).append(edit)
    old = superseded(tuple(records.values()))
    return [
        _Group(
            parameters=names,
            replaced=tuple(edits),
            staying=tuple(e for e in edits if e not in old),
            older=tuple(e for e in edits if e in old),
        )
        for names, edits in found.items()
    ]


def _solved_again(
    workspace: Workspace,
    group: _Group,
    ridge: float,
    gate: Gate | None,
    author: str,
    note: str,
    dry_run: bool,
    active: Sequence[int] | None,
    first: Callable[[], object] | None,
) -> ChangeOutcome:
    outcome = settle(
        workspace,
        group.replaced,
        group.staying,
        lambda records, without: _computed(workspace, group, ridge, records, without),
        source=listed(group.replaced),
        gate=gate,
        author=author,
        note=note,
        dry_run=dry_run,
        active=active,
        first=first,
    )
    if not outcome.edits:
        return outcome
    notes = [f"facts that were edited again are left out: {listed(group.older)}"]
    return replace(
        outcome, notes=(*outcome.notes, *(notes if group.older else ()), "kel undo takes it back")
    )


def _computed(
    workspace: Workspace, group: _Group, ridge: float, records: Sequence[EditRecord], plan: Plan
) -> Computed:
    started = time.perf_counter()
    workspace.live.show(plan)
    newest = workspace.journal.batch(records[-1].batch_id)
    changes: dict[str, LowRank] = {}
    keys: dict[str, Tensor] = {}
    values: dict[str, Tensor] = {}
    shared: dict[str, JSON] = {}
    for name in group.parameters:
        found = workspace.versions.constraints(group.staying, name)
        if found is None:
            raise EditorFailure(f"there are no keys of {name}: nothing was changed")
        moment = moment_of(workspace, newest, name, found[0].shape[0])
        solution = joint(_weight(workspace, name), *found, moment, ridge)
        changes[name], keys[name] = solution.change, found[0].float().contiguous()
        values[name] = solution.values.float().contiguous()
        shared[name] = [group.staying[n] for n in solution.carried]
    environment = Candidates(workspace).environment(
        "stored keys and values", newest.environment.get("statistics", {})
    )
    evidence: dict[str, JSON] = {
        "replaces": [*group.staying],
        "superseded": [*group.older],
        "share_a_key": shared,
        "ridge": ridge,
    }
    return Computed(
        requests=tuple(request_of(edit) for edit in records),
        fingerprints=fingerprints_of(workspace.journal, records, METHOD),
        method=METHOD,
        hparams={"ridge": ridge},
        environment=environment,
        delta=Delta(changes, keys, values, (), evidence),
        seconds=time.perf_counter() - started,
    )


def _weight(workspace: Workspace, name: str) -> Tensor:
    """The live matrix without what is replaced. Shape: [d_out, d_in] float64."""
    return workspace.live.model.weight(name).cpu().double()


@dataclass(frozen=True, eq=False)
class Joint:
    """A joint solution: the change, the values [d, n] that it meets, and the constraints whose key
    a newer one carries."""

    change: LowRank
    values: Tensor
    carried: tuple[int, ...]


def joint(
    weight: Tensor, keys: Tensor, values: Tensor, moment: SecondMoment, ridge: float
) -> Joint:
    """Δ of one parameter for all constraints at once, column j for constraint j.

    Shapes: weight [d, m], keys [m, n], values [d, n], float64, in ledger order.
    Raises: EditorFailure for keys that nearly coincide, without a ridge.
    Source: ROME (Meng et al. 2022), equation 2, for many keys; EMMET (Gupta et al. 2024), equation
    9.
    """
    spread = moment.solve(keys).cpu()
    newest = _newest(keys, spread)
    values = values[:, newest]
    alone = [place for place, owner in enumerate(newest) if place == owner]
    chosen = keys[:, alone]
    try:
        solved = push_through(lambda held: spread[:, alone], chosen, ridge=ridge)
    except EditFailed as error:
        raise EditorFailure(f"the active edits cannot be solved at once: {error}") from error
    u = torch.zeros(weight.shape[0], keys.shape[1], dtype=torch.float64)
    v = torch.zeros(keys.shape[1], keys.shape[0], dtype=torch.float64)
    u[:, alone] = (values - weight @ keys)[:, alone]
    v[alone] = solved.columns.T
    change = LowRank(u.float().contiguous(), v.float().contiguous())
    carried = tuple(place for place, owner in enumerate(newest) if place != owner)
    return Joint(change, values, carried)


def _newest(keys: Tensor, spread: Tensor) -> list[int]:
    """For each key the last one that is the same. Shapes: [m, n] both."""
    gram = keys.T @ spread
    size = gram.diagonal().clamp_min(1e-300).sqrt()
    same = gram / torch.outer(size, size) >= _SAME
    return [int(row.nonzero()[-1]) for row in same]
