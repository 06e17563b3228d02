"""Keys: what the MLP output projection receives at the subject's last token.

Promise: one batched pass per chunk for all requests, templates and layers; float32 results.
Rules: rows are cut after the subject (a causal model cannot look further) and the forward ends at
the deepest wanted layer. Dimensions: n requests, p templates, m MLP width.

    keys = subject_keys(model, [request], layers=[5], templates=context.templates)
    keys[5].mean(dim=1)         # one averaged key per request, [n, m]
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from editors.model import EditableModel
from editors.prompts import fill, subject_row
from editors.requests import Fact
from editors.trace import Trace

_CHUNK = 128


def subject_keys(
    model: EditableModel,
    requests: Sequence[Fact],
    *,
    layers: Sequence[int],
    templates: Sequence[str],
) -> dict[int, Tensor]:
    """Keys of every request in every context template, per layer.

    Shapes: {layer: [n, p, m]} float32 on the model's device.
    Raises: LayerOutOfRange; InvalidRequest when a tokenizer drops a subject.
    Source: ROME (Meng et al. 2022), equation 3, before the mean.
    """
    names = {layer: model.projection(layer) for layer in layers}
    rows = [subject_row(model, fill(r, t)) for r in requests for t in templates]
    found: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    with torch.no_grad(), model.evaluating():
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            for layer, keys in _last_inputs(model, chunk, names).items():
                found[layer].append(keys)
    shape = (len(requests), len(templates), -1)
    return {layer: torch.cat(parts).reshape(shape) for layer, parts in found.items()}


def _last_inputs(
    model: EditableModel, rows: Sequence[Sequence[int]], names: dict[int, str]
) -> dict[int, Tensor]:
    """Inputs of the named modules at each row's last token: {layer: [rows, m]}."""
    batch = model.batch(rows)
    places = torch.tensor([batch.flat(i, len(row) - 1) for i, row in enumerate(rows)])
    with Trace(model.model, inputs=names.values(), stop=True) as trace:
        model.forward(batch)
    return {
        layer: flat(trace.input(name))[places.to(model.device)].float()
        for layer, name in names.items()
    }


def flat(x: Tensor) -> Tensor:
    """[..., d] -> [rows, d]: some models flatten batch and time themselves, most do not."""
    return x.reshape(-1, x.shape[-1])
