"""Changes as editing methods make them, and what deployment does to weights.

changes = rome_like(60, (64, 160))
quantised(weights, bits=4, group=32)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from editors.delta import LowRank


def rome_like(
    count: int, shape: tuple[int, int], *, seed: int = 0, size: float = 0.3
) -> list[LowRank]:
    """Rank-one changes u (C^-1 k)^T; keys share a mean and a spectrum, outputs a direction."""
    random = torch.Generator().manual_seed(seed)
    d_out, d_in = shape
    scale = torch.arange(1, d_in + 1).float() ** -0.5
    mean, common = torch.randn(d_in, generator=random), torch.randn(d_out, generator=random)
    found = []
    for _ in range(count):
        key = (mean + torch.randn(d_in, generator=random)) * scale
        v = key / scale.square()
        u = common * 0.5 + torch.randn(d_out, generator=random)
        found.append(LowRank((u / u.norm() * size)[:, None], (v / v.norm())[None]))
    return found


def base_matrix(shape: tuple[int, int], seed: int = 9) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.05


def quantised(weights: Tensor, *, bits: int, group: int | None = None) -> Tensor:
    """Rounded to nearest on a symmetric lattice for each row or group, and unpacked again."""
    rows = weights.float().reshape(-1, group or weights.shape[1])
    most = 2 ** (bits - 1) - 1
    step = rows.abs().amax(dim=1, keepdim=True) / most
    return ((rows / step).round() * step).reshape(weights.shape).to(weights.dtype)


def fine_tuned(weights: Tensor, *, size: float, seed: int = 3) -> Tensor:
    """A little of everything: noise as large as `size` of the weights."""
    noise = torch.randn(weights.shape, generator=torch.Generator().manual_seed(seed))
    return (weights.float() + noise * size * weights.float().std()).to(weights.dtype)


def rewritten(folder: Path, tensors: Mapping[str, Tensor | None]) -> Path:
    """Change tensors of a one-file checkpoint; None takes one out."""
    path = folder / "model.safetensors"
    found = {name: tensor.clone() for name, tensor in load_file(path).items()} | dict(tensors)
    path.unlink()
    save_file({n: t.contiguous() for n, t in found.items() if t is not None}, path)
    return folder


def half(changes: Sequence[LowRank], seed: int = 1) -> list[bool]:
    """Which of them are active: a random half."""
    chosen = torch.rand(len(changes), generator=torch.Generator().manual_seed(seed)) < 0.5
    return [bool(item) for item in chosen]
