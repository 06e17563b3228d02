"""Values: the vector that, put at the subject's last token, makes the model say the target.

Promise: the loss is the published one term by term; delta, loss and Adam are float32 whatever the
model's dtype; only layers above the moved module are differentiated; the model is not touched.
Rules: one free vector `delta` is added to the output of one module at the subject's last token of
every row, the essence row included; the first step (delta = 0) supplies the clean output h0 and
the reference distribution; rows are the context templates, the first of which is "{}".

    value = optimise_value(model, request, module=model.projection(5),
                           templates=context.templates, settings=ValueSettings(layer_defaults))
    value.target, value.stop, value.losses      # h0 + delta [d], "loss" or "steps", per step
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editors.batch import Batch
from editors.errors import EditFailed
from editors.keys import flat
from editors.model import EditableModel
from editors.optim import Adam
from editors.prompts import fill, fill_subject, subject_row, target_row
from editors.requests import Fact
from editors.trace import Trace

ESSENCE = "{} is a"


@dataclass(frozen=True)
class ValueSettings:
    """Constants of the optimisation, named as in the published hyper-parameter files."""

    v_num_grad_steps: int
    v_lr: float
    v_weight_decay: float
    clamp_norm_factor: float
    kl_factor: float
    stop_loss: float


@dataclass(frozen=True, eq=False)
class Value:
    """Result: `clean` h0 [d] and `delta` [d], float32; losses before each step; why it ended."""

    clean: Tensor
    delta: Tensor
    losses: tuple[float, ...]
    nll: tuple[float, ...]
    stop: str

    @property
    def target(self) -> Tensor:
        """v* = h0 + delta, the wanted output of the module (its bias included). Shape: [d]."""
        return self.clean + self.delta

    @property
    def ratio(self) -> float:
        """||delta|| / ||h0||."""
        return float(self.delta.norm() / self.clean.norm())


@dataclass(frozen=True, eq=False)
class _Plan:
    """Rows of one request with everything located, as flat positions of the batch.

    `subjects` [rows], one place per row, the essence row last; `scored` [s + 1] places passed to
    the head, the essence place last; `labels` and `weights` [s], weights summing to one.
    """

    batch: Batch
    subjects: Tensor
    scored: Tensor
    labels: Tensor
    weights: Tensor


@dataclass(frozen=True, eq=False)
class _Reference:
    """Taken at delta = 0: clean output h0 [d] of the bare prompt, log-probabilities [V]."""

    clean: Tensor
    essence: Tensor


def optimise_value(
    model: EditableModel,
    request: Fact,
    *,
    module: str,
    templates: Sequence[str],
    settings: ValueSettings,
    progress: Callable[[str, float], None] | None = None,
) -> Value:
    """Minimise mean NLL of the target + KL on the essence row + weight decay, by Adam.

    `module` is the name of the module whose output is moved.
    Raises: EditFailed when the loss is not finite or the target became no more probable.
    Source: ROME (Meng et al. 2022), equation 4, with the constants' use as in kmeng01/rome.
    """
    plan = _plan(model, request, templates)
    adam = Adam(settings.v_lr)
    delta = torch.zeros(model.d_model, dtype=torch.float32, device=model.device)
    reference: _Reference | None = None
    losses: list[float] = []
    nlls: list[float] = []
    stop = "steps"
    for step in range(settings.v_num_grad_steps):
        last = step == settings.v_num_grad_steps - 1
        delta = delta.requires_grad_()
        with torch.enable_grad(), model.evaluating():
            logp, clean = _forward(model, plan, module, delta)
            reference = reference or _Reference(clean, logp[-1].detach())
            nll = -(plan.weights * logp[:-1].gather(1, plan.labels[:, None])[:, 0]).sum()
            loss = nll + _penalty(logp[-1], delta, reference, settings)
        losses.append(_finite(float(loss.detach()), step))
        nlls.append(float(nll.detach()))
        if losses[-1] < settings.stop_loss:
            stop = "loss"
            break
        if not last:
            (gradient,) = torch.autograd.grad(loss, delta)
            delta = _clamped(adam.step(delta.detach(), gradient), reference, settings)
        if progress is not None:
            progress("value", (step + 1) / settings.v_num_grad_steps)
    if reference is None or (stop == "steps" and nlls[-1] >= nlls[0]):
        raise EditFailed(
            f"v* not found: after {len(nlls)} steps the target {request.target_new!r} is no more "
            f"probable than before (NLL {nlls[0]:.3f} -> {nlls[-1]:.3f}); lower v_lr, raise "
            "clamp_norm_factor, or choose another layer"
        )
    return Value(reference.clean, delta.detach(), tuple(losses), tuple(nlls), stop)


def _plan(model: EditableModel, request: Fact, templates: Sequence[str]) -> _Plan:
    rows: list[tuple[int, ...]] = []
    subjects: list[int] = []
    scored: list[tuple[int, int]] = []
    labels: list[int] = []
    weights: list[float] = []
    for i, template in enumerate(templates):
        filled = fill(request, template)
        row = target_row(model, filled.text, request.target_new, subject=filled.subject)
        rows.append(row.ids)
        subjects.append(row.subject if row.subject is not None else 0)
        scored += [(i, position) for position in row.positions]
        labels += row.labels
        weights += [1 / (len(templates) * len(row.labels))] * len(row.labels)
    essence = subject_row(model, fill_subject(request.subject, ESSENCE))
    rows.append(essence)
    subjects.append(len(essence) - 1)
    scored.append((len(rows) - 1, len(essence) - 1))
    batch = model.batch(rows)
    device = model.device
    return _Plan(
        batch,
        torch.tensor([batch.flat(*place) for place in enumerate(subjects)], device=device),
        torch.tensor([batch.flat(*place) for place in scored], device=device),
        torch.tensor(labels, device=device),
        torch.tensor(weights, dtype=torch.float32, device=device),
    )


def _forward(
    model: EditableModel, plan: _Plan, module: str, delta: Tensor
) -> tuple[Tensor, Tensor]:
    """Log-probabilities [s + 1, V] with delta in place, and the clean output [d] of row 0."""

    def moved(output: Tensor) -> Tensor:
        rows = flat(output)
        values = (rows[plan.subjects].float() + delta).to(output.dtype)
        return rows.index_put((plan.subjects,), values).reshape(output.shape)

    with Trace(model.model, outputs=[module], edit_outputs={module: moved}) as trace:
        logits = model.forward(plan.batch, at=plan.scored)
    clean = flat(trace.output(module))[plan.subjects[0]].detach().float()
    return logits.float().log_softmax(dim=-1), clean


def _penalty(
    essence: Tensor, delta: Tensor, reference: _Reference, settings: ValueSettings
) -> Tensor:
    """kl_factor * KL(edited || original) + v_weight_decay * ||delta|| / ||h0||^2."""
    kl = (essence.exp() * (essence - reference.essence)).sum()
    decay = torch.linalg.vector_norm(delta) / reference.clean.square().sum()
    penalty: Tensor = settings.kl_factor * kl + settings.v_weight_decay * decay
    return penalty


def _clamped(delta: Tensor, reference: _Reference, settings: ValueSettings) -> Tensor:
    """Delta scaled back to the ball of radius clamp_norm_factor * ||h0||."""
    radius = settings.clamp_norm_factor * reference.clean.norm()
    norm = delta.norm()
    return delta * (radius / norm) if bool(norm > radius) else delta


def _finite(loss: float, step: int) -> float:
    if not math.isfinite(loss):
        raise EditFailed(
            f"the loss of the value is {loss} at step {step}: load the model in float32 or "
            "lower v_lr"
        )
    return loss
