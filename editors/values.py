"""Values: the vector that, put at the subject's last token, makes the model say the target.

Promise: the loss is the published one term by term; delta, loss and Adam are float32 whatever the
model's dtype; only layers above the moved modules are differentiated; the model is not touched.
Rules: one free vector per moved module is added to its output at the subject's last token of every
row, the kept rows included; the first step (delta = 0) supplies the clean outputs h0 and the
reference distributions; rows are the context templates, the first of which is "{}". Several wishes
share forward passes and nothing else: each has its own delta, loss, Adam and end.

    wishes = [Wish((request,)) for request in requests]
    values = optimise_values(model, wishes, modules=[model.residual(5)],
                             templates=context.templates, settings=hparams)
    values[0].target, values[0].stop       # h0 + delta [d], "loss", "match" or "steps"
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from editors.base import Hparams
from editors.delta import JSON
from editors.errors import EditFailed
from editors.keys import flat
from editors.model import EditableModel
from editors.optim import Adam
from editors.rows import RowBatch, Wish, WishRows, stack, wish_rows
from editors.trace import Trace

_ROWS = 128
_MATCH_KL = 0.01

Progress = Callable[[str, float], None]


@dataclass(frozen=True, kw_only=True)
class ValueHparams(Hparams):
    """Constants of the optimisation, named as in the published hyper-parameter files.

    `argmax_factor` (PMET): the NLL is multiplied by it after a step at which every target token was
    the argmax, and then the search also ends once the KL term is at most 0.01; 1 switches both off.
    """

    v_num_grad_steps: int
    v_lr: float
    v_weight_decay: float
    clamp_norm_factor: float
    kl_factor: float
    stop_loss: float = 0.05
    argmax_factor: float = 1.0
    max_update_ratio: float = 1.0

    def validate(self) -> None:
        """Ranges; a layer beyond the model is noticed when the model is known."""
        self.require(2 <= self.v_num_grad_steps <= 10_000, "v_num_grad_steps is 2 to 10000")
        self.positive("v_lr", "clamp_norm_factor", "max_update_ratio", "argmax_factor")
        self.not_negative("v_weight_decay", "kl_factor", "stop_loss")


@dataclass(frozen=True, eq=False)
class Value:
    """Result: `clean` h0 [q, d] and `deltas` [q, d] per moved module, float32; losses before each
    step; why it ended."""

    clean: Tensor
    deltas: Tensor
    losses: tuple[float, ...]
    nll: tuple[float, ...]
    stop: str

    @property
    def delta(self) -> Tensor:
        """What is added to the first module's output. Shape: [d]."""
        return self.deltas[0]

    @property
    def target(self) -> Tensor:
        """v* = h0 + delta, the wanted output of the first module, its bias included. Shape: [d]."""
        return self.clean[0] + self.deltas[0]

    @property
    def ratio(self) -> float:
        """||delta|| / ||h0|| of the first module."""
        return float(self.deltas[0].norm() / self.clean[0].norm())

    def evidence(self) -> dict[str, JSON]:
        """What to record about the search."""
        return {
            "loss": list(self.losses),
            "nll": list(self.nll),
            "stop": self.stop,
            "value_ratio": self.ratio,
        }


def optimise_value(
    model: EditableModel,
    wish: Wish,
    *,
    modules: Sequence[str],
    templates: Sequence[str],
    settings: ValueHparams,
    progress: Progress | None = None,
) -> Value:
    """As `optimise_values`, for one wish."""
    (value,) = optimise_values(
        model,
        [wish],
        modules=modules,
        templates=templates,
        settings=settings,
        progress=progress,
    )
    return value


def optimise_values(
    model: EditableModel,
    wishes: Sequence[Wish],
    *,
    modules: Sequence[str],
    templates: Sequence[str],
    settings: ValueHparams,
    progress: Progress | None = None,
) -> tuple[Value, ...]:
    """Minimise, per wish, mean NLL of the targets + KL on kept rows + weight decay, by Adam.

    `modules` are the names of the modules whose outputs are moved, the one to be written first.
    Raises: EditFailed when a loss is not finite or a target became no more probable.
    Source: ROME (Meng et al. 2022), equation 4, with the constants' use as in kmeng01/rome; PMET
    (Li et al. 2024) for two modules; thesis 3.2.1.2 for further kept rows.
    """
    found: list[Value] = []
    for group in _groups([wish_rows(model, wish, templates) for wish in wishes]):
        searches = [_Search.begin(model, rows, len(modules), settings) for rows in group]
        for step in range(settings.v_num_grad_steps):
            active = [search for search in searches if not search.stop]
            if not active:
                break
            _advance(model, active, modules, settings, last=step == settings.v_num_grad_steps - 1)
            if progress is not None:
                done = (step + 1) / settings.v_num_grad_steps
                progress("value", (len(found) + done * len(group)) / len(wishes))
        found += [search.value() for search in searches]
    return tuple(found)


def _groups(rows: Sequence[WishRows]) -> list[list[WishRows]]:
    """Wishes whose rows go through the model together."""
    groups: list[list[WishRows]] = []
    for item in rows:
        if groups and sum(len(r.ids) for r in groups[-1]) + len(item.ids) <= _ROWS:
            groups[-1].append(item)
        else:
            groups.append([item])
    return groups


