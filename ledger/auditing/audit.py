"""The audit of a deployed checkpoint: every edit's share, what is left over, which version it is.

Promise: reads weights only; changes nothing. Tensors are walked one by one, so that memory follows
the largest of them and not the model.

Rules: every edit that was ever applied is a candidate, active or not. Tensors that are the base's
bit for bit are read once; parameters with the digest of a version need no regression.

    view = audit(workspace, "merged/", revision=None)
    view.verdict, view.identity.versions, view.edits[0].coefficient
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from editors.delta import LowRank, ParameterDelta
from ledger.auditing.asking import said
from ledger.auditing.deployed import Deployed, open_deployed
from ledger.auditing.explain import Explained, Tensors, explain
from ledger.auditing.identity import Joint, Likeness, compare, identify
from ledger.auditing.matrices import Rows, Stored, digest, norm
from ledger.auditing.reading import readings
from ledger.auditing.regression import System
from ledger.auditing.verdicts import combined, judged, overall
from ledger.auditing.views import (
    AuditView,
    EditShare,
    Group,
    IdentityView,
    Share,
    TensorView,
)
from ledger.inspection import fact_line
from ledger.weights import NAMES
from ledger.workspace import Workspace

_ALIKE = 0.95  # cosine from which two changes are told as a group when they cannot be told apart
Progress = Callable[[str, float], None] | None
Parts = Sequence[tuple[tuple[int, ...], ParameterDelta]]


@dataclass
class Found:
    """What the walk collects. `spikes`: unexplained structure per parameter, Linear layout."""

    shares: dict[int, dict[str, Share]] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)
    joint: list[Joint] = field(default_factory=list)
    tensors: list[TensorView] = field(default_factory=list)
    spikes: dict[str, LowRank] = field(default_factory=dict)


def identity(workspace: Workspace, spec: str, revision: str | None) -> IdentityView:
    """Which version a checkpoint is: by digest, else by what the audit finds."""
    deployed = open_deployed(spec, revision, workspace.versions)
    likeness = compare(workspace, deployed)
    if likeness.versions:
        return identify(workspace, spec, likeness)
    return viewed(workspace, spec, deployed, likeness, walk(workspace, deployed, likeness)).identity


def audit(
    workspace: Workspace,
    spec: str,
    *,
    revision: str | None,
    subjects: Sequence[str] = (),
    prompts: Sequence[str] = (),
    probe: bool = False,
    guess: bool = True,
    progress: Progress = None,
) -> AuditView:
    """Audit a folder, an adapter or a Hub id.

    `subjects` and `prompts`: whom an unledgered edit may be about and what it may say of them,
    besides those the ledger knows; `probe`: ask the deployed model for the facts; `guess`:
    read what an unledgered change says, which takes the model. Raises: as `open_deployed`;
    BaseMismatch.
    """
    deployed = open_deployed(spec, revision, workspace.versions)
    likeness = compare(workspace, deployed)
    found = walk(workspace, deployed, likeness, progress)
    view = viewed(workspace, spec, deployed, likeness, found)
    if found.spikes and guess:
        view = replace(
            view, readings=readings(workspace, deployed, found.spikes, subjects, prompts)
        )
    return replace(view, said=said(workspace, deployed, view.edits)) if probe else view


def walk(
    workspace: Workspace, deployed: Deployed, likeness: Likeness, progress: Progress = None
) -> Found:
    """Explain every tensor that is not the base's."""
    history, versions = workspace.journal.history(), workspace.versions
    known = history.ordered({edit for change in history.changes for edit in change.edits})
    parts = versions.components(known)
    parameters = {versions.key(p): p for p in workspace.journal.base_tensors()}
    found, names = Found(), versions.checkpoint.names()
    for number, name in enumerate(names):
        parameter = parameters.get(name)
        if parameter in parts:
            _touched(workspace, deployed, likeness, parameter, parts[parameter], found)
        elif name not in likeness.alike:
            found.tensors.append(_untouched(workspace, deployed, name, found))
        if progress is not None:
            progress("auditing", (number + 1) / len(names))
    return found


def _touched(
    workspace: Workspace,
    deployed: Deployed,
    likeness: Likeness,
    parameter: str,
    parts: Parts,
    found: Found,
) -> None:
    """A parameter that edits of the ledger change."""
    versions = workspace.versions
    base = Stored.of(versions.checkpoint, versions.key(parameter))
    versions.expect(parameter, digest(base))
    tensor = deployed.tensor(versions.key(parameter))
    view = _unreadable(versions.key(parameter), base, tensor, len(parts))
    if view is None and tensor is not None:
        system = System.of([change for _, change in parts], transposed=versions.transposed)
        proven = None
        if matching := likeness.matching.get(parameter):
            active = set(workspace.journal.history().active(matching[-1]))
            flags = [float(bool(active & set(edits))) for edits, _ in parts]
            proven = torch.tensor(flags, dtype=torch.float64)
        result = explain(Tensors(base, tensor, system), proven)
        _share(parameter, parts, system, result, found)
        _keep_spikes(parameter, result, versions.transposed, found)
        view = _view(versions.key(parameter), base, tensor, result, len(parts))
    if view is not None:
        found.tensors.append(view)


