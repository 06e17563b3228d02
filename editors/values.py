"""Values: the vector that, put at the subject's last token, makes the model say the target.

Promise: the loss is the published one term by term; delta, loss and Adam are float32 whatever the
model's dtype; the model is not touched; only what a delta can change is computed more than once
(editors/scoring.py), and `forward` says whether the model allowed that.
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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from editors.base import Hparams
from editors.continuing import Capture
from editors.delta import JSON
from editors.errors import EditFailed
from editors.model import EditableModel
from editors.optim import Adam
from editors.rows import Wish, WishRows, wish_rows
from editors.scoring import Scorer, Scores, captured

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
    step; why it ended. `keys` [facts * p, m]: inputs of the first module at the subject in every
    template, None where it is no output projection; `forward`: how the passes were run."""

    clean: Tensor
    deltas: Tensor
    losses: tuple[float, ...]
    nll: tuple[float, ...]
    stop: str
    keys: Tensor | None
    forward: str

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
            "forward": self.forward,
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
    capture: Capture | None = None,
) -> Value:
    """As `optimise_values`, for one wish; `capture`: what `capture_places` found for it."""
    rows = wish_rows(model, wish, templates)
    capture = captured(model, [rows], [modules]) if capture is None else capture
    (value,) = _optimise(capture, [rows], modules, settings, progress)
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
    rows = [wish_rows(model, wish, templates) for wish in wishes]
    found: dict[int, Value] = {}
    for group in _groups(rows):
        part = [rows[i] for i in group]
        so_far = _share(progress, len(found), len(group), len(wishes))
        capture = captured(model, part, [modules])
        found |= zip(group, _optimise(capture, part, modules, settings, so_far), strict=True)
    return tuple(found[i] for i in range(len(wishes)))


def capture_places(
    model: EditableModel, wish: Wish, templates: Sequence[str], places: Iterable[Sequence[str]]
) -> Capture:
    """One pass over a wish's rows that serves searches which move the modules of each place."""
    return captured(model, [wish_rows(model, wish, templates)], places)


def _share(progress: Progress | None, done: int, part: int, of: int) -> Progress | None:
    """Progress of a part, as progress of the whole."""
    if progress is None:
        return None
    return lambda phase, share: progress(phase, (done + share * part) / of)


def _optimise(
    capture: Capture,
    group: Sequence[WishRows],
    modules: Sequence[str],
    settings: ValueHparams,
    progress: Progress | None,
) -> list[Value]:
    """The values of wishes whose rows were captured together."""
    searches = [_Search.begin(capture.model, rows, len(modules), settings) for rows in group]
    scorer = Scorer(capture, group, modules)
    for step in range(settings.v_num_grad_steps):
        if all(search.stop for search in searches):
            break
        _advance(scorer, searches, last=step == settings.v_num_grad_steps - 1)
        if progress is not None:
            loss = sum(search.losses[-1] for search in searches) / len(searches)
            progress(f"value, loss {loss:.3f}", (step + 1) / settings.v_num_grad_steps)
    return [search.value(scorer, i) for i, search in enumerate(searches)]


def _groups(rows: Sequence[WishRows]) -> list[list[int]]:
    """Wishes whose rows go through the model together: those with tails of like length."""
    groups: list[list[int]] = []
    held = 0
    for i in sorted(range(len(rows)), key=lambda i: rows[i].tail):
        held += len(rows[i].ids)
        if not groups or held > _ROWS:
            groups.append([])
            held = len(rows[i].ids)
        groups[-1].append(i)
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

    def loss(self, deltas: Tensor, scores: Scores) -> Tensor:
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

    def value(self, scorer: Scorer, wish: int) -> Value:
        """Raises: EditFailed when the target is no more probable than before."""
        if self.clean is None or (self.stop == "steps" and self.nlls[-1] >= self.nlls[0]):
            raise EditFailed(
                f"v* not found: after {len(self.nlls)} steps the target {self.rows.target!r} is "
                f"no more probable than before (NLL {self.nlls[0]:.3f} -> {self.nlls[-1]:.3f}); "
                "lower v_lr, raise clamp_norm_factor, or choose another layer"
            )
        return Value(
            clean=self.clean,
            deltas=self.deltas,
            losses=tuple(self.losses),
            nll=tuple(self.nlls),
            stop=self.stop,
            keys=scorer.keys(wish),
            forward=scorer.forward,
        )

    def _finite(self, loss: float) -> float:
        if not math.isfinite(loss):
            raise EditFailed(
                f"the loss of the value is {loss} at step {len(self.losses)}: load the model in "
                "float32 or lower v_lr"
            )
        return loss


def _advance(scorer: Scorer, searches: Sequence[_Search], *, last: bool) -> None:
    """One forward of all searches and, unless it is the last, a step of those that go on."""
    active = [i for i, search in enumerate(searches) if not search.stop]
    deltas = torch.stack([searches[i].deltas for i in active]).requires_grad_()  # [b, q, d]
    with torch.enable_grad():
        scores = scorer(active, deltas)
        losses = torch.stack([searches[i].loss(deltas[n], scores[n]) for n, i in enumerate(active)])
    if last:
        for i in active:
            searches[i].stop = searches[i].stop or "steps"
    going = [(n, searches[i]) for n, i in enumerate(active) if not searches[i].stop]
    if going:
        # Each loss depends on its own deltas only, so their sum has the same gradients.
        (gradient,) = torch.autograd.grad(losses, deltas, torch.ones_like(losses))
        for n, search in going:
            search.move(deltas[n].detach(), gradient[n])
