"""Restoring clean states in a corrupted run, many at a time.

Promise: each restoration is what a forward pass of its own would give, up to rounding.
Rules: a restoration is rows of the batch (one a drawing of the noise) that join where they begin to
differ from the corrupted run; below, they are computed once. The head sees last tokens only.

    run.effects("mlp")              # [t, L]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, TypeVar

import torch
from torch import Tensor

from editors.model import EditableModel
from editors.trace import Trace

T = TypeVar("T", int, str)
Kind: TypeAlias = Literal["state", "mlp", "attention"]
_ROW_TOKENS = 8192
# Their position biases are made for the number of rows that goes in, so no row can join later.
_WHOLE_BATCH: Final = frozenset({"bloom", "falcon"})


def module_of(model: EditableModel, kind: Kind, layer: int) -> str:
    table = model.architecture
    templates = {
        "state": table.layer_template,
        "mlp": table.mlp_template,
        "attention": table.attention_template,
    }
    return templates[kind].format(layer)


@dataclass(frozen=True)
class Restored:
    """Clean values at `position` in layers `first` to `last`, for the effect at `layer`."""

    layer: int
    position: int
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class Run:
    """One fact: clean states [L, t, d] by kind, and what the first layer gets with noise."""

    model: EditableModel
    ids: tuple[int, ...]
    places: tuple[int, ...]
    start: Tensor
    states: Mapping[Kind, Tensor]
    answer: int
    known: bool
    clean: float
    corrupted: float
    window: int

    def effects(self, kind: Kind) -> Tensor:
        """Indirect effects [t, L]. Before the subject nothing is corrupted: they are 0 there."""
        found = torch.zeros(len(self.ids), self.model.n_layers, dtype=torch.float64)
        for chunk in self._chunks(kind):
            for item, chance in zip(chunk, self._probabilities(kind, chunk), strict=True):
                found[item.position, item.layer] = chance - self.corrupted
        return found

    def _probabilities(self, kind: Kind, items: Sequence[Restored]) -> list[float]:
        """Mean probability of the answer with each restoration, all in one pass."""
        draws, length = self.start.shape[0], len(self.ids)
        rows = draws * (1 + len(items))
        whole = self.model.architecture.model_type in _WHOLE_BATCH
        last = torch.arange(1, rows + 1, device=self.model.device) * length - 1
        batch = self.model.batch([self.ids] * (rows if whole else 1))
        with self._restoring(kind, items, whole=whole):
            logits = self.model.forward(batch, at=last).float()
        chances = logits.softmax(-1)[:, self.answer].double()
        means: list[float] = chances.reshape(1 + len(items), draws).mean(dim=1)[1:].tolist()
        return means

    def _restoring(self, kind: Kind, items: Sequence[Restored], *, whole: bool) -> Trace:
        """Rows join before the first layer in which they differ (`whole`: before layer 0)."""

        def joined(hidden: Tensor, layer: int) -> Tensor:
            new = sum((0 if whole else item.first) == layer for item in items)
            return torch.cat([hidden, *[hidden[: self.start.shape[0]]] * new])

        def restore(hidden: Tensor, layer: int) -> Tensor:
            return self._restored(kind, items, hidden, layer)

        def grow(hidden: Tensor, layer: int) -> Tensor:
            kept = restore(hidden, layer) if kind == "state" else hidden
            return joined(kept, layer + 1)

        layers = range(self.model.n_layers)
        edits = {self.model.residual(layer): at_place(grow, layer) for layer in layers}
        if kind != "state":
            edits |= {
                module_of(self.model, kind, layer): at_place(restore, layer) for layer in layers
            }
        begin = {self.model.residual(0): lambda _: joined(self.start, 0)}
        return Trace(self.model.model, edit_inputs=begin, edit_outputs=edits)

    def _restored(
        self, kind: Kind, items: Sequence[Restored], hidden: Tensor, layer: int
    ) -> Tensor:
        """The rows of the restorations that hold at a layer, with their clean values."""
        draws = self.start.shape[0]
        held = [i for i, item in enumerate(items) if item.first <= layer <= item.last]
        if not held:
            return hidden
        changed = hidden.clone().reshape(-1, len(self.ids), hidden.shape[-1])
        rows = torch.tensor([draws * (1 + i) + n for i in held for n in range(draws)])
        places = torch.tensor([items[i].position for i in held for _ in range(draws)])
        rows, places = rows.to(hidden.device), places.to(hidden.device)
        changed[rows, places] = self.states[kind][layer, places].to(changed)
        return changed.reshape(hidden.shape)

    def _chunks(self, kind: Kind) -> Iterator[list[Restored]]:
        """All restorations in the order in which they join, some thousand tokens at a time."""
        layers = range(self.model.n_layers)
        wide = self.window if kind != "state" else 1
        items = [
            Restored(
                layer,
                position,
                max(0, layer - wide // 2),
                min(len(layers), layer + (wide + 1) // 2) - 1,
            )
            for layer in layers
            for position in range(self.places[0], len(self.ids))
        ]
        size = max(1, _ROW_TOKENS // (len(self.ids) * self.start.shape[0]))
        return (items[start : start + size] for start in range(0, len(items), size))


def at_place(function: Callable[[Tensor, T], Tensor], place: T) -> Callable[[Tensor], Tensor]:
    return lambda hidden: function(hidden, place)
