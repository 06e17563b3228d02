"""Keys and states at the subject's last token: what a module receives there, and what it returns.

Promise: one batched pass per chunk for all requests, templates and layers; float32 results.
Rules: rows are cut after the subject (a causal model cannot look further) and the forward ends at
the deepest wanted module. A key is the input of an MLP output projection. `weights` stand in for
the model's own matrices, so that a layer can be seen above edited ones. Dimensions: n requests, p
templates, m MLP width.

    keys = subject_keys(model, [request], layers=[5], templates=context.templates)
    keys[5].mean(dim=1)         # one averaged key per request, [n, m]
    subject_states(model, [request], module=model.residual(5))      # [n, d], bare prompts
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from editors.model import EditableModel
from editors.prompts import fill, subject_row
from editors.requests import SLOT, Fact
from editors.trace import Trace

_CHUNK = 128

Weights = Mapping[str, Tensor]


def subject_keys(
    model: EditableModel,
    requests: Sequence[Fact],
    *,
    layers: Sequence[int],
    templates: Sequence[str],
    weights: Weights | None = None,
) -> dict[int, Tensor]:
    """Keys of every request in every context template, per layer.

    Shapes: {layer: [n, p, m]} float32 on the model's device.
    Raises: LayerOutOfRange; InvalidRequest when a tokenizer drops a subject.
    Source: ROME (Meng et al. 2022), equation 3, before the mean.
    """
    names = {layer: model.projection(layer) for layer in layers}
    rows = [subject_row(model, fill(r, t)) for r in requests for t in templates]
    trace = Trace(model.model, inputs=names.values(), stop=True)
    found = _at_last(model, rows, weights, trace, lambda: [trace.input(n) for n in names.values()])
    shape = (len(requests), len(templates), -1)
    return {layer: keys.reshape(shape) for layer, keys in zip(layers, found, strict=True)}


def subject_states(
    model: EditableModel,
    requests: Sequence[Fact],
    *,
    module: str,
    weights: Weights | None = None,
) -> Tensor:
    """Outputs of a module at the subject's last token of every bare prompt.

    Shapes: [n, d] float32 on the model's device.
    """
    rows = [subject_row(model, fill(r, SLOT)) for r in requests]
    trace = Trace(model.model, outputs=[module], stop=True)
    return _at_last(model, rows, weights, trace, lambda: [trace.output(module)])[0]


def context_mean(keys: Tensor) -> Tensor:
    """Mean per request, the bare prompt weighing one half and all other contexts the other half.

    Shapes: [n, p, m] -> [n, m]. Source: kmeng01/memit, which averages inside each type of context
    and then the types.
    """
    if keys.shape[1] == 1:
        return keys[:, 0]
    return (keys[:, 0] + keys[:, 1:].mean(dim=1)) / 2


def _at_last(
    model: EditableModel,
    rows: Sequence[Sequence[int]],
    weights: Weights | None,
    trace: Trace,
    read: Callable[[], list[Tensor]],
) -> list[Tensor]:
    """What `read` finds after each pass, at every row's last token: tensors [rows, width]."""
    parts: list[list[Tensor]] = []
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        batch = model.batch(chunk)
        places = torch.tensor([batch.flat(i, len(row) - 1) for i, row in enumerate(chunk)])
        with torch.no_grad(), model.evaluating(), trace:
            model.forward(batch, weights=weights)
        parts.append([flat(x)[places.to(model.device)].float() for x in read()])
    return [torch.cat(column) for column in zip(*parts, strict=True)]


def flat(x: Tensor) -> Tensor:
    """[..., d] -> [rows, d]: some models flatten batch and time themselves, most do not."""
    return x.reshape(-1, x.shape[-1])
