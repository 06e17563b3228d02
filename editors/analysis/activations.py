"""How many MLP units are active, layer by layer, and the sudden rise at a layer.

Promise: one forward pass a chunk of texts; an activation is what the MLP's output projection
receives (the key), at the text's last position.
Rules: a unit is active above a threshold, 0.085 in the thesis (section 3.3.2, figure 3-4).

    counts = active_units(model, ["The capital of France is"])      # [1, L]
    rise = rise_at(counts[0].tolist(), 5)
    rise.fdv, rise.rdsp, rise.rmp
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor

from editors.keys import flat
from editors.model import EditableModel
from editors.prompts import encode
from editors.trace import Trace

THRESHOLD: Final = 0.085
_TEXTS = 64


class Rise(NamedTuple):
    """a_l - a_{l-1}; |a_l - sum of a_j below l| / a_l; mean of a_j below l / a_l."""

    fdv: float
    rdsp: float
    rmp: float


@torch.no_grad()
def active_units(
    model: EditableModel, texts: Sequence[str], threshold: float = THRESHOLD
) -> Tensor:
    """Number of units above the threshold. Shape: [n, L] int64."""
    names = [model.projection(layer) for layer in range(model.n_layers)]
    parts = []
    for start in range(0, len(texts), _TEXTS):
        rows = [encode(model, text).ids for text in texts[start : start + _TEXTS]]
        batch = model.batch(rows)
        last = torch.tensor([batch.flat(i, len(row) - 1) for i, row in enumerate(rows)])
        with model.evaluating(), Trace(model.model, inputs=names, stop=True) as trace:
            model.forward(batch)
        keys = [flat(trace.input(name))[last.to(model.device)] for name in names]
        parts.append(torch.stack([(key > threshold).sum(dim=-1) for key in keys], dim=1).cpu())
    return torch.cat(parts)


def rise_at(counts: Sequence[float], layer: int) -> Rise | None:
    """The thesis' three figures; None where no unit is active at the layer or none is below it."""
    here, below = counts[layer], counts[:layer]
    if not here or not below:
        return None
    return Rise(here - below[-1], abs(here - sum(below)) / here, sum(below) / len(below) / here)
