"""AlphaEdit: MEMIT confined to directions that known keys do not use (Fang et al. 2025).

Promise: ΔW = R Xᵀ with [P (K Kᵀ + K_p K_pᵀ) + L2 I] X = P K, where P projects onto the null space
of C: ΔW P = ΔW, and ΔW k is small for the keys of C.
Rules: the system is solved in its push-through form, of the size of all keys so far. The null space
is chosen by `nullspace_criterion`: "energy" keeps the smallest eigenvalues that together hold at
most `nullspace_threshold` of the trace of C; "absolute" is the published rule, eigenvalues below
the threshold, which depends on the scale of a model. The rank of P is in the evidence.

    hparams = AlphaEditHparams.from_dict(values)
    delta = AlphaEdit()(model, requests, hparams, context=context)
    delta.evidence["layers"]        # {"model.layers.4...": {"null_rank": 14300, ...}}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from editors.base import Job
from editors.delta import JSON
from editors.methods.memit import earlier_keys
from editors.solves import NullSpace, Solved, push_through
from editors.spreading import SpreadHparams, Spreading


@dataclass(frozen=True, kw_only=True)
class AlphaEditHparams(SpreadHparams):
    """`L2` is the ridge; `previous_weight` weighs the keys of earlier edits, 1 as published."""

    nullspace_threshold: float
    nullspace_criterion: Literal["energy", "absolute"] = "energy"
    L2: float = 10.0
    previous_weight: float = 1.0

    def validate(self) -> None:
        """Ranges."""
        super().validate()
        self.positive("nullspace_threshold", "L2")
        self.not_negative("previous_weight")


class AlphaEdit(Spreading[AlphaEditHparams]):
    """The editor."""

    name: str = "alphaedit"
    paper: str = "Fang et al. 2025, AlphaEdit: Null-Space Constrained Knowledge Editing, 2410.02355"
    hparams: type[AlphaEditHparams] = AlphaEditHparams

    def columns(self, job: Job[AlphaEditHparams], layer: int, keys: Tensor) -> Solved:
        """[P (K Kᵀ + K_p K_pᵀ) + L2 I]^-1 P K. Shapes: [m, n] -> [m, n]."""
        null = _null_space(job, layer)
        return push_through(
            lambda held: null.project(held) / job.hparams.L2,
            keys,
            ridge=1.0,
            previous=earlier_keys(layer, job.hparams.previous_weight, job.context),
        )

    def about(self, job: Job[AlphaEditHparams], layer: int) -> dict[str, JSON]:
        """The null space: its rank and the share of the trace of C in it."""
        null = _null_space(job, layer)
        return {"null_rank": null.rank, "null_energy": null.energy}


def _null_space(job: Job[AlphaEditHparams], layer: int) -> NullSpace:
    moment, hparams = job.context.second_moment(layer), job.hparams
    return NullSpace.of(moment, hparams.nullspace_threshold, hparams.nullspace_criterion)
