"""PMET: MEMIT whose value search moves attention and MLP together (Li et al. 2024).

Promise: two vectors are optimised, one on the attention's and one on the MLP's output of the last
layer; only the MLP's is written, with the solve of MEMIT.
Rules: the residual is that of the MLP output and is spread by the square root of the layers left;
once every target token is the argmax the NLL counts a tenth (`argmax_factor`), and the search ends
when the KL term is small as well.

    hparams = PmetHparams.from_dict(values)
    delta = Pmet()(model, requests, hparams, context=context)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from editors.methods.memit import Memit, MemitHparams
from editors.model import EditableModel


@dataclass(frozen=True, kw_only=True)
class PmetHparams(MemitHparams):
    """As MEMIT's; earlier keys are not held unless `previous_weight` is raised, as published."""

    argmax_factor: float = 0.1
    previous_weight: float = 0.0


class Pmet(Memit):
    """The editor."""

    name: str = "pmet"
    paper: str = "Li et al. 2024, PMET: Precise Model Editing in a Transformer, 2308.08742"
    hparams: type[MemitHparams] = PmetHparams

    def modules(self, model: EditableModel, layer: int) -> tuple[str, ...]:
        """The MLP's output first, the attention's beside it."""
        return (model.projection(layer), model.attention_output(layer))

    def share(self, left: int) -> float:
        """The square root of the layers left."""
        return math.sqrt(left)
