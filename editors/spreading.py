"""Writing many facts into several layers: the loop shared by MEMIT, EMMET, PMET and AlphaEdit.

Promise: one call gives one low-rank change per layer, whose column j belongs to request j; lower
layers are seen as edited while upper ones are computed, and the model itself is never written to.
Rules: values are found once, at the last layer; per layer, ascending, keys are averaged by type of
context, the residual that is still missing at the last layer is divided by a share of the layers
left, and the method's own solve turns keys into columns. Requests about one subject would give one
key several values, so they get one value that says them all (MEMIT-Merge); the evidence names them.
The stored values are W K + R, what the method aims at: exact for methods that solve constraints,
in the sense of least squares for the others.

    class Memit(Spreading[MemitHparams]):
        def columns(self, job, layer, keys):
            return push_through(moment_prior(...), keys, ridge=1.0)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor

from editors.base import EditContext, Editor, Job
from editors.climbing import Climb
from editors.delta import JSON, MAX_RANK, Delta, LowRank, update_ratio
from editors.errors import InvalidRequest
from editors.keys import context_mean
from editors.model import EditableModel
from editors.rows import Wish
from editors.solves import Solved, times
from editors.values import Value, ValueHparams, optimise_values


@dataclass(frozen=True, kw_only=True)
class SpreadHparams(ValueHparams):
    """What every method of the family has. `contexts` is the number of context templates used
    beside the bare prompt, the last of those given (all where there are fewer)."""

    layers: tuple[int, ...]
    contexts: int = 5
    same_subject: Literal["merge", "separate"] = "merge"

    def validate(self) -> None:
        """Ranges; a layer beyond the model is noticed when the model is known."""
        super().validate()
        ascending = sorted(set(self.layers))
        self.require(bool(self.layers), "layers must name at least one layer")
        self.require(list(self.layers) == ascending, "layers must ascend, each once")
        self.not_negative("contexts")


H = TypeVar("H", bound=SpreadHparams)


@dataclass(frozen=True, eq=False)
class _Layer:
    """What one layer got: change, keys [m, n], values [d, n], and the JSON about it."""

    change: LowRank
    keys: Tensor
    values: Tensor
    evidence: dict[str, JSON]


class Spreading(Editor[H]):
    """The loop; a method says how keys become columns and, if need be, where and how to spread."""

    def columns(self, job: Job[H], layer: int, keys: Tensor) -> Solved:
        """The method's closed form: keys [m, n] to columns [m, n], so that ΔW = R columnsᵀ."""
        raise NotImplementedError

    def modules(self, model: EditableModel, layer: int) -> tuple[str, ...]:
        """Modules moved by the value search, the one whose residual is written first."""
        return (model.residual(layer),)

    def share(self, left: int) -> float:
        """What the residual is divided by when `left` layers are still to be edited."""
        return float(left)

    def about(self, job: Job[H], layer: int) -> dict[str, JSON]:
        """Evidence of the method's own about a layer."""
        return {}

    def needs(self, hparams: H) -> frozenset[int]:
        """The edited layers."""
        return frozenset(hparams.layers)

    def edit(self, job: Job[H]) -> Delta:
        """One low-rank change per layer for all requests."""
        model, requests, layers = job.model, job.requests, job.hparams.layers
        _check_batch(job)
        for layer in layers:
            model.parameter_name(layer)
        templates = chosen_templates(job.context, job.hparams)
        modules = self.modules(model, layers[-1])
        groups = _groups(job)
        values = optimise_values(
            model,
            [Wish(tuple(requests[i] for i in group)) for group in groups],
            modules=modules,
            templates=templates,
            settings=job.hparams,
            progress=job.context.progress,
        )
        moved = torch.empty(len(requests), model.d_model, device=model.device)
        for group, value in zip(groups, values, strict=True):
            moved[group] = value.delta
        found = self.write(job, moved, templates)
        return Delta(
            parameters={name: layer.change for name, layer in found.items()},
            keys={name: layer.keys for name, layer in found.items()},
            values={name: layer.values for name, layer in found.items()},
            templates=templates,
            evidence={
                **_value_evidence(groups, values),
                "layers": {name: layer.evidence for name, layer in found.items()},
            },
        )

    def write(self, job: Job[H], moved: Tensor, templates: tuple[str, ...]) -> dict[str, _Layer]:
        """Layer by layer, each with those below it edited. Shape: moved [n, d], the residuals."""
        model, layers = job.model, job.hparams.layers
        module = self.modules(model, layers[-1])[0]
        climb = Climb(model, job.requests, templates, module)
        weights: dict[str, Tensor] = {}
        found: dict[str, _Layer] = {}
        wanted: Tensor | None = None
        for done, layer in enumerate(layers):
            keys, states = climb.to(layer, weights)
            wanted = states + moved if wanted is None else wanted  # [n, d]
            missing = wanted - states
            residual = missing.T.cpu().double() / self.share(len(layers) - done)  # [d, n]
            mean = context_mean(keys).T.cpu().double()  # [m, n]
            name = model.parameter_name(layer)
            found[name] = self._layer(job, layer, mean, residual)
            found[name].evidence["forward"] = climb.forward
            weights[name] = _edited(model.weight(name), found[name].change)
            if job.context.progress is not None:
                job.context.progress("write", (done + 1) / len(layers))
        return found

    def _layer(self, job: Job[H], layer: int, keys: Tensor, residual: Tensor) -> _Layer:
        """One layer's change. Shapes: keys [m, n], residual [d, n], float64 on the CPU."""
        weight = job.model.weight(job.model.parameter_name(layer))
        solved, limit = self.columns(job, layer, keys), job.hparams.max_update_ratio
        change = LowRank(residual.float().contiguous(), solved.columns.T.float().contiguous())
        return _Layer(
            change,
            keys.float().contiguous(),
            (times(weight, keys) + residual).float().contiguous(),
            {
                "residual": float(residual.norm(dim=0).mean()),
                "condition": solved.condition,
                "update_ratio": update_ratio(change, weight, limit, keys.shape[1]),
                **self.about(job, layer),
            },
        )


