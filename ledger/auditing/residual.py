"""What a weight difference looks like that no known change explains: edits, noise, or a lattice.

Promise: no full decomposition of a large matrix, and no copy of it; a few walks over its blocks,
for products with thin ones. The same matrix gives the same findings on every run.

Rules: leading singular values come from a randomised range finder (Halko et al. 2011) on the matrix
with its rows brought to one scale, so that the noise of a quantiser with a step for each row is
level. A direction counts as structure when its singular value is larger than the largest of the
same entries with random signs (Hong, Sheng and Dobriban 2020): random signs keep the size of every
entry and destroy what is low rank. Level counts compare how many different values a stretch of a
row has with how many the base has there.

    found = spectrum(Difference(deployed, predicted))
    found.spikes, found.effective_rank, found.gap
    levels(weights, base)                 # 15 for 4 bits, None where there is no lattice
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from ledger.auditing.matrices import Block, Difference, Rows, blocks, sampled, size

_LEADING = 24  # singular values that are looked at
_EXTRA = 8
_POWERS = 2
_MARGIN = 1.2  # over the largest singular value of the same entries with random signs
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


def spectrum(residual: Difference) -> Spectrum:
    """Leading directions of a residual, and how many are more than noise."""
    rows, cols = residual.shape
    sizes = torch.cat([torch.linalg.vector_norm(b, dim=1, dtype=torch.float64) for _, b in
                       residual.blocks()])  # fmt: skip
    norm = float(torch.linalg.vector_norm(sizes))
    if norm == 0.0:
        return NOTHING
    if min(rows, cols) == 1:  # no matrix: it has a size and nothing else
        return replace(NOTHING, norm=norm, effective_rank=1.0, gap=1.0)
    scale = (sizes / cols**0.5).float()[:, None]
    level = _Scaled(residual, scale.clamp_min(float(scale.max()) * 1e-6))
    count, right = _structure(level)
    left = torch.cat([block @ right.T for _, block in residual.blocks()])
    values = _leading(_Scaled(residual))[0]
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


@dataclass(frozen=True, eq=False)
class _Scaled:
    """A residual with its rows divided by `scale` [rows, 1], less what lies in `right` [r, cols],
    and with random signs, if asked for; walked and never held."""

    residual: Difference
    scale: Tensor | None = None
    right: Tensor | None = None
    signs: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        return self.residual.shape

    def blocks(self) -> Iterator[Block]:
        generator = torch.Generator().manual_seed(1)  # the same signs on every walk
        for rows, own in self.residual.blocks():
            block = own if self.scale is None else own / self.scale[rows]
            if self.right is not None:
                block = block - (block @ self.right.T) @ self.right
            if self.signs:
                drawn = torch.randint(0, 2, block.shape, generator=generator, dtype=torch.int8)
                block = block * (2 * drawn - 1)
            yield rows, block


def _structure(matrix: _Scaled) -> tuple[int, Tensor]:
    """Directions above the noise, which is looked at again without them; and the space [count,
    cols] that they span."""
    values, right = _leading(matrix)
    count = 0
    for _ in range(3):
        rest = replace(matrix, right=right[:count] if count else None, signs=True)
        found = int((values > _MARGIN * float(_leading(rest)[0][0])).sum())
        if found <= count:
            break
        count = found
    return count, right[:count].float().contiguous()


def _leading(matrix: _Scaled) -> tuple[Tensor, Tensor]:
    """The leading singular values, descending, and their right vectors [values, cols]."""
    rows, cols = matrix.shape
    few = min(_LEADING, rows, cols)
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(cols, min(_LEADING + _EXTRA, rows, cols), generator=generator)
    for _ in range(_POWERS):
        basis = torch.linalg.qr(basis).Q
        basis = sum((b.T @ (b @ basis) for _, b in matrix.blocks()), torch.zeros_like(basis))
    basis = torch.linalg.qr(basis).Q
    image = torch.cat([block @ basis for _, block in matrix.blocks()]).double()
    _, values, turn = torch.linalg.svd(image, full_matrices=False)
    return values[:few], (turn[:few] @ basis.T.double()).float()


def ulp(weights: Tensor) -> Tensor:
    """The distance to the next number of the dtype, float32, entry by entry; 0 for tiny ones."""
    integer, mask = _EXPONENT[weights.dtype]
    power = (weights.contiguous().view(integer) & mask).view(weights.dtype).float()
    return power * 2.0 ** -_MANTISSA[weights.dtype]


def rounding(weights: Rows) -> float:
    """The standard deviation of rounding to the weights' dtype: the root mean of ulp^2 / 12."""
    total = 0.0
    for _, block in blocks(weights):
        total += float(ulp(block).square().sum(dtype=torch.float64))
    return float((total / max(size(weights), 1) / 12) ** 0.5)


def levels(weights: Rows, base: Rows) -> int | None:
    """Different values in a stretch of a row (or column), where they are fewer than the base's.

    None where the weights lie on no lattice that can be seen. Shapes: [rows, cols], any dtype.
    """
    if len(weights.shape) != 2:
        return None
    found: list[tuple[float, int]] = []
    for columns in (False, True):
        now, then = (sampled(matrix, _SAMPLE, columns=columns) for matrix in (weights, base))
        length = now.shape[1]
        for stretch in {*(s for s in _STRETCHES if s < length), length}:
            counts = _distinct(now, stretch), _distinct(then, stretch)
            if counts[1] > stretch / 3:
                found.append((counts[0] / counts[1], int(counts[0])))
    ratio, count = min(found, default=(1.0, 0))
    return count if ratio < _FEWER else None


def _distinct(rows: Tensor, stretch: int) -> float:
    """Mean number of different sizes in a row's first `stretch` entries."""
    ordered = rows[:, :stretch].float().abs().sort(dim=1).values
    return 1 + float((ordered.diff(dim=1) > 0).sum(dim=1).double().mean())
