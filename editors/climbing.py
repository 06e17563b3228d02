"""Going up a model whose layers are edited one by one, without starting again at the bottom.

Promise: keys at a layer and states at a module are those of whole passes over the model with the
weights given, up to rounding; layers below the one reached are not run again, since nothing in them
changes, and the beginning that all requests share in a template is run once for all of them. The
first keys of the first request are compared with those of whole rows, and where they differ every
row is a whole one: `forward` says so.
Rules: rows are cut after the subject; the bare prompts, the first template, are among them and go
on alone to the module whose states are wanted. Layers are asked for in ascending order, and the
weights of a layer that was passed do not change. Dimensions: n requests, p templates, m MLP width.

    climb = Climb(model, requests, templates, module=model.residual(8))
    keys, states = climb.to(4, {})                  # [n, p, m], [n, d]
    keys, states = climb.to(5, {model.parameter_name(4): edited})
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from editors.continuing import (
    CONTINUED,
    DIFFERENT,
    UNCACHED,
    Attention,
    Tail,
    agree,
    held,
    kept,
    run,
)
from editors.keys import SubjectRows, Weights, flat, subject_keys
from editors.model import EditableModel
from editors.prompts import fill, subject_rows
from editors.requests import Fact
from editors.trace import Trace

_ROWS = 512

Rows = Sequence[tuple[int, ...]]


class Climb:
    """Requests in every template on their way up; `forward` says how rows are run."""

    def __init__(
        self, model: EditableModel, requests: Sequence[Fact], templates: Sequence[str], module: str
    ) -> None:
        self._model, self._first, self._templates = model, requests[0], templates
        rows = subject_rows(model, [fill(r, t) for r in requests for t in templates])
        self._rows = [rows[i : i + len(templates)] for i in range(0, len(rows), len(templates))]
        self._module = module
        self.forward, self._compared = CONTINUED, False
        self._begin([0, *(_shared(column) for column in list(zip(*self._rows, strict=True))[1:])])

    def to(self, layer: int, weights: Weights) -> tuple[Tensor, Tensor]:
        """Keys of the layer, and the module's outputs for the bare prompts, at the subjects.

        Shapes: [n, p, m] and [n, d], float32 on the model's device.
        """
        keys = self._keys(layer, weights)
        return keys, torch.cat([party.states(weights) for party in self._parties])

    def _begin(self, lengths: Sequence[int]) -> None:
        """Take the rows apart: `lengths` are the tokens that all requests share per template."""
        step = max(1, _ROWS // len(lengths))
        parts = [self._rows[i : i + step] for i in range(0, len(self._rows), step)]
        self._parties = [_Party(self._model, part, lengths, self._module) for part in parts]
        leads = [row[:length] for row, length in zip(self._rows[0], lengths, strict=True) if length]
        self._leads = _Leads(self._model, leads) if leads else None

    def _keys(self, layer: int, weights: Weights) -> Tensor:
        attention: tuple[Attention, ...] = ()
        if self._leads is not None:
            attention = self._leads.to(layer, weights)
            if not attention:
                return self._whole(UNCACHED, layer, weights)
        keys = torch.cat([party.keys(layer, weights, attention) for party in self._parties])
        if self._leads is not None and not self._compared:
            self._compared = True
            expected = subject_keys(
                self._model, [self._first], layers=[layer], templates=self._templates
            )
            if not agree(keys[:1], expected[layer], self._model.dtype):
                return self._whole(DIFFERENT, layer, weights)
        return keys

    def _whole(self, why: str, layer: int, weights: Weights) -> Tensor:
        """Begin again without shared beginnings; only the first layer can ask for it."""
        self.forward = why
        self._begin([0] * len(self._templates))
        return self._keys(layer, weights)


class _Stage:
    """Rows and the residual stream that enters the layer they have reached."""

    def __init__(self, model: EditableModel) -> None:
        self._model, self._layer = model, 0
        self._trace: Trace | None = None

    def _up(self, layer: int) -> Trace:
        """A trace that records the layer's keys and what enters it, and stops there."""
        below = [self._model.residual(layer - 1)] if layer > self._layer else []
        inputs = [self._model.projection(layer)]
        skip = self._skip(slice(None), None)
        return Trace(self._model.model, inputs=inputs, outputs=below, skip=skip, stop=True)

    def _reached(self, layer: int, trace: Trace) -> None:
        if layer > self._layer:
            self._trace, self._layer = trace, layer

    def _skip(self, chosen: slice, width: int | None) -> dict[str, Any]:
        """What the layers below the one reached return."""
        if self._trace is None:
            return {}
        name = self._model.residual(self._layer - 1)
        state = self._trace.formed(name, self._trace.output(name)[chosen, :width])
        return {self._model.residual(layer): state for layer in range(self._layer)}


