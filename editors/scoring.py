"""Scores of a value search: one whole pass, then only what the deltas can change.

Promise: what comes out is what whole passes give, up to rounding: the first scores, at delta = 0,
are compared with those of the whole pass, and where they differ every pass is a whole one and
`forward` says so.
Rules: a delta is added at the subject's last token, so positions before it, layers below the moved
module, and the attention and the MLP that it ends stay; the head is applied where something is
scored. One capture serves searches at several places. Dimensions: b wishes, q moved modules, d
hidden size.

    capture = captured(model, [rows, others], [[model.projection(5)]])
    scorer = Scorer(capture, [rows, others], [model.projection(5)])
    scores = scorer([0, 1], deltas)         # one Scores per chosen wish, with gradients
    scorer.keys(0)                          # inputs of the projection at the subject
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editors.continuing import CONTINUED, DIFFERENT, Capture, Tail, agree
from editors.keys import flat
from editors.model import EditableModel
from editors.rows import RowBatch, WishRows, stack


@dataclass(frozen=True, eq=False)
class Scores:
    """Of one wish: NLL, log-probabilities [c, V] of kept rows, clean outputs [q, d] of its first
    row, and whether every target token is the argmax."""

    nll: Tensor
    kept: Tensor
    clean: Tensor
    match: bool


def captured(
    model: EditableModel, wishes: Sequence[WishRows], places: Iterable[Sequence[str]]
) -> Capture:
    """The rows of several wishes in one pass, for searches that move the modules of each place."""
    found = [_place(model, modules) for modules in places]
    keyed = [start for start, known in found if known]
    return Capture.of(
        model,
        [ids for wish in wishes for ids in wish.ids],
        starts=[start for start, _ in found],
        at=stack(wishes, range(len(wishes)), whole=True, device=model.device).scored,
        inputs=[model.projection(layer) for layer in keyed],
        outputs=[name for layer in keyed for name in _parts(model, layer)],
    )


class Scorer:
    """The rows of several wishes, captured for these modules. `forward` says how later passes are
    run."""

    def __init__(
        self, capture: Capture, wishes: Sequence[WishRows], modules: Sequence[str]
    ) -> None:
        self._capture, self._wishes, self._modules = capture, wishes, modules
        self._model = capture.model
        self._everyone = tuple(range(len(wishes)))
        self._start, self._keyed = _place(self._model, modules)
        self._rows = stack(wishes, self._everyone, whole=True, device=self._model.device)
        self.forward = capture.forward
        self._batch, self._tail = self._prepared(self._everyone)
        self._chosen, self._compared = self._everyone, self.forward != CONTINUED

    def __call__(self, chosen: Sequence[int], deltas: Tensor) -> list[Scores]:
        """Scores of the chosen wishes with their deltas in place. Shapes: deltas [b, q, d].

        The first call is for all wishes, with deltas of zero.
        """
        if tuple(chosen) != self._chosen:
            self._chosen = tuple(chosen)
            self._batch, self._tail = self._prepared(chosen)
        logits, clean = self._forward(deltas)
        if not self._compared:
            self._compared = True
            if not agree(logits.detach(), self._capture.logits, self._model.dtype):
                self.forward = DIFFERENT
                self._batch, self._tail = self._prepared(chosen)
                logits, clean = self._forward(deltas)
        return self._read(logits, clean)

    def keys(self, wish: int) -> Tensor | None:
        """Inputs of the first module at the subject, for every fact and template of a wish.

        Shapes: [facts * p, m] float32, or None where the module is no output projection.
        """
        if not self._keyed:
            return None
        inputs = flat(self._capture.trace.input(self._modules[0]))
        places = self._rows.subjects[self._rows.owners == wish]
        facts = len(places) - len(self._wishes[wish].kept)
        return inputs[places[:facts]].float()

    def _prepared(self, chosen: Sequence[int]) -> tuple[RowBatch, Tail]:
        whole = self.forward != CONTINUED
        batch = stack(self._wishes, chosen, whole=whole, device=self._model.device)
        still = () if whole or not self._keyed else self._still()
        # What the projection returns, its MLP returns, which is not run.
        self._moved = [*still[1:2], *self._modules[len(still[1:2]) :]]
        start = 0 if whole else self._start
        return batch, self._capture.tail(batch.cuts, start=start, still=still)

    def _still(self) -> tuple[str, ...]:
        """Of the layer where tails begin, the modules that no delta changes: the attention, and the
        MLP, if its output is the projection's and the attention's is not moved."""
        attention, mlp, projection = _parts(self._model, self._start)
        one, other = map(self._capture.trace.output, (mlp, projection))
        alone = attention not in self._modules and torch.equal(flat(one), flat(other))
        return (attention, mlp) if alone else (attention,)

    def _forward(self, deltas: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [s, V] with the deltas added, and the modules' outputs before [q, b, d]."""
        batch = self._batch

        def mover(module: int) -> Callable[[Tensor], Tensor]:
            def moved(output: Tensor) -> Tensor:
                rows = flat(output)
                values = rows[batch.subjects].float() + deltas[batch.owners, module]
                changed = rows.index_put((batch.subjects,), values.to(output.dtype))
                return changed.reshape(output.shape)

            return moved

        edits = {name: mover(i) for i, name in enumerate(self._moved)}
        logits, trace = self._tail.logits(batch.scored, outputs=self._moved, edit_outputs=edits)
        firsts = [flat(trace.output(name))[batch.firsts] for name in self._moved]
        return logits, torch.stack(firsts).detach().float()

    def _read(self, logits: Tensor, clean: Tensor) -> list[Scores]:
        logp = logits.float().log_softmax(dim=-1)
        found = []
        for i, (labels, weights, scored, kept) in enumerate(self._batch.parts):
            nll = -(weights * logp[scored].gather(1, labels[:, None])[:, 0]).sum()
            match = bool((logp[scored].argmax(dim=-1) == labels).all())
            found.append(Scores(nll, logp[kept], clean[:, i], match))
        return found


def _place(model: EditableModel, modules: Sequence[str]) -> tuple[int, bool]:
    """The layer from which the modules' outputs matter (one above where they are a layer's own),
    and whether the first of them is an output projection."""
    starts = []
    for layer in range(model.n_layers):
        residual = model.residual(layer)
        starts += [layer + 1 for name in modules if name == residual]
        starts += [layer for name in modules if name.startswith(residual + ".")]
    start = min(starts, default=0) if len(starts) == len(modules) else 0
    keyed = start < model.n_layers and modules[0] == model.projection(start)
    return start, keyed


def _parts(model: EditableModel, layer: int) -> tuple[str, str, str]:
    """The layer's attention, its MLP, and the MLP's projection."""
    mlp = model.architecture.mlp_template.format(layer)
    return model.attention_output(layer), mlp, model.projection(layer)
