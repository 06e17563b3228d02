"""Restoring clean states in a corrupted run, many at a time.

Promise: each restoration is what a forward pass of its own would give, up to rounding; the first
continued pass, without a restoration, is compared with the corrupted run itself, and where they
differ every pass is a whole one.
Rules: a restoration is rows of the batch (one a drawing of the noise). What it cannot change is not
computed: tokens before its position are held as keys and values of the corrupted run, and its rows
join above the layers in which they are as corrupted. The head sees last tokens only. Dimensions:
n drawings, t tokens, s those from the position on, d hidden size, L layers.

    run = Run.of(model, ids, places, start, states, answer=42, window=2)
    run.effects("mlp")              # [t, L]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias, TypeVar

import torch
from torch import Tensor

from editors.continuing import CONTINUED, Attention, Capture, Tail, agree
from editors.model import EditableModel
from editors.trace import Edit

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
    """Clean values at `position` in layers `first` to `last`, for the effect at `layer`.

    `enters`: the first layer that is given its rows; below it they are as corrupted.
    """

    layer: int
    position: int
    first: int
    last: int
    enters: int


@dataclass(frozen=True, eq=False)
class Run:
    """One fact: clean states [L, t, d] by kind, the corrupted run [n, t], its answer's chance."""

    capture: Capture
    ids: tuple[int, ...]
    places: tuple[int, ...]
    states: Mapping[Kind, Tensor]
    answer: int
    corrupted: float
    window: int
    continued: bool

    @classmethod
    def of(
        cls,
        capture: Capture,
        ids: tuple[int, ...],
        places: tuple[int, ...],
        states: Mapping[Kind, Tensor],
        *,
        answer: int,
        window: int,
    ) -> Run:
        """`capture`: of the corrupted rows, with the outputs of all layers, the input of the first
        and the logits after the last token."""
        chances = capture.logits.float().softmax(-1)[:, answer].double()
        run = cls(
            capture, ids, places, states, answer, float(chances.mean()), window, continued=True
        )
        return replace(run, continued=run._continues())

    @property
    def model(self) -> EditableModel:
        """The traced model."""
        return self.capture.model

    def effects(self, kind: Kind) -> Tensor:
        """Indirect effects [t, L]. Before the subject nothing is corrupted: they are 0 there."""
        found = torch.zeros(len(self.ids), self.model.n_layers, dtype=torch.float64)
        for chunk in self._chunks(kind):
            chances = self._logits(kind, chunk).float().softmax(-1)[:, self.answer].double()
            means = chances.reshape(len(chunk), -1).mean(dim=1)
            for item, chance in zip(chunk, means.tolist(), strict=True):
                found[item.position, item.layer] = chance - self.corrupted
        return found

    def _continues(self) -> bool:
        """Whether going on from the subject, nothing restored, gives the corrupted run's logits."""
        whole = self.model.architecture.model_type in _WHOLE_BATCH
        if whole or self.capture.forward != CONTINUED:
            return False
        nothing = Restored(layer=0, position=self.places[0], first=0, last=-1, enters=0)
        found = self._logits("mlp", [nothing])
        return agree(found, self.capture.logits, self.model.dtype)

    # --- one pass -------------------------------------------------------------------------------

    def _logits(self, kind: Kind, items: Sequence[Restored]) -> Tensor:
        """Logits [items * n, V] after the last token; items are of one position if continued."""
        begin = items[0].position if self.continued else 0
        start = min(item.enters for item in items)
        length, draws = len(self.ids) - begin, self.capture.tokens.ids.shape[0]
        rows = draws * len(items)
        last = torch.arange(1, rows + 1, device=self.model.device) * length - 1
        first = self._entering(kind, items, start, begin)
        logits, _ = self._tail(begin, start, 1 if self.continued else rows, first).logits(
            last,
            edit_inputs={} if start else {self.model.residual(0): lambda _: first},
            edit_outputs=self._edits(kind, items, start, begin),
        )
        return logits

    def _tail(self, begin: int, start: int, rows: int, first: Tensor) -> Tail:
        """The tokens from a position on in the layers from `start` on."""
        ids = self.capture.tokens.ids[:1, begin:].expand(rows, -1)
        positions = torch.arange(begin, len(self.ids), device=ids.device)[None].expand(rows, -1)
        skip = {}
        if start:
            state = self.capture.trace.formed(self.model.residual(start - 1), first)
            skip = {self.model.residual(layer): state for layer in range(start)}
        return Tail(
            model=self.model,
            ids=ids,
            mask=torch.ones(rows, len(self.ids), dtype=torch.long, device=ids.device),
            positions=positions,
            skip=skip,
            attention=self._before(begin, start) if begin or start else (),
        )

    def _before(self, begin: int, start: int) -> tuple[Attention, ...]:
        """Keys and values [n, heads, begin, width]; of layers that are skipped their length."""

        def held(layer: int, states: Tensor) -> Tensor:
            if layer < start:
                return states.new_empty(1, 1, begin, 1)
            return states[:, :, :begin]

        attention = self.capture.attention
        return tuple((held(n, keys), held(n, values)) for n, (keys, values) in enumerate(attention))

    def _entering(self, kind: Kind, items: Sequence[Restored], layer: int, begin: int) -> Tensor:
        """What a layer is given for the items that enter there, [rows, s, d]."""
        trace, model = self.capture.trace, self.model
        entering = [item for item in items if item.enters == layer]
        below = trace.output(model.residual(layer - 1)) if layer else trace.input(model.residual(0))
        rows = below.reshape(-1, len(self.ids), below.shape[-1])[:, begin:]
        parts = []
        for item in entering:
            part = rows
            if kind == "state" and self.continued:
                part = rows.clone()
                part[:, item.position - begin] = self.states[kind][item.layer, item.position].to(
                    part
                )
            parts.append(part)
        return torch.cat(parts)

    def _edits(
        self, kind: Kind, items: Sequence[Restored], start: int, begin: int
    ) -> dict[str, Edit]:
        """Clean values where they hold, and rows that join above a layer."""

        def restore(hidden: Tensor, layer: int) -> Tensor:
            return self._restored(kind, items, hidden, layer, begin)

        def grow(hidden: Tensor, layer: int) -> Tensor:
            joined = [hidden]
            if any(item.enters == layer + 1 for item in items):
                joined.append(self._entering(kind, items, layer + 1, begin).to(hidden))
            return torch.cat(joined)

        layers = range(start, self.model.n_layers)
        edits: dict[str, Edit] = {}
        if kind != "state" or not self.continued:
            edits |= {module_of(self.model, kind, n): at_place(restore, n) for n in layers}
        if self.continued:
            edits |= {self.model.residual(layer): at_place(grow, layer) for layer in layers}
        return edits

    def _restored(
        self, kind: Kind, items: Sequence[Restored], hidden: Tensor, layer: int, begin: int
    ) -> Tensor:
        """The rows of the restorations that hold at a layer, with their clean values."""
        draws = self.capture.tokens.ids.shape[0]
        held = [i for i, item in enumerate(items) if item.first <= layer <= item.last]
        if not held:
            return hidden
        changed = hidden.clone().reshape(-1, len(self.ids) - begin, hidden.shape[-1])
        rows = torch.tensor([draws * i + n for i in held for n in range(draws)])
        places = torch.tensor([items[i].position for i in held for _ in range(draws)])
        rows, places = rows.to(hidden.device), places.to(hidden.device)
        changed[rows, places - begin] = self.states[kind][layer, places].to(changed)
        return changed.reshape(hidden.shape)

    # --- which restorations share a pass --------------------------------------------------------

    def _chunks(self, kind: Kind) -> Iterator[list[Restored]]:
        """All restorations in the order in which they join, those of one position together, some
        thousand tokens at a time."""
        items = [item for place in range(self.places[0], len(self.ids))
                 for item in self._at(kind, place)]  # fmt: skip
        groups = [items]
        if self.continued:
            groups = [[i for i in items if i.position == p] for p in range(len(self.ids))]
        draws = self.capture.tokens.ids.shape[0]
        for group in groups:
            width = len(self.ids) - (group[0].position if group and self.continued else 0)
            size = max(1, _ROW_TOKENS // (width * draws))
            yield from (group[start : start + size] for start in range(0, len(group), size))

    def _at(self, kind: Kind, position: int) -> Iterator[Restored]:
        """The restorations at a position; the state above all layers is read after the last token
        only."""
        depth = self.model.n_layers
        wide = self.window if kind != "state" else 1
        for layer in range(depth):
            first = max(0, layer - wide // 2)
            last = min(depth, layer + (wide + 1) // 2) - 1
            enters = (layer + 1 if kind == "state" else first) if self.continued else 0
            if enters < depth or position == len(self.ids) - 1:
                yield Restored(layer, position, first, last, enters)


def at_place(function: Callable[[Tensor, T], Tensor], place: T) -> Callable[[Tensor], Tensor]:
    return lambda hidden: function(hidden, place)