def _share(parameter: str, parts: Parts, system: System, result: Explained, found: Found) -> None:
    shares = [
        judged(float(c), float(e)) for c, e in zip(result.coefficients, result.errors, strict=True)
    ]
    for (edits, _), share in zip(parts, shares, strict=True):
        for edit in edits:
            found.shares.setdefault(edit, {})[parameter] = share
    doubtful = [n for n, share in enumerate(shares) if share.verdict == "ambiguous"]
    for members in _nearly_alike(system.correlation, doubtful):
        units = system.units(members)
        total, error = result.together(members, units)
        share = judged(total, error)
        edits = tuple(edit for n in members for edit in parts[n][0])
        found.groups.append(Group(parameter, edits, total, share.low, share.high))
        each = tuple(zip((parts[n][0] for n in members), units.tolist(), strict=True))
        found.joint.append(Joint(each, total, error))


def _nearly_alike(correlation: Tensor, doubtful: Sequence[int]) -> list[list[int]]:
    """Connected components of nearly collinear changes around those in doubt."""
    groups: list[list[int]] = []
    left = set(doubtful)
    while left:
        members, reached = list[int](), [min(left)]
        while reached:
            place = reached.pop()
            if place not in members:
                members.append(place)
                near = (correlation[place].abs() > _ALIKE).nonzero().flatten().tolist()
                reached += [n for n in near if n not in members]
        left -= set(members)
        if len(members) > 1:
            groups.append(sorted(members))
    return groups


def _untouched(workspace: Workspace, deployed: Deployed, name: str, found: Found) -> TensorView:
    """A tensor that no edit of the ledger changes, and that is not the base's."""
    base, tensor = Stored.of(workspace.versions.checkpoint, name), deployed.tensor(name)
    view = _unreadable(name, base, tensor, 0)
    if view is not None or tensor is None:
        return view or TensorView(name, 0, "missing", None)
    result = explain(Tensors(base, tensor, None), None)
    transposed = workspace.versions.transposed and len(base.shape) == 2
    _keep_spikes(name, result, transposed, found)
    return _view(name, base, tensor, result, 0)


def _unreadable(name: str, base: Rows, tensor: Rows | None, edits: int) -> TensorView | None:
    if tensor is None:
        return TensorView(name, edits, "missing", None)
    dtype = NAMES.get(tensor.dtype)
    if tensor.shape != base.shape:
        return TensorView(name, edits, "shape", dtype)
    return TensorView(name, edits, "noise", dtype) if dtype is None else None


def _keep_spikes(parameter: str, result: Explained, transposed: bool, found: Found) -> None:
    shape = result.shape
    if shape.spikes:
        left, right = (shape.right.T, shape.left.T) if transposed else (shape.left, shape.right)
        found.spikes[parameter] = LowRank(left.contiguous(), right.contiguous())


def _view(name: str, base: Rows, tensor: Rows, result: Explained, edits: int) -> TensorView:
    size = norm(base)
    return TensorView(
        name=name,
        edits=edits,
        state=result.state,
        dtype=NAMES[tensor.dtype],
        norm=result.shape.norm,
        relative=result.shape.norm / size if size else 0.0,
        effective_rank=result.shape.effective_rank,
        gap=result.shape.gap,
        rank=result.shape.spikes,
        levels=result.levels,
    )


def viewed(
    workspace: Workspace, spec: str, deployed: Deployed, likeness: Likeness, found: Found
) -> AuditView:
    """The whole of what was found."""
    edits = _edits(workspace, found)
    by = {word: tuple(e.edit for e in edits if e.verdict == word) for word in _WORDS}
    total = len(workspace.versions.checkpoint.names())
    verdict, reasons = overall(found.tensors, total, deployed.extra)
    return AuditView(
        checkpoint=spec,
        kind=deployed.kind,
        verdict=verdict,
        reasons=reasons,
        identity=identify(
            workspace,
            spec,
            likeness,
            by["present"],
            by["ambiguous"] + by["partial"],
            found.joint,
            verdict,
        ),
        counts={"known": len(edits), **{w: len(by[w]) for w in _WORDS if by[w]}, **_states(found)},
        edits=edits,
        groups=tuple(found.groups),
        tensors=tuple(found.tensors),
    )


_WORDS = ("present", "absent", "partial", "ambiguous")


def _states(found: Found) -> dict[str, int]:
    return {f"tensors_{state}": n for state, n in Counter(t.state for t in found.tensors).items()}


def _edits(workspace: Workspace, found: Found) -> tuple[EditShare, ...]:
    records = workspace.journal.edits(sorted(found.shares))
    standing = workspace.journal.standing(found.shares)
    shares = []
    for record in records:
        own = found.shares[record.id]
        all_ = combined(list(own.values()))
        shares.append(
            EditShare(
                edit=record.id,
                fact=fact_line(record),
                state=standing.state(record.id),
                coefficient=all_.coefficient,
                low=all_.low,
                high=all_.high,
                verdict=all_.verdict,
                parameters=own,
            )
        )
    return tuple(shares)
