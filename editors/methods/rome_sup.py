"""rome-sup: a fact written under constraints on its subject's other facts (thesis 3.2.1.1).

Promise: with keys K* of the edit and of up to two same-subject probes with gold answers, and their
values V*, ΔW = (V* - W K*) (K*ᵀ C^-1 K*)^-1 K*ᵀ C^-1: every constraint (W + ΔW) k = v holds, the
rank is at most 3.
Rules: prompts that begin alike up to the subject have the same key in a causal model, and one key
cannot have two values: while the condition number of the constraints (K*ᵀ C^-1 K*, scaled to a
unit diagonal) is above `max_condition`, the two nearest keys are merged and get one value that says
all their answers; the evidence names what was merged. A probe whose answer already comes is a
constraint to stay.

    hparams = RomeSupHparams.from_dict(values)
    delta = RomeSup()(model, [request], hparams, context=context)
    delta.evidence["constraints"]       # [["{} was born in"], ["{} speaks", "{} plays"]]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from editors.base import Editor, Job
from editors.delta import Delta, LowRank, update_ratio
from editors.keys import subject_keys
from editors.methods.rome import RomeHparams
from editors.model import EditableModel
from editors.rows import Wish
from editors.same_subject import same_subject
from editors.solves import Prior, moment_prior, push_through, times
from editors.values import Value, optimise_values

MOST_PROBES: Final = 2


@dataclass(frozen=True, kw_only=True)
class RomeSupHparams(RomeHparams):
    """As ROME's, with one key everywhere, and the condition number that calls for a merge."""

    max_condition: float = 100.0

    def validate(self) -> None:
        """Ranges."""
        super().validate()
        self.require(self.max_condition > 1, "max_condition must be above 1")
        self.require(self.key == "consistent", "rome-sup has one key everywhere: key='consistent'")


class RomeSup(Editor[RomeSupHparams]):
    """The editor."""

    name: str = "rome-sup"
    paper: str = "the thesis, 3.2.1.1: supervised same-subject constraints"
    hparams: type[RomeSupHparams] = RomeSupHparams

    def needs(self, hparams: RomeSupHparams) -> frozenset[int]:
        """The edited layer, unless C is the identity."""
        return hparams.moments

    def edit(self, job: Job[RomeSupHparams]) -> Delta:
        """The delta of rank 1 to 3 for one request that has probes."""
        model, hparams, templates = job.model, job.hparams, job.context.templates
        probes = same_subject(job.single, self.name)
        facts = (job.single.fact, *probes.facts[:MOST_PROBES])
        parameter, prior = model.parameter_name(hparams.layer), _prior(job)
        found = subject_keys(model, facts, layers=[hparams.layer], templates=templates)
        merged = merge(
            found[hparams.layer].mean(dim=1).T.cpu().double(), prior, hparams.max_condition
        )
        values = optimise_values(
            model,
            [Wish(tuple(facts[i] for i in group)) for group in merged.groups],
            modules=[model.projection(hparams.layer)],
            templates=templates,
            settings=hparams,
            progress=job.context.progress,
        )
        weight = model.weight(parameter)
        wanted = _wanted(model, parameter, merged.keys, values)
        residual = wanted - times(weight, merged.keys)  # [d, r]
        solved = push_through(prior, merged.keys, ridge=0.0)
        change = LowRank(residual.float().contiguous(), solved.columns.T.float().contiguous())
        return Delta(
            parameters={parameter: change},
            keys={parameter: merged.keys.float().contiguous()},
            values={parameter: wanted.float().contiguous()},
            templates=templates,
            evidence={
                **values[0].evidence(),
                "update_ratio": update_ratio(change, weight, hparams.max_update_ratio),
                "constraints": [[facts[i].prompt for i in group] for group in merged.groups],
                "condition": [merged.before, merged.after],
                "skipped": list(probes.skipped),
            },
        )


@dataclass(frozen=True, eq=False)
class Merged:
    """Groups of facts (the edit's first), their keys [m, r], the condition before and after."""

    groups: tuple[tuple[int, ...], ...]
    keys: Tensor
    before: float
    after: float


def merge(keys: Tensor, prior: Prior, max_condition: float) -> Merged:
    """Merge the nearest keys until the constraints can be told apart. Shape: keys [m, n]."""
    groups: list[tuple[int, ...]] = [(i,) for i in range(keys.shape[1])]
    held = keys
    cosines = _cosines(held, prior)
    before = after = _condition(cosines)
    while len(groups) > 1 and not after <= max_condition:
        near = cosines.abs().triu(diagonal=1)
        i, j = divmod(int(near.argmax()), len(groups))
        groups[i] = (*groups[i], *groups.pop(j))
        held = torch.stack([keys[:, list(group)].mean(dim=1) for group in groups], dim=1)
        cosines = _cosines(held, prior)
        after = _condition(cosines)
    return Merged(tuple(groups), held, before, after)


def _cosines(keys: Tensor, prior: Prior) -> Tensor:
    """Kᵀ C^-1 K scaled to a unit diagonal. Shapes: [m, n] -> [n, n]."""
    gram = keys.T @ prior(keys).cpu()
    scale = gram.diagonal().sqrt()
    return gram / torch.outer(scale, scale)


def _condition(cosines: Tensor) -> float:
    values = torch.linalg.eigvalsh(cosines)
    return float(values[-1] / values[0]) if values[0] > 0 else 1e300


def _prior(job: Job[RomeSupHparams]) -> Prior:
    if job.hparams.second_moment == "identity":
        return lambda keys: keys
    return moment_prior(job.context.second_moment(job.hparams.layer), 1.0)


def _wanted(model: EditableModel, parameter: str, keys: Tensor, values: Sequence[Value]) -> Tensor:
    """V* [d, r]: v* for the edit as in ROME; for the others what comes now, moved by delta."""
    edit = model.without_bias(parameter, values[0].target).cpu().double()
    now = times(model.weight(parameter), keys)
    others = [now[:, i] + v.delta.cpu().double() for i, v in enumerate(values) if i > 0]
    return torch.stack([edit, *others], dim=1)