class _Leads(_Stage):
    """The beginnings that requests share, one row per template that has one."""

    def __init__(self, model: EditableModel, rows: Rows) -> None:
        super().__init__(model)
        self._tokens = model.batch(rows)

    def to(self, layer: int, weights: Weights) -> tuple[Attention, ...]:
        """Keys and values of the layers from the one reached up to this one, stand-ins below; empty
        where the model keeps none."""
        trace, cache = self._up(layer), DynamicCache()
        tokens = self._tokens
        with torch.no_grad(), self._model.evaluating(), trace:
            run(self._model, tokens.ids, tokens.mask, None, weights, past_key_values=cache)
        found = kept(cache)
        if len(found) != layer + 1 - self._layer:
            return ()
        attention = (*[found[0]] * self._layer, *found)
        self._reached(layer, trace)
        return attention


class _Party(_Stage):
    """Some of the requests: their rows without the shared beginnings."""

    def __init__(
        self, model: EditableModel, rows: Sequence[Rows], lengths: Sequence[int], module: str
    ) -> None:
        super().__init__(model)
        self._module, self._each = module, len(lengths)
        self._bare = SubjectRows(model, [row[0] for row in rows])
        tails = [r[length:] for row in rows for r, length in zip(row, lengths, strict=True)]
        self._tails = model.batch(tails)
        ends = [self._tails.flat(i, len(tail) - 1) for i, tail in enumerate(tails)]
        self._ends = torch.tensor(ends, device=model.device)
        leads = [sum(1 for n in lengths[:i] if n) for i in range(len(lengths))]
        self._leads = torch.tensor(leads * len(rows), device=model.device)[:, None]
        begins = torch.tensor(list(lengths) * len(rows), device=model.device)[:, None]
        longest = max(lengths)
        self._before = begins - longest + torch.arange(longest, device=model.device)
        width = self._tails.ids.shape[1]
        self._positions = begins + torch.arange(width, device=model.device)

    def keys(self, layer: int, weights: Weights, attention: Sequence[Attention]) -> Tensor:
        """Up to the layer's projection. Shape: [requests, p, m]."""
        trace, name = self._up(layer), self._model.projection(layer)
        leads = self._leads.clamp(max=attention[0][0].shape[0] - 1) if attention else self._leads
        tail = Tail(
            model=self._model,
            ids=self._tails.ids,
            mask=torch.cat([(self._before >= 0).long(), self._tails.mask], dim=1),
            positions=self._positions,
            skip={},
            attention=held(attention, leads, self._before, self._layer),
        )
        tail.run(trace, weights)
        self._reached(layer, trace)
        keys = flat(trace.input(name))[self._ends].float()
        return keys.reshape(-1, self._each, keys.shape[-1])

    def states(self, weights: Weights) -> Tensor:
        """The bare prompts from the layer reached up to the module. Shape: [requests, d]."""
        bare = self._skip(slice(None, None, self._each), self._bare.width)
        trace = Trace(self._model.model, outputs=[self._module], skip=bare, stop=True)
        self._bare.run(trace, weights)
        return self._bare.at_last(trace.output(self._module))


def _shared(rows: Rows) -> int:
    """Tokens with which all rows begin, each row's last one left out."""
    limit = min(len(row) for row in rows) - 1
    columns = zip(*(row[:limit] for row in rows), strict=True)
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))
