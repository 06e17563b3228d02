"""EMMET: many facts in one batch as equality constraints (Gupta et al. 2024).

Promise: ΔW = R (Kᵀ C'^-1 K + λ_E I)^-1 Kᵀ C'^-1 with C' = λC + μI; with `emmet_lambda` = 0 the
constraints (W + ΔW) K = W K + R hold exactly, and one request gives ROME with one key everywhere.
Rules: λ cancels but for the ridge: the effective ridge on Kᵀ C^-1 K is emmet_lambda * λ. As in the
published code a single request has the ridge too. Column j belongs to request j.

    hparams = EmmetHparams.from_dict(values | {"emmet_lambda": 0.0})
    delta = Emmet()(model, requests, hparams, context=context)
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from editors.base import Job
from editors.solves import Solved, moment_prior, push_through
from editors.spreading import SpreadHparams, Spreading


@dataclass(frozen=True, kw_only=True)
class EmmetHparams(SpreadHparams):
    """`mom2_update_weight` is λ, `update_norm_lambda` μ, `emmet_lambda` λ_E."""

    mom2_update_weight: float
    emmet_lambda: float = 0.1
    update_norm_lambda: float = 0.0

    def validate(self) -> None:
        """Ranges."""
        super().validate()
        self.positive("mom2_update_weight")
        self.not_negative("emmet_lambda", "update_norm_lambda")


class Emmet(Spreading[EmmetHparams]):
    """The editor."""

    name: str = "emmet"
    paper: str = "Gupta et al. 2024, A Unified Framework for Model Editing, 2403.14236"
    hparams: type[EmmetHparams] = EmmetHparams

    def columns(self, job: Job[EmmetHparams], layer: int, keys: Tensor) -> Solved:
        """C'^-1 K (Kᵀ C'^-1 K + λ_E I)^-1. Shapes: [m, n] -> [m, n]."""
        hparams, moment = job.hparams, job.context.second_moment(layer)
        prior = moment_prior(moment, hparams.mom2_update_weight, hparams.update_norm_lambda)
        return push_through(prior, keys, ridge=hparams.emmet_lambda)
