"""ROME: write one fact as a rank-one change of one MLP output matrix (Meng et al. 2022).

Promise: ΔW = (v* - W k*) (C^-1 k*)ᵀ / (k*ᵀ C^-1 k*), so (W + ΔW) k* = v* and ΔW ∝ C^-1 k*.
Rules: `key="consistent"` uses the mean key over the context templates everywhere (r-ROME, Gupta et
al. 2024); `key="original"` keeps the mixed use of kmeng01/rome, where the mean key gives the
direction and the bare prompt's key the constraint. v* is a module output, bias included, on both
sides of the residual; the stored value is without bias: (W + ΔW) @ keys = values.

    editor = Rome()
    delta = editor(model, [request], RomeHparams(layer=5, ...), context=context)
    delta.parameters["model.layers.5.mlp.down_proj.weight"].u      # [d, 1]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from editors.base import EditContext, Hparams, single
from editors.delta import JSON, Delta, LowRank, frobenius
from editors.errors import EditFailed
from editors.keys import subject_keys
from editors.model import EditableModel
from editors.requests import EditRequest
from editors.values import Value, ValueSettings, optimise_value


@dataclass(frozen=True)
class RomeHparams(Hparams):
    """Hyper-parameters, named as in the published files; `max_update_ratio` bounds ||ΔW||/||W||."""

    layer: int
    v_num_grad_steps: int
    v_lr: float
    v_weight_decay: float
    clamp_norm_factor: float
    kl_factor: float
    key: Literal["consistent", "original"] = "consistent"
    second_moment: Literal["corpus", "identity"] = "corpus"
    stop_loss: float = 0.05
    max_update_ratio: float = 1.0

    def validate(self) -> None:
        """Ranges; a layer beyond the model is noticed when the model is known."""
        self.require(2 <= self.v_num_grad_steps <= 10_000, "v_num_grad_steps is 2 to 10000")
        for name in ("v_lr", "clamp_norm_factor", "max_update_ratio"):
            self.require(getattr(self, name) > 0, f"{name} must be above 0")
        for name in ("v_weight_decay", "kl_factor", "stop_loss"):
            self.require(getattr(self, name) >= 0, f"{name} must not be negative")

    @property
    def value_settings(self) -> ValueSettings:
        """The part that concerns the value vector."""
        return ValueSettings(
            v_num_grad_steps=self.v_num_grad_steps,
            v_lr=self.v_lr,
            v_weight_decay=self.v_weight_decay,
            clamp_norm_factor=self.clamp_norm_factor,
            kl_factor=self.kl_factor,
            stop_loss=self.stop_loss,
        )


class Rome:
    """The editor."""

    name: str = "rome"
    paper: str = "Meng et al. 2022, Locating and Editing Factual Associations in GPT; 2403.07175"
    hparams: type[RomeHparams] = RomeHparams
    denominator_floor: ClassVar[float] = 1e-6

    def needs(self, hparams: RomeHparams) -> frozenset[int]:
        """The edited layer, unless C is the identity."""
        return frozenset([hparams.layer] if hparams.second_moment == "corpus" else [])

    def __call__(
        self,
        model: EditableModel,
        requests: Sequence[EditRequest],
        hparams: RomeHparams,
        *,
        context: EditContext,
    ) -> Delta:
        """The rank-one delta for one request.

        Raises: InvalidRequest for several requests, LayerOutOfRange, EditFailed.
        """
        request = single(self.name, requests)
        layer, templates = hparams.layer, context.templates
        parameter = model.parameter_name(layer)
        found = subject_keys(model, [request], layers=[layer], templates=templates)[layer]
        keys = found[0].cpu().double()  # [p, m]
        mean = keys.mean(dim=0)  # [m]
        held = mean if hparams.key == "consistent" else keys[0]  # [m]
        direction = self._direction(mean, hparams, context)  # [m]
        value = optimise_value(
            model,
            request,
            module=model.projection(layer),
            templates=templates,
            settings=hparams.value_settings,
            progress=context.progress,
        )
        wanted = _without_bias(model, parameter, value.target)  # [d]
        residual = wanted - _times(model.weight(parameter), held)  # [d]
        change, denominator = self._factors(residual, held, direction)
        ratio = _ratio(change, model.weight(parameter))
        _check_ratio(ratio, denominator, hparams)
        return Delta(
            parameters={parameter: change},
            keys={parameter: held.float()[:, None].contiguous()},
            values={parameter: wanted.float()[:, None]},
            templates=templates,
            evidence=_evidence(value, hparams, denominator, ratio),
        )

    def _direction(self, key: Tensor, hparams: RomeHparams, context: EditContext) -> Tensor:
        """C^-1 k / ||C^-1 k||, rounded to float32 so that the stored factor is the one used."""
        if hparams.second_moment == "corpus":
            key = context.second_moment(hparams.layer).solve(key[:, None])[:, 0].cpu()
        unit: Tensor = key / key.norm()
        return unit.float().double()

    def _factors(self, residual: Tensor, key: Tensor, direction: Tensor) -> tuple[LowRank, float]:
        """u = residual / (k . v), v = direction; and k . v relative to ||k||."""
        denominator = float(key @ direction)
        relative = denominator / float(key.norm())
        if not abs(relative) > self.denominator_floor:
            raise EditFailed(
                f"the key is orthogonal to C^-1 k (cosine {relative:.1e}), the update would have "
                "no bound: use key='consistent', or put words before the subject in the prompt"
            )
        u = (residual / denominator).float()[:, None].contiguous()
        return LowRank(u, direction.float()[None, :].contiguous()), relative


def _times(weight: Tensor, key: Tensor) -> Tensor:
    """W k in float32, as float64 on the CPU. Shapes: [d, m], [m] -> [d]."""
    product: Tensor = weight.float() @ key.float().to(weight.device)
    return product.cpu().double()


def _without_bias(model: EditableModel, parameter: str, output: Tensor) -> Tensor:
    """A wanted module output as a wanted matrix product, float64 on the CPU. Shape: [d]."""
    bias = model.bias(parameter)
    product = output.cpu().double()
    return product if bias is None else product - bias.cpu().double()


def _ratio(change: LowRank, weight: Tensor) -> float:
    norm = torch.linalg.vector_norm(weight, dtype=torch.float32)
    return frobenius(change) / float(norm)


def _check_ratio(ratio: float, denominator: float, hparams: RomeHparams) -> None:
    if not ratio <= hparams.max_update_ratio:
        raise EditFailed(
            f"the update is {ratio:.3g} times as large as the matrix, the limit "
            f"max_update_ratio is {hparams.max_update_ratio:g} (key cosine {denominator:.2g}): "
            "such an edit disables the model; choose another layer or a smaller clamp_norm_factor"
        )


def _evidence(
    value: Value, hparams: RomeHparams, denominator: float, ratio: float
) -> dict[str, JSON]:
    return {
        "loss": list(value.losses),
        "nll": list(value.nll),
        "stop": value.stop,
        "value_ratio": value.ratio,
        "denominator": denominator,
        "update_ratio": ratio,
        "second_moment": hparams.second_moment,
        "key": hparams.key,
    }
