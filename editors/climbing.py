"""Going up a model whose layers are edited one by one, without starting again at the bottom.

Promise: keys at a layer and states at a module are those of whole passes over the model with the
weights given; layers below the one reached are not run again, since nothing in them changes.
Rules: rows are cut after the subject; the bare prompts, the first template, are among them and go
on alone to the module whose states are wanted. Layers are asked for in ascending order, and the
weights of a layer that was passed do not change. Dimensions: n requests, p templates, m MLP width.

    climb = Climb(model, requests, templates, module=model.residual(8))
    keys, states = climb.to(4, {})                  # [n, p, m], [n, d]
    keys, states = climb.to(5, {model.parameter_name(4): edited})
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from editors.keys import SubjectRows, Weights
from editors.model import EditableModel
from editors.prompts import fill, subject_row
from editors.requests import Fact
from editors.trace import Trace

_ROWS = 128


class Climb:
    """Requests in every template on their way up."""

    def __init__(
        self, model: EditableModel, requests: Sequence[Fact], templates: Sequence[str], module: str
    ) -> None:
        step = max(1, _ROWS // len(templates))
        self._parties = [
            _Party(model, requests[i : i + step], templates, module)
            for i in range(0, len(requests), step)
        ]

    def to(self, layer: int, weights: Weights) -> tuple[Tensor, Tensor]:
        """Keys of the layer, and the module's outputs for the bare prompts, at the subjects.

        Shapes: [n, p, m] and [n, d], float32 on the model's device.
        """
        found = [(party.keys(layer, weights), party.states(weights)) for party in self._parties]
        return torch.cat([keys for keys, _ in found]), torch.cat([states for _, states in found])


class _Party:
    """Some of the requests: their rows, and the residual stream that enters the layer reached."""

    def __init__(
        self, model: EditableModel, requests: Sequence[Fact], templates: Sequence[str], module: str
    ) -> None:
        rows = [subject_row(model, fill(r, t)) for r in requests for t in templates]
        self._model, self._module, self._each = model, module, len(templates)
        self._rows, self._bare = (
            SubjectRows(model, rows),
            SubjectRows(model, rows[:: len(templates)]),
        )
        self._layer = 0
        self._trace: Trace | None = None

    def keys(self, layer: int, weights: Weights) -> Tensor:
        """Up to the layer's projection. Shape: [requests, p, m]."""
        name = self._model.projection(layer)
        below = [self._model.residual(layer - 1)] if layer > self._layer else []
        trace = Trace(
            self._model.model, inputs=[name], outputs=below, skip=self._skip(slice(None)), stop=True
        )
        self._rows.run(trace, weights)
        keys = self._rows.at_last(trace.input(name))
        if below:
            self._trace, self._layer = trace, layer
        return keys.reshape(-1, self._each, keys.shape[-1])

    def states(self, weights: Weights) -> Tensor:
        """The bare prompts from the layer reached up to the module. Shape: [requests, d]."""
        bare = self._skip(slice(None, None, self._each))
        trace = Trace(self._model.model, outputs=[self._module], skip=bare, stop=True)
        self._bare.run(trace, weights)
        return self._bare.at_last(trace.output(self._module))

    def _skip(self, chosen: slice) -> dict[str, Any]:
        """What the layers below the one reached return."""
        if self._trace is None:
            return {}
        name = self._model.residual(self._layer - 1)
        width = (self._rows if chosen.step is None else self._bare).width
        state = self._trace.formed(name, self._trace.output(name)[chosen, :width])
        return {self._model.residual(layer): state for layer in range(self._layer)}
