"""Keys: what an MLP output projection receives at the subject's last token.

Promise: one batched pass per chunk for all requests, templates and layers; float32 results.
Rules: rows are cut after the subject (a causal model cannot look further) and the forward ends at
the deepest wanted module. Dimensions: n requests, p templates, m MLP width.

    keys = subject_keys(model, [request], layers=[5], templates=context.templates)
    keys[5].mean(dim=1)         # one averaged key per request, [n, m]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from editors.model import EditableModel
from editors.prompts import fill, subject_rows
from editors.requests import Fact
from editors.trace import Trace

_CHUNK = 128

Weights = Mapping[str, Tensor]


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
    rows = subject_rows(model, [fill(r, t) for r in requests for t in templates])
    parts: dict[int, list[Tensor]] = {layer: [] for layer in names}
    trace = Trace(model.model, inputs=names.values(), stop=True)
    for start in range(0, len(rows), _CHUNK):
        chunk = SubjectRows(model, rows[start : start + _CHUNK])
        chunk.run(trace)
        for layer, name in names.items():
            parts[layer].append(chunk.at_last(trace.input(name)))
    shape = (len(requests), len(templates), -1)
    return {layer: torch.cat(part).reshape(shape) for layer, part in parts.items()}


def context_mean(keys: Tensor) -> Tensor:
    """Mean per request, the bare prompt weighing one half and all other contexts the other half.

    Shapes: [n, p, m] -> [n, m]. Source: kmeng01/memit, which averages inside each type of context
    and then the types.
    """
    if keys.shape[1] == 1:
        return keys[:, 0]
    return (keys[:, 0] + keys[:, 1:].mean(dim=1)) / 2


class SubjectRows:
    """Rows cut after the subject, as one padded batch."""

    def __init__(self, model: EditableModel, rows: Sequence[Sequence[int]]) -> None:
        self._model, self._batch = model, model.batch(rows)
        places = [self._batch.flat(i, len(row) - 1) for i, row in enumerate(rows)]
        self._places = torch.tensor(places, device=model.device)

    @property
    def width(self) -> int:
        """Tokens of the longest row."""
        return int(self._batch.ids.shape[1])

    def run(self, trace: Trace, weights: Weights | None = None) -> None:
        """One pass under the trace."""
        with torch.no_grad(), self._model.evaluating(), trace:
            self._model.forward(self._batch, weights=weights)

    def at_last(self, recorded: Tensor) -> Tensor:
        """What a trace recorded, at every row's last token. Shape: [rows, width of it] float32."""
        return flat(recorded)[self._places].float()


def flat(x: Tensor) -> Tensor:
    """[..., d] -> [rows, d]: some models flatten batch and time themselves, most do not."""
    return x.reshape(-1, x.shape[-1])
