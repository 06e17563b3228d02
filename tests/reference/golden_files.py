"""How recorded matrices are written down: as factors where they are low rank, else whole.

Promise: `unpacked(packed(w))` equals w within 1e-5 of its Frobenius norm, which stands beside.

    unpacked(read("memit")["results"]["memit"]["transformer.h.0.mlp.c_proj.weight"])     # [d, m]
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).parent / "goldens"
_LEFT_OUT = 1e-5


def read(name: str) -> dict[str, Any]:
    """One file of recorded results."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def packed(matrix: Tensor) -> dict[str, Any]:
    """JSON values of a matrix [d, m]."""
    matrix = matrix.detach().double()
    norm = float(matrix.norm())
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    left = s.square().flip(0).cumsum(0).flip(0).sqrt()  # what ranks from here on hold
    rank = max(1, int((left > _LEFT_OUT * norm).sum()))
    head = {"norm": norm, "shape": list(matrix.shape)}
    if rank * sum(matrix.shape) >= matrix.numel():
        return head | {"w": _text(matrix)}
    return head | {"u": _text(u[:, :rank] * s[:rank]), "v": _text(v[:rank])}


def unpacked(values: dict[str, Any]) -> Tensor:
    """The matrix [d, m] in float64. Raises: ValueError when it does not have the norm recorded."""
    d, m = values["shape"]
    if "w" in values:
        matrix = _numbers(values["w"]).reshape(d, m)
    else:
        matrix = _numbers(values["u"]).reshape(d, -1) @ _numbers(values["v"]).reshape(-1, m)
    if abs(float(matrix.norm()) - values["norm"]) > 1e-4 * values["norm"]:
        raise ValueError(f"norm {float(matrix.norm())} instead of {values['norm']}")
    return matrix


def _text(matrix: Tensor) -> str:
    return base64.b64encode(matrix.numpy().astype("<f4").tobytes()).decode("ascii")


def _numbers(text: str) -> Tensor:
    return torch.from_numpy(np.frombuffer(base64.b64decode(text), "<f4").astype(np.float64))
