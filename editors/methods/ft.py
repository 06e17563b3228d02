"""Fine-tuning of one MLP output matrix: `ft`, `ft-l` (every weight within eps) and `ft-m`.

Promise: Adam runs on a float32 difference D beside the model, whose own matrix is never written;
the result is `Dense(D)`. For `ft-l`, |D| <= eps holds for every entry after every step.
Rules: `ft-m` is FT-M of EasyEdit and has one loss, "target_new": the cross-entropy of all target
tokens with the prompt masked. `ft` and `ft-l` take it unless told otherwise; `loss="prompt_last"`,
which scores every target token at the last prompt token, makes them FT and FT-L of kmeng01/rome: it
cannot teach an answer of several tokens in order and is kept for comparison. The loss is in the
evidence.

    delta = FineTuning()(model, requests, FtHparams(layer=21, ...), context=context)
    delta.evidence["loss_kind"]         # "target_new"
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

import torch
from torch import Tensor

from editors.base import EditContext, Editor, Hparams, Job
from editors.batch import Batch
from editors.delta import Delta, Dense, update_ratio
from editors.errors import EditFailed, InvalidRequest
from editors.model import EditableModel
from editors.optim import Adam
from editors.prompts import target_row
from editors.requests import EditRequest

Loss: TypeAlias = Literal["target_new", "prompt_last"]


@dataclass(frozen=True)
class FtMHparams(Hparams):
    """Hyper-parameters of `ft-m`; `max_update_ratio` bounds ||ΔW||/||W|| of one fact."""

    layer: int
    lr: float
    steps: int
    stop_loss: float = 1e-2
    max_update_ratio: float = 1.0

    def validate(self) -> None:
        """Ranges; a layer beyond the model is noticed when the model is known."""
        self.require(1 <= self.steps <= 10_000, "steps is 1 to 10000")
        self.positive("lr")
        self.not_negative("stop_loss")
        self.positive("max_update_ratio")

    @property
    def bound(self) -> float:
        """Largest change of a single weight."""
        return math.inf

    @property
    def objective(self) -> Loss:
        """What is minimised."""
        return "target_new"


@dataclass(frozen=True)
class FtHparams(FtMHparams):
    """Hyper-parameters of `ft`: those of `ft-m` and the choice of the loss."""

    loss: Loss = "target_new"

    @property
    def objective(self) -> Loss:
        """What is minimised."""
        return self.loss


@dataclass(frozen=True)
class FtLHparams(FtHparams):
    """Hyper-parameters of `ft-l`: those of `ft` and the bound eps."""

    eps: float = 5e-4

    def validate(self) -> None:
        """Ranges."""
        super().validate()
        self.positive("eps")

    @property
    def bound(self) -> float:
        """Largest change of a single weight."""
        return self.eps


F = TypeVar("F", bound=FtMHparams)


@dataclass(frozen=True, eq=False)
class _Rows:
    """All requests as one batch: flat `places` [s], `labels` [s], `weights` [s] summing to one."""

    batch: Batch
    places: Tensor
    labels: Tensor
    weights: Tensor


class _Trainer(Editor[F]):
    """What the editors share."""

    def edit(self, job: Job[F]) -> Delta:
        """One dense delta for all requests."""
        model, hparams = job.model, job.hparams
        if not job.requests:
            raise InvalidRequest(f"{job.method} was given no request: give at least one")
        parameter = model.parameter_name(hparams.layer)
        rows = _rows(model, job.requests, hparams.objective)
        change, losses = _train(model, parameter, rows, hparams, job.context)
        dense = Dense(change.cpu().contiguous())
        weight, limit = model.weight(parameter), hparams.max_update_ratio
        ratio = update_ratio(dense, weight, limit, len(job.requests))
        return Delta(
            parameters={parameter: dense},
            evidence={
                "loss": list(losses),
                "loss_kind": hparams.objective,
                "stop": "loss" if losses[-1] < hparams.stop_loss else "steps",
                "update_ratio": ratio,
            },
        )


class FineTuning(_Trainer[FtHparams]):
    """FT: one matrix, without bound, by the loss of your choice."""

    name: str = "ft"
    paper: str = "FT: Meng et al. 2022, section 3.2 (its loss is prompt_last), 2202.05262"
    hparams: type[FtHparams] = FtHparams


class FineTuningMasked(_Trainer[FtMHparams]):
    """FT-M: cross-entropy on all target tokens, without bound."""

    name: str = "ft-m"
    paper: str = "FT-M: Zhang et al. 2024, A Comprehensive Study of Knowledge Editing, 2401.01286"
    hparams: type[FtMHparams] = FtMHparams


class FineTuningLimited(_Trainer[FtLHparams]):
    """FT-L: as `ft`, with every weight within eps of its start."""

    name: str = "ft-l"
    paper: str = "FT-L: Zhu et al. 2020, Modifying Memories in Transformer Models, 2012.00363"
    hparams: type[FtLHparams] = FtLHparams


def _rows(model: EditableModel, requests: Sequence[EditRequest], loss: Loss) -> _Rows:
    rows = [target_row(model, r.text, r.target_new) for r in requests]
    batch = model.batch([row.ids for row in rows])
    places: list[int] = []
    labels: list[int] = []
    weights: list[float] = []
    for i, row in enumerate(rows):
        for position in row.positions:
            place = position if loss == "target_new" else row.first - 1
            places.append(batch.flat(i, place))
        labels += row.labels
        weights += [1 / (len(rows) * len(row.labels))] * len(row.labels)
    device = model.device
    return _Rows(
        batch,
        torch.tensor(places, device=device),
        torch.tensor(labels, device=device),
        torch.tensor(weights, dtype=torch.float32, device=device),
    )


def _train(
    model: EditableModel, parameter: str, rows: _Rows, hparams: FtMHparams, context: EditContext
) -> tuple[Tensor, list[float]]:
    """The trained difference [d_out, d_in] float32, and the loss before each step and at the end.

    Raises: EditFailed when a loss is not finite or the last is not below the first.
    """
    weight = model.weight(parameter)
    change = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device)
    adam = Adam(hparams.lr)
    losses: list[float] = []
    for step in range(hparams.steps + 1):
        change = change.requires_grad_()
        loss = _loss(model, parameter, rows, weight, change)
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            raise EditFailed(f"the loss is {losses[-1]} at step {step}: lower lr or use float32")
        if losses[-1] < hparams.stop_loss or step == hparams.steps:
            break
        (gradient,) = torch.autograd.grad(loss, change)
        change = adam.step(change.detach(), gradient).clamp_(-hparams.bound, hparams.bound)
        if context.progress is not None:
            context.progress("train", (step + 1) / hparams.steps)
    if losses[-1] >= max(losses[0], hparams.stop_loss):
        raise EditFailed(
            f"fine-tuning did not lower the loss ({losses[0]:.3f} -> {losses[-1]:.3f}): "
            "lower lr, give more steps, or choose another layer"
        )
    return change.detach(), losses


def _loss(
    model: EditableModel, parameter: str, rows: _Rows, weight: Tensor, change: Tensor
) -> Tensor:
    """Mean over requests of the mean over target tokens of -log p(token)."""
    with torch.enable_grad(), model.evaluating():
        moved = (weight.float() + change).to(weight.dtype)
        logits = model.forward(rows.batch, at=rows.places, weights={parameter: moved})
        logp = logits.float().log_softmax(dim=-1)
        return -(rows.weights * logp.gather(1, rows.labels[:, None])[:, 0]).sum()
