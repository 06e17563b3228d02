"""MEMIT: many facts in one batch, spread over several layers (Meng et al. 2023).

Promise: ΔW_l = R_l ((λC + λ_prev K_p K_pᵀ + K Kᵀ)^-1 K)ᵀ per layer, with R_l the residual at the
last layer divided by the number of layers left; column j belongs to request j.
Rules: K_p are the keys of the edits the model already carries, handed in by `previous_keys` of the
context; λ = `mom2_update_weight` counts the keys to be preserved. `previous_weight` = 0 is MEMIT as
published; 1 keeps a long sequence of edits from collapsing.

    hparams = MemitHparams.from_dict(values)
    delta = Memit()(model, requests, hparams, context=context)
    delta.parameters["model.layers.4.mlp.down_proj.weight"].u      # [d, n] residuals
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from editors.base import EditContext, Job
from editors.delta import JSON
from editors.solves import Solved, moment_prior, push_through
from editors.spreading import SpreadHparams, Spreading


@dataclass(frozen=True, kw_only=True)
class MemitHparams(SpreadHparams):
    """`mom2_update_weight` is λ, `previous_weight` λ_prev."""

    mom2_update_weight: float
    previous_weight: float = 1.0

    def validate(self) -> None:
        """Ranges."""
        super().validate()
        self.positive("mom2_update_weight")
        self.not_negative("previous_weight")


class Memit(Spreading[MemitHparams]):
    """The editor."""

    name: str = "memit"
    paper: str = "Meng et al. 2023, Mass-Editing Memory in a Transformer, 2210.07229"
    hparams: type[MemitHparams] = MemitHparams

    def columns(self, job: Job[MemitHparams], layer: int, keys: Tensor) -> Solved:
        """(λC + λ_prev K_p K_pᵀ + K Kᵀ)^-1 K. Shapes: [m, n] -> [m, n]."""
        previous = earlier_keys(layer, job.hparams.previous_weight, job.context)
        prior = moment_prior(job.context.second_moment(layer), job.hparams.mom2_update_weight)
        return push_through(prior, keys, ridge=1.0, previous=previous)

    def about(self, job: Job[MemitHparams], layer: int) -> dict[str, JSON]:
        """How many earlier keys were held."""
        previous = earlier_keys(layer, job.hparams.previous_weight, job.context)
        return {"previous_keys": 0 if previous is None else previous.shape[1]}


def earlier_keys(layer: int, weight: float, context: EditContext) -> Tensor | None:
    """√weight K_p [m, p] in float64, or None where there is nothing to hold."""
    if context.previous_keys is None or weight == 0:
        return None
    found = context.previous_keys(layer)
    if found is None or found.shape[1] == 0:
        return None
    return found.cpu().double() * math.sqrt(weight)