def chosen_templates(context: EditContext, hparams: SpreadHparams) -> tuple[str, ...]:
    """The bare prompt and the last `contexts` of the others: those are the longest."""
    others = context.templates[1:]
    return (context.templates[0], *others[max(0, len(others) - hparams.contexts) :])


def _check_batch(job: Job[H]) -> None:
    if not 1 <= len(job.requests) <= MAX_RANK:
        raise InvalidRequest(
            f"{job.method} was given {len(job.requests)} requests: give 1 to {MAX_RANK} per batch"
        )
    wanted: dict[str, str] = {}
    for request in job.requests:
        earlier = wanted.setdefault(request.text, request.target_new)
        if earlier != request.target_new:
            raise InvalidRequest(
                f"one batch asks for {earlier!r} and {request.target_new!r} after "
                f"{request.text!r}: keep one of the requests"
            )


def _groups(job: Job[H]) -> list[list[int]]:
    """Indices of the requests that share a value, in the order of their first."""
    if job.hparams.same_subject == "separate":
        return [[i] for i in range(len(job.requests))]
    groups: dict[str, list[int]] = {}
    for i, request in enumerate(job.requests):
        groups.setdefault(request.subject, []).append(i)
    return list(groups.values())


def _edited(weight: Tensor, change: LowRank) -> Tensor:
    """W + ΔW in the model's number format. Shape: [d, m]."""
    product = change.u.to(weight.device) @ change.v.to(weight.device)
    return (weight.float() + product).to(weight.dtype)


def _value_evidence(groups: Sequence[Sequence[int]], values: Sequence[Value]) -> dict[str, JSON]:
    """Per value, in the order of `groups`: what its search saw and how it ended."""
    return {
        "groups": [list(group) for group in groups],
        "merged": sum(len(group) for group in groups if len(group) > 1),
        "loss": [value.losses[-1] for value in values],
        "nll": [[value.nll[0], value.nll[-1]] for value in values],
        "steps": [len(value.losses) for value in values],
        "stop": [value.stop for value in values],
        "forward": "; ".join(sorted({value.forward for value in values})),
        "value_ratio": [value.ratio for value in values],
    }
