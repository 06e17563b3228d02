"""Going on in the middle of a forward pass: what an edit cannot change is computed once.

Promise: a tail gives the logits of a whole pass up to rounding, with gradients, for every model
whose attention takes a cache; `Capture.forward` says why another one cannot be continued.
Rules: rows are captured once, as they are. A tail begins at a position of a row and above a layer:
keys and values before the position are held, layers below are skipped through the trace. Cut rows
are aligned at their cuts, so that the distances between tokens stay what they were. The last MLP,
whose outputs only the head reads, is run at the places that the head is asked for. A tail from
position 0 and layer 0 is a whole pass. Dimensions: n cuts, s longest tail, p longest part before.

    capture = Capture.of(model, rows, starts=[5])
    tail = capture.tail([Cut(0, 7, 12)], start=5)        # row 0 from position 7 on, layers 5 and up
    logits = tail.logits(at, edit_outputs={name: moved})
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

from editors.batch import Batch
from editors.keys import flat
from editors.model import EditableModel
from editors.placement import swapped
from editors.trace import Edit, Trace

CONTINUED: Final = "continued"
DIFFERENT: Final = "whole: a continued pass gave other logits"
UNCACHED: Final = "whole: no keys and values are kept for each layer"
# Relative to the largest logit: what rounding alone can do, far below what a wrong mask does.
_TOLERANCE: Final = MappingProxyType({torch.float32: 1e-3, torch.float64: 1e-6})
_HALF_TOLERANCE: Final = 5e-2


Attention: TypeAlias = tuple[Tensor, Tensor]


class Cut(NamedTuple):
    """Positions `begin` up to `end` of a captured row."""

    row: int
    begin: int
    end: int


class _HeldLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values that are put before new ones and never grow, so that each pass finds them.

    Of more new rows than held ones, each round of that many has the held ones before it.
    """

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Held and new, along the time axis."""
        assembled = ((self.keys, key_states), (self.values, value_states))
        keys, values = (torch.cat([_tiled(old, new), new], dim=-2) for old, new in assembled)
        return keys, values


@dataclass(frozen=True, eq=False)
class Capture:
    """What one pass over whole rows left: `logits` at the asked places, the trace, and the caches.

    `attention`: per layer keys and values [rows, heads, t, width], empty where not to be continued.
    """

    model: EditableModel
    tokens: Batch
    logits: Tensor
    trace: Trace
    attention: tuple[Attention, ...]

    @property
    def forward(self) -> str:
        """How later passes can be run: `CONTINUED`, or why they have to be whole."""
        return CONTINUED if self.attention else UNCACHED

    @classmethod
    def of(
        cls,
        model: EditableModel,
        rows: Sequence[Sequence[int]],
        *,
        starts: Iterable[int],
        at: Tensor | None = None,
        inputs: Iterable[str] = (),
        outputs: Iterable[str] = (),
        edit_outputs: Mapping[str, Edit] | None = None,
    ) -> Capture:
        """One pass without gradients; `starts` are the layers from which tails will go on.

        `at`: flat places of the right-padded rows where logits are wanted; `inputs`, `outputs`:
        names of modules whose input or output is to be recorded; `edit_outputs` are changed, as in
        a `Trace`.
        """
        tokens, cache = model.batch(rows), DynamicCache()
        recorded = [*(model.residual(start - 1) for start in starts if start > 0), *outputs]
        trace = Trace(model.model, inputs=inputs, outputs=recorded, edit_outputs=edit_outputs)
        with torch.no_grad(), model.evaluating(), trace:
            logits = run(model, tokens.ids, tokens.mask, at, past_key_values=cache)
        found = kept(cache)
        whole = len(found) == model.n_layers
        return cls(model, tokens, logits, trace, found if whole else ())

    def tail(self, cuts: Sequence[Cut], *, start: int, still: Iterable[str] = ()) -> Tail:
        """The rest of the rows behind the cuts, from layer `start` on (L: the head alone).

        `still`: modules whose recorded outputs are returned in place of running them.
        """
        device = self.tokens.ids.device
        rows, begins, ends = torch.tensor(cuts, device=device).T[:, :, None]  # [n, 1]
        before = begins - int(begins.max()) + torch.arange(int(begins.max()), device=device)
        behind = begins + torch.arange(int((ends - begins).max()), device=device)
        inside = behind.clamp(max=self.tokens.ids.shape[1] - 1)

        def again(name: str) -> Any:
            output = self.trace.output(name)
            behind = output.reshape(*self.tokens.ids.shape, -1)[rows, inside]
            return self.trace.formed(name, flat(behind) if output.ndim == 2 else behind)

        skip = {name: again(name) for name in still}
        if start > 0:
            state = again(self.model.residual(start - 1))
            skip |= {self.model.residual(layer): state for layer in range(start)}
        return Tail(
            model=self.model,
            ids=self.tokens.ids[rows, inside],
            mask=torch.cat([before >= 0, behind < ends], dim=1).long(),
            positions=inside,
            skip=skip,
            attention=held(self.attention, rows, before, start) if before.numel() or skip else (),
        )


@dataclass(frozen=True, eq=False)
class Tail:
    """The rest of some rows. Shapes: ids and positions [n, s], mask [n, p + s]."""

    model: EditableModel
    ids: Tensor
    mask: Tensor
    positions: Tensor
    skip: Mapping[str, Any]
    attention: tuple[Attention, ...]

    def logits(
        self,
        at: Tensor,
        *,
        outputs: Iterable[str] = (),
        edit_inputs: Mapping[str, Edit] | None = None,
        edit_outputs: Mapping[str, Edit] | None = None,
    ) -> tuple[Tensor, Trace]:
        """Logits [a, V] at flat places of [n, s], and the trace with the recorded outputs."""
        into, out = self._last(at, {*outputs, *(edit_inputs or {}), *(edit_outputs or {})})
        trace = Trace(
            self.model.model,
            outputs=outputs,
            edit_inputs={**into, **(edit_inputs or {})},
            edit_outputs={**out, **(edit_outputs or {})},
            skip=self.skip,
        )
        with self.model.evaluating(), trace:
            logits = run(self.model, self.ids, self.mask, at, **self._before())
        return logits, trace

    def run(self, trace: Trace, weights: Mapping[str, Tensor]) -> None:
        """One pass without gradients under a trace that stops it; `weights` as in `forward`."""
        with torch.no_grad(), self.model.evaluating(), trace:
            run(self.model, self.ids, self.mask, None, weights, **self._before())

    def _last(self, at: Tensor, used: Iterable[str]) -> tuple[dict[str, Edit], dict[str, Edit]]:
        """Edits that run the last MLP at some places and put nothing at the others; none where that
        saves nothing, on a whole pass, and where something in that layer is watched or moved."""
        last = self.model.residual(self.model.n_layers - 1)
        watched = last in self.skip or any(f"{name}.".startswith(f"{last}.") for name in used)
        if not self.attention or watched or len(at) == self.ids.numel():
            return {}, {}
        name = self.model.architecture.mlp_template.format(self.model.n_layers - 1)
        if not _takes_one(self.model.model.get_submodule(name)):
            return {}, {}
        shape = self.ids.shape

        def gather(x: Tensor) -> Tensor:
            chosen = flat(x)[at]
            return chosen if x.ndim == 2 else chosen[None]

        def scatter(y: Tensor) -> Tensor:
            full = y.new_zeros(shape.numel(), y.shape[-1]).index_put((at,), flat(y))
            return full if y.ndim == 2 else full.reshape(*shape, -1)

        return {name: gather}, {name: scatter}

    def _before(self) -> dict[str, Any]:
        """The held keys and values as arguments of the model."""
        if not self.attention:
            return {}
        cache = DynamicCache()
        cache.layers = [_layer(keys, values) for keys, values in self.attention]
        places = {"position_ids": self.positions} if _takes_positions(self.model) else {}
        return {"past_key_values": cache, **places}


def held(
    attention: Sequence[Attention], rows: Tensor, before: Tensor, start: int
) -> tuple[Attention, ...]:
    """Keys and values of some rows before their tails, of layers below `start` their length only.

    Shapes: attention [rows, heads, t, width] each, rows [n, 1], before [n, p] (positions, negative
    where there is none) -> [n, heads, p, width].
    """

    def chosen(layer: int, states: Tensor) -> Tensor:
        if layer < start:
            return states.new_empty(1, 1, before.shape[1], 1)
        near = states.device  # that of the layer, in a model that is spread
        return states[rows.to(near), :, before.clamp(min=0).to(near)].transpose(1, 2)

    return tuple((chosen(n, k), chosen(n, v)) for n, (k, v) in enumerate(attention))


def _tiled(held: Tensor, new: Tensor) -> Tensor:
    rounds = new.shape[0] // held.shape[0]
    return held if rounds == 1 else held.repeat(rounds, 1, 1, 1)


def agree(found: Tensor, expected: Tensor, dtype: torch.dtype) -> bool:
    """Whether results of a model of this format differ by rounding only; not if not finite."""
    gap = (found - expected).abs().max()
    return bool(gap <= _TOLERANCE.get(dtype, _HALF_TOLERANCE) * expected.abs().max())


def _layer(keys: Tensor, values: Tensor) -> _HeldLayer:
    layer = _HeldLayer()
    layer.lazy_initialization(keys, values)
    layer.keys, layer.values = keys, values
    return layer


def run(
    model: EditableModel,
    ids: Tensor,
    mask: Tensor,
    at: Tensor | None,
    weights: Mapping[str, Tensor] | None = None,
    **cache: Any,
) -> Tensor:
    """Logits [a, V] at flat places of the ids, or [n, t, V]."""

    def chosen(x: Tensor) -> Tensor:
        return x.reshape(-1, x.shape[-1])[at][None]

    arguments = {"input_ids": ids, "attention_mask": mask, "use_cache": bool(cache), **cache}
    edits = {} if at is None else {model.architecture.head: chosen}
    with Trace(model.model, edit_inputs=edits), swapped(model.model, weights or {}):
        out = model.model(**arguments)
    logits: Tensor = out.logits
    return logits if at is None else logits[0]


def kept(cache: DynamicCache) -> tuple[Attention, ...]:
    """Keys and values of the layers that ran with the cache, of those with plain attention."""
    return tuple((layer.keys, layer.values) for layer in cache.layers if _standard(layer))


def _standard(layer: Any) -> bool:
    keys = getattr(layer, "keys", None)
    return type(layer) is DynamicLayer and isinstance(keys, Tensor) and keys.ndim == 4


def _takes_one(module: torch.nn.Module) -> bool:
    """Whether a module can be run at some places: others add the whole residual by themselves."""
    parameters = inspect.signature(module.forward).parameters.values()
    return sum(each.default is each.empty for each in parameters) == 1


def _takes_positions(model: EditableModel) -> bool:
    return "position_ids" in inspect.signature(model.model.forward).parameters
