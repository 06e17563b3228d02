"""What a weight difference looks like that no known change explains: edits, noise, or a lattice.

Promise: no full decomposition of a large matrix; a few products with thin ones. The same matrix
gives the same findings on every run.

Rules: leading singular values come from a randomised range finder (Halko et al. 2011) on the matrix
with its rows brought to one scale, so that the noise of a quantiser with a step for each row is
level. A direction counts as structure when its singular value is larger than the largest of the
same entries with random signs (Hong, Sheng and Dobriban 2020): random signs keep the size of every
entry and destroy what is low rank. Level counts compare how many different values a stretch of a
row has with how many the base has there.

    found = spectrum(residual)            # [rows, cols]
    found.spikes, found.effective_rank, found.gap
    levels(weights, base)                 # 15 for 4 bits, None where there is no lattice
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

_LEADING = 24  # singular values that are looked at
_EXTRA = 8
_POWERS = 2
_MARGIN = 1.2  # over the largest singular value of the same entries with random signs
_ROWS = 512  # rows of a block
_SAMPLE = 64  # rows whose values are counted
_STRETCHES = (32, 64, 128)
_FEWER = 0.8  # of the base's different values: what is below lies on a lattice
_MANTISSA = {torch.float32: 23, torch.bfloat16: 7, torch.float16: 10}
_EXPONENT = {
    torch.float32: (torch.int32, 0x7F800000),
    torch.bfloat16: (torch.int16, 0x7F80),
    torch.float16: (torch.int16, 0x7C00),
}


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The shape of a residual.

    norm: Frobenius. effective_rank: ||E||^2 / s_1^2. gap: s_j / s_(j+1) after the last direction
    that is structure, or of the first two. spikes: how many are structure; left [rows, spikes] and
    right [spikes, cols] are what they hold of the residual, float32.
    """

    norm: float
    effective_rank: float
    gap: float
    spikes: int
    left: Tensor
    right: Tensor


NOTHING: Final = Spectrum(0.0, 0.0, 0.0, 0, torch.zeros(0, 0), torch.zeros(0, 0))


def spectrum(residual: Tensor) -> Spectrum:
    """Leading directions of a residual [rows, cols], float32, and how many are more than noise."""
    rows, cols = residual.shape
    norm = float(torch.linalg.vector_norm(residual, dtype=torch.float64))
    if norm == 0.0:
        return NOTHING
    scale = torch.linalg.vector_norm(residual, dim=1, keepdim=True) / cols**0.5
    scale = scale.clamp_min(float(scale.max()) * 1e-6)
    count = _structure(residual, scale)
    if count:
        right = _right_space(residual / scale, count)
        left = residual @ right.T
    else:
        left, right = torch.zeros(rows, 0), torch.zeros(0, cols)
    values = _leading(residual)
    place = min(max(count, 1), len(values) - 1)
    following = max(float(values[place]) if place else 0.0, norm * 1e-7)
    return Spectrum(
        norm=norm,
        effective_rank=norm**2 / float(values[0]) ** 2,
        gap=float(values[place - 1]) / following if place else 1.0,
        spikes=count,
        left=left,
        right=right,
    )


def _structure(residual: Tensor, scale: Tensor) -> int:
    """Directions above the noise; which is looked at again without them."""
    rest = matrix = residual / scale
    values, count = _leading(matrix), 0
    for _ in range(3):
        edge = float(_leading(_flipped(rest))[0])
        found = int((values > _MARGIN * edge).sum())
        if found <= count:
            break
        count = found
        right = _right_space(matrix, count)
        rest = matrix - (matrix @ right.T) @ right
    return count


def _leading(matrix: Tensor) -> Tensor:
    """The leading singular values, descending."""
    basis = _range(matrix, min(_LEADING + _EXTRA, *matrix.shape))
    values: Tensor = torch.linalg.svdvals((basis.T @ matrix).double())
    return values[: min(_LEADING, *matrix.shape)]


def _right_space(matrix: Tensor, count: int) -> Tensor:
    """Orthonormal rows [count, cols] that span the leading right singular vectors."""
    basis = _range(matrix, min(count + _EXTRA, *matrix.shape))
    _, _, right = torch.linalg.svd((basis.T @ matrix).double(), full_matrices=False)
    chosen: Tensor = right[:count].float().contiguous()
    return chosen


def _range(matrix: Tensor, width: int) -> Tensor:
    """An orthonormal basis [rows, width] of nearly the leading column space."""
    generator = torch.Generator().manual_seed(0)
    basis = matrix @ torch.randn(matrix.shape[1], width, generator=generator)
    for _ in range(_POWERS):
        basis = torch.linalg.qr(basis).Q
        basis = matrix @ torch.linalg.qr(matrix.T @ basis).Q
    last: Tensor = torch.linalg.qr(basis).Q
    return last


def _flipped(matrix: Tensor) -> Tensor:
    """The matrix with random signs."""
    generator = torch.Generator().manual_seed(1)
    out = torch.empty_like(matrix)
    for rows in _blocks(matrix.shape[0]):
        part = matrix[rows]
        signs = torch.randint(0, 2, part.shape, generator=generator, dtype=torch.int8)
        out[rows] = part * (2 * signs - 1)
    return out


def _blocks(rows: int) -> Iterator[slice]:
    for start in range(0, rows, _ROWS):
        yield slice(start, min(start + _ROWS, rows))


def ulp(weights: Tensor) -> Tensor:
    """The distance to the next number of the dtype, float32, entry by entry; 0 for tiny ones."""
    integer, mask = _EXPONENT[weights.dtype]
    power = (weights.contiguous().view(integer) & mask).view(weights.dtype).float()
    return power * 2.0 ** -_MANTISSA[weights.dtype]


def rounding(weights: Tensor) -> float:
    """The standard deviation of rounding to the weights' dtype: the root mean of ulp^2 / 12."""
    total = 0.0
    flat = weights.reshape(-1, weights.shape[-1])
    for rows in _blocks(flat.shape[0]):
        total += float(ulp(flat[rows]).square().sum(dtype=torch.float64))
    return float((total / weights.numel() / 12) ** 0.5)


def levels(weights: Tensor, base: Tensor) -> int | None:
    """Different values in a stretch of a row (or column), where they are fewer than the base's.

    None where the weights lie on no lattice that can be seen. Shapes: [rows, cols], any dtype.
    """
    if weights.ndim != 2:
        return None
    found: list[tuple[float, int]] = []
    for now, then in ((weights, base), (weights.T, base.T)):
        cols = now.shape[1]
        step = max(1, now.shape[0] // _SAMPLE)
        for stretch in {*(s for s in _STRETCHES if s < cols), cols}:
            counts = _distinct(now[::step], stretch), _distinct(then[::step], stretch)
            if counts[1] > stretch / 3:
                found.append((counts[0] / counts[1], int(counts[0])))
    ratio, count = min(found, default=(1.0, 0))
    return count if ratio < _FEWER else None


def _distinct(rows: Tensor, stretch: int) -> float:
    """Mean number of different sizes in a row's first `stretch` entries."""
    ordered = rows[:_SAMPLE, :stretch].float().abs().sort(dim=1).values
    return 1 + float((ordered.diff(dim=1) > 0).sum(dim=1).double().mean())
