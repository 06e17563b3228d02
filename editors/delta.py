"""What an editor returns: changes of weight matrices, with what is needed to solve them again.

Promise: every tensor is float32, on the CPU, contiguous and finite; shapes fit one another.
Rules: always the layout of `nn.Linear` ([d_out, d_in]), also for models that store the transpose;
a change that is not low rank is `Dense` and says so. Dimensions: r rank, n keys.

    change = LowRank(u, v)                        # ΔW = u @ v
    delta = Delta({"model.layers.3.mlp.down_proj.weight": change}, keys={...}, values={...})
    frobenius(change)                             # without forming u @ v
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import Tensor

from editors.errors import EditFailed

JSON: TypeAlias = bool | int | float | str | list["JSON"] | dict[str, "JSON"] | None
MAX_RANK = 4096


@dataclass(frozen=True, eq=False)
class LowRank:
    """ΔW = u @ v. Shapes: u [d_out, r], v [r, d_in], 1 <= r <= 4096."""

    u: Tensor
    v: Tensor

    def __post_init__(self) -> None:
        _check_matrix("u", self.u)
        _check_matrix("v", self.v)
        rank = self.u.shape[1]
        if self.v.shape[0] != rank or not 1 <= rank <= MAX_RANK:
            raise EditFailed(
                f"factors u {tuple(self.u.shape)} and v {tuple(self.v.shape)} do not share a rank "
                f"between 1 and {MAX_RANK}"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """(d_out, d_in) of the change."""
        return self.u.shape[0], self.v.shape[1]


@dataclass(frozen=True, eq=False)
class Dense:
    """A change that is not low rank. Shape: w [d_out, d_in]."""

    w: Tensor

    def __post_init__(self) -> None:
        _check_matrix("w", self.w)

    @property
    def shape(self) -> tuple[int, int]:
        """(d_out, d_in) of the change."""
        return self.w.shape[0], self.w.shape[1]


ParameterDelta: TypeAlias = LowRank | Dense


@dataclass(frozen=True, eq=False)
class Delta:
    """The result of one editor call.

    `parameters`: full state-dict name -> change. `keys` [d_in, n] and `values` [d_out, n] say what
    the editor aimed at, as (W + ΔW) @ keys = values: exactly for methods that solve constraints
    (ROME, EMMET without ridge), as least squares against what is to be left alone for the others
    (MEMIT, PMET, AlphaEdit), where values = W @ keys + residuals. A bias of the projection is not
    part of the values. Both are empty for methods without keys.
    Of a batch, column j of `u`, row j of `v` and column j of `keys` belong to request j.
    `templates` are the context templates used, `evidence` is plain JSON about the run.
    """

    parameters: Mapping[str, ParameterDelta]
    keys: Mapping[str, Tensor] = field(default_factory=dict)
    values: Mapping[str, Tensor] = field(default_factory=dict)
    templates: tuple[str, ...] = ()
    evidence: Mapping[str, JSON] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.parameters:
            raise EditFailed("the editor returned a delta that changes no parameter")
        if set(self.keys) != set(self.values) or not set(self.keys) <= set(self.parameters):
            raise EditFailed("keys and values must name the same parameters, all of them changed")
        for name, key in self.keys.items():
            _check_constraint(name, self.parameters[name], key, self.values[name])
        json.dumps(dict(self.evidence), allow_nan=False)
        for attribute in ("parameters", "keys", "values", "evidence"):
            frozen = MappingProxyType(dict(getattr(self, attribute)))
            object.__setattr__(self, attribute, frozen)


def frobenius(change: ParameterDelta) -> float:
    """Frobenius norm of the change; for factors sqrt(tr((uᵀu)(vvᵀ))), in float64."""
    if isinstance(change, Dense):
        return float(torch.linalg.vector_norm(change.w, dtype=torch.float64))
    u, v = change.u.double(), change.v.double()
    return float(((u.T @ u) * (v @ v.T)).sum().clamp_min(0).sqrt())


def update_ratio(change: ParameterDelta, weight: Tensor, limit: float, facts: int = 1) -> float:
    """||ΔW|| / ||W||. Raises EditFailed above the limit: such an edit disables the model.

    The limit is that of one fact; n facts may together be √n times as large, which is what n
    changes of that size are that do not touch one another.
    """
    norm = torch.linalg.vector_norm(weight, dtype=torch.float32)
    ratio, bound = frobenius(change) / float(norm), limit * math.sqrt(facts)
    if not ratio <= bound:
        those = "" if facts == 1 else f" for one fact, {bound:.3g} for these {facts}"
        raise EditFailed(
            f"the update is {ratio:.3g} times as large as the matrix, the limit max_update_ratio "
            f"is {limit:g}{those}: an edit of this size disables the model; choose another layer, "
            "or take smaller steps (v_lr, lr) or a smaller clamp_norm_factor"
        )
    return ratio


def _check_matrix(name: str, tensor: Tensor) -> None:
    if tensor.ndim != 2 or tensor.numel() == 0:
        raise EditFailed(f"{name} must be a matrix, its shape is {tuple(tensor.shape)}")
    if tensor.dtype != torch.float32 or tensor.device.type != "cpu" or not tensor.is_contiguous():
        raise EditFailed(
            f"{name} must be contiguous float32 on the cpu, not {tensor.dtype} on {tensor.device}"
        )
    if not bool(torch.isfinite(tensor).all()):
        raise EditFailed(f"{name} has entries that are not finite: use a smaller step or clamp")


def _check_constraint(name: str, change: ParameterDelta, key: Tensor, value: Tensor) -> None:
    _check_matrix(f"keys of {name}", key)
    _check_matrix(f"values of {name}", value)
    d_out, d_in = change.shape
    if key.shape[0] != d_in or value.shape[0] != d_out or key.shape[1] != value.shape[1]:
        raise EditFailed(
            f"keys {tuple(key.shape)} and values {tuple(value.shape)} of {name} do not fit "
            f"a change of shape {change.shape}"
        )