@dataclass(eq=False)
class _Search:
    """The state of one wish: its deltas [q, d], Adam, and what was seen at delta = 0."""

    rows: WishRows
    settings: ValueHparams
    deltas: Tensor
    adam: Adam
    clean: Tensor | None = None  # [q, d]
    reference: Tensor | None = None  # [c, V]
    factor: float = 1.0
    losses: list[float] = field(default_factory=list)
    nlls: list[float] = field(default_factory=list)
    stop: str = ""

    @classmethod
    def begin(
        cls, model: EditableModel, rows: WishRows, modules: int, settings: ValueHparams
    ) -> _Search:
        zero = torch.zeros(modules, model.d_model, dtype=torch.float32, device=model.device)
        return cls(rows, settings, zero, Adam(settings.v_lr))

    def loss(self, deltas: Tensor, scores: _Scores) -> Tensor:
        """The loss at these deltas; ends the search where the published rules say so."""
        if self.clean is None or self.reference is None:
            self.clean, self.reference = scores.clean, scores.kept.detach()
        settings = self.settings
        kl = settings.kl_factor * (scores.kept.exp() * (scores.kept - self.reference)).sum()
        norms = torch.linalg.vector_norm(deltas, dim=1) / self.clean.square().sum(dim=1)
        loss: Tensor = self.factor * scores.nll + kl + settings.v_weight_decay * norms.sum()
        self.losses.append(self._finite(float(loss.detach())))
        self.nlls.append(float(scores.nll.detach()))
        if self.losses[-1] < settings.stop_loss:
            self.stop = "loss"
        elif settings.argmax_factor < 1 and scores.match and float(kl.detach()) <= _MATCH_KL:
            self.stop = "match"
        self.factor = settings.argmax_factor if scores.match else 1.0
        return loss

    def move(self, deltas: Tensor, gradient: Tensor) -> None:
        """One step of Adam, then back into the ball of radius clamp_norm_factor * ||h0||."""
        stepped = self.adam.step(deltas, gradient)
        if self.clean is not None:
            radius = self.settings.clamp_norm_factor * self.clean.norm(dim=1, keepdim=True)
            norm = stepped.norm(dim=1, keepdim=True)
            stepped = torch.where(norm > radius, stepped * (radius / norm), stepped)
        self.deltas = stepped

    def value(self) -> Value:
        """Raises: EditFailed when the target is no more probable than before."""
        if self.clean is None or (self.stop == "steps" and self.nlls[-1] >= self.nlls[0]):
            raise EditFailed(
                f"v* not found: after {len(self.nlls)} steps the target {self.rows.target!r} is "
                f"no more probable than before (NLL {self.nlls[0]:.3f} -> {self.nlls[-1]:.3f}); "
                "lower v_lr, raise clamp_norm_factor, or choose another layer"
            )
        return Value(self.clean, self.deltas, tuple(self.losses), tuple(self.nlls), self.stop)

    def _finite(self, loss: float) -> float:
        if not math.isfinite(loss):
            raise EditFailed(
                f"the loss of the value is {loss} at step {len(self.losses)}: load the model in "
                "float32 or lower v_lr"
            )
        return loss


@dataclass(frozen=True, eq=False)
class _Scores:
    """Of one wish: NLL, log-probabilities [c, V] of kept rows, clean outputs [q, d] of its first
    row, and whether every target token is the argmax."""

    nll: Tensor
    kept: Tensor
    clean: Tensor
    match: bool


def _advance(
    model: EditableModel,
    searches: Sequence[_Search],
    modules: Sequence[str],
    settings: ValueHparams,
    *,
    last: bool,
) -> None:
    """One forward of all searches and, unless it is the last, a step of those that go on."""
    batch = stack(model, [search.rows for search in searches])
    deltas = torch.stack([search.deltas for search in searches]).requires_grad_()  # [b, q, d]
    with torch.enable_grad(), model.evaluating():
        scores = _forward(model, batch, modules, deltas)
        losses = torch.stack([s.loss(deltas[i], scores[i]) for i, s in enumerate(searches)])
    if last:
        for search in searches:
            search.stop = search.stop or "steps"
    going = [i for i, search in enumerate(searches) if not search.stop]
    if going:
        # Each loss depends on its own deltas only, so their sum has the same gradients.
        (gradient,) = torch.autograd.grad(losses, deltas, torch.ones_like(losses))
        for i in going:
            searches[i].move(deltas[i].detach(), gradient[i])


def _forward(
    model: EditableModel, batch: RowBatch, modules: Sequence[str], deltas: Tensor
) -> list[_Scores]:
    """One pass with the deltas in place. Shapes: deltas [b, q, d]."""

    def mover(module: int) -> Callable[[Tensor], Tensor]:
        def moved(output: Tensor) -> Tensor:
            rows = flat(output)
            values = rows[batch.subjects].float() + deltas[batch.owners, module]
            return rows.index_put((batch.subjects,), values.to(output.dtype)).reshape(output.shape)

        return moved

    edits = {name: mover(i) for i, name in enumerate(modules)}
    with Trace(model.model, outputs=modules, edit_outputs=edits) as trace:
        logits = model.forward(batch.tokens, at=batch.scored)
    firsts = [flat(trace.output(name))[batch.firsts] for name in modules]
    clean = torch.stack(firsts).detach().float()  # [q, b, d]
    logp = logits.float().log_softmax(dim=-1)
    found = []
    for i, (labels, weights, scored, kept) in enumerate(batch.parts):
        nll = -(weights * logp[scored].gather(1, labels[:, None])[:, 0]).sum()
        match = bool((logp[scored].argmax(dim=-1) == labels).all())
        found.append(_Scores(nll, logp[kept], clean[:, i], match))
    return found
