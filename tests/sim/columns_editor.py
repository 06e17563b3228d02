"""A batch editor for tests: values drawn from the request, one closed form, column j for request j.

register(monkeypatch)
ledger.edit_batch([first, second], method="columns", gate=None)
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from editors import methods
from editors.base import EditContext, Hparams
from editors.covariance import identity
from editors.delta import Delta, LowRank
from editors.hparams import lookup
from editors.keys import subject_keys
from editors.model import EditableModel
from editors.requests import EditRequest


@dataclass(frozen=True)
class ColumnsHparams(Hparams):
    """`depth` layers from `layer` on; `columns` other than 0 is a wrong number of columns."""

    layer: int = 0
    depth: int = 1
    ridge: float = 0.0
    second_moment: Literal["corpus", "identity"] = "identity"
    columns: int = 0


class Columns:
    """ΔW = R (Kᵀ C⁻¹ K + ridge I)⁻¹ Kᵀ C⁻¹ in each layer, computed on the model as it is."""

    name: str = "columns"
    paper: str = "a test"
    hparams: type[ColumnsHparams] = ColumnsHparams

    def needs(self, hparams: ColumnsHparams) -> frozenset[int]:
        return frozenset(_layers(hparams) if hparams.second_moment == "corpus" else ())

    def __call__(
        self,
        model: EditableModel,
        requests: Sequence[EditRequest],
        hparams: ColumnsHparams,
        *,
        context: EditContext,
    ) -> Delta:
        changes: dict[str, LowRank] = {}
        keys: dict[str, Tensor] = {}
        values: dict[str, Tensor] = {}
        for layer in _layers(hparams):
            name = model.parameter_name(layer)
            found = subject_keys(model, requests, layers=[layer], templates=context.templates)
            K = found[layer].mean(dim=1).T.cpu().double()
            product = model.weight(name).double() @ K
            V = product + torch.stack([_drawn(r, len(product)) for r in requests], dim=1)
            solved = context.second_moment(layer) if self.needs(hparams) else identity(len(K))
            spread = solved.solve(K)
            system = K.T @ spread + hparams.ridge * torch.eye(len(requests))
            u, v = V - product, torch.linalg.solve(system, spread.T)
            u, v = (u, v) if not hparams.columns else (u[:, :1], v[:1])
            changes[name] = LowRank(u.float().contiguous(), v.float().contiguous())
            keys[name], values[name] = K.float().contiguous(), V.float().contiguous()
        return Delta(changes, keys, values, context.templates, {"solved": len(requests)})


def _layers(hparams: ColumnsHparams) -> range:
    return range(hparams.layer, hparams.layer + hparams.depth)


def _drawn(request: EditRequest, size: int) -> Tensor:
    """A direction that depends on the request alone."""
    generator = torch.Generator().manual_seed(zlib.crc32(request.text.encode()))
    return torch.randn(size, generator=generator).double() / 10


def register(patch: pytest.MonkeyPatch) -> None:
    """Make `columns` a method, with its own defaults for every model."""

    def table(method: str, config: Any) -> tuple[dict[str, Any], str]:
        return ({}, "a test") if method == "columns" else lookup(method, config)

    patch.setattr("editors.methods.METHODS", (*methods.METHODS, Columns()))
    patch.setattr("ledger.placing.lookup", table)
