"""Tensors that are too large to hold twice: read where they lie, a block of rows at a time.

Promise: a `Stored` tensor costs no memory until rows of it are asked for, and then that of the
rows; a torch tensor may stand wherever `Rows` are taken.

Rules: a scalar counts as one row; a tensor that holds no weights (another dtype) as its bytes. A
`Difference` is taken block by block from two tensors and never held.

    weights = Stored.of(checkpoint, "model.layers.3.mlp.down_proj.weight")
    for rows, block in Difference(weights, other).blocks():
        ...                                         # float32 [len(rows), cols]
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from editors.delta import LowRank
from ledger.weights import DTYPES, NAMES, raw_bytes
from store.checkpoints import Checkpoint, chunked_digest, read_rows
from store.headers import TensorEntry

Block = tuple[slice, Tensor]
_ENTRIES = 1 << 18  # of a block: 2 MB of float64


class Rows(Protocol):
    """What an audit asks of a tensor."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> torch.dtype: ...
    def __getitem__(self, rows: slice, /) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Stored:
    """A tensor of a checkpoint. `dtype` may be narrower than the stored one, if nothing is lost."""

    entry: TensorEntry
    dtype: torch.dtype
    shape: tuple[int, ...]

    @classmethod
    def of(cls, checkpoint: Checkpoint, name: str) -> Stored:
        """A tensor by its name. Raises: CheckpointMissing."""
        entry = checkpoint.entry(name)
        if entry.dtype in DTYPES:
            return cls(entry, DTYPES[entry.dtype], tuple(entry.shape) or (1,))
        return cls(entry, torch.uint8, (entry.nbytes,))

    def __getitem__(self, rows: slice) -> Tensor:
        start, stop, _ = rows.indices(self.shape[0])
        raw = torch.from_numpy(read_rows(self.entry, self.shape[0], start, stop))
        own = raw.view(DTYPES.get(self.entry.dtype, torch.uint8))
        return own.reshape(stop - start, *self.shape[1:]).to(self.dtype)

    def narrowed(self, dtype: torch.dtype) -> Stored:
        """In another dtype, where that loses nothing; else as it is."""
        if self.dtype != torch.float32 or dtype == torch.float32:
            return self
        kept = all(torch.equal(b.to(dtype).float(), b) for _, b in blocks(self))
        return replace(self, dtype=dtype) if kept else self


@dataclass(frozen=True, eq=False)
class Added:
    """A tensor and a low-rank change, float32; the change is in Linear layout."""

    base: Stored
    change: LowRank
    transposed: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the base."""
        return self.base.shape

    @property
    def dtype(self) -> torch.dtype:
        """The sum is not rounded to the base's dtype."""
        return torch.float32

    def __getitem__(self, rows: slice) -> Tensor:
        u, v = self.change.u, self.change.v
        left, right = (v.T, u.T) if self.transposed else (u, v)
        return (self.base[rows].double() + left[rows].double() @ right.double()).float()


def size(matrix: Rows) -> int:
    """The number of entries."""
    return math.prod(matrix.shape)


def blocks(matrix: Rows) -> Iterator[Block]:
    """All rows in order, a few at a time, in the tensor's dtype."""
    for rows in row_slices(matrix.shape):
        yield rows, matrix[rows]


def row_slices(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slices of rows of a size that is read at once."""
    height = max(1, _ENTRIES // max(1, math.prod(shape[1:])))
    for start in range(0, shape[0], height):
        yield slice(start, min(start + height, shape[0]))


def same(one: Rows, other: Rows) -> bool:
    """Bit for bit: -0 is not 0, and NaN is itself."""
    if one.dtype != other.dtype or tuple(one.shape) != tuple(other.shape):
        return False
    return all(
        torch.equal(_bytes(one[rows]), _bytes(other[rows])) for rows in row_slices(one.shape)
    )


def _bytes(block: Tensor) -> Tensor:
    return block.contiguous().reshape(-1).view(torch.uint8)


def digest(matrix: Rows) -> str:
    """sha256 as of `ledger.weights.digest`."""
    parts = (raw_bytes(block) for _, block in blocks(matrix))
    return chunked_digest(NAMES[matrix.dtype], matrix.shape, parts)


def norm(matrix: Rows) -> float:
    """The Frobenius norm."""
    parts = [torch.linalg.vector_norm(b.double()) for _, b in blocks(matrix)]
    return float(torch.linalg.vector_norm(torch.stack(parts))) if parts else 0.0


def sampled(matrix: Rows, count: int, *, columns: bool) -> Tensor:
    """About `count` rows (columns), evenly spread. Shapes: [count, cols] ([count, rows])."""
    step = max(1, matrix.shape[1 if columns else 0] // count)
    if columns:
        # A view would keep its whole block.
        return torch.cat([b[:, ::step][:, :count].clone() for _, b in blocks(matrix)]).T
    chosen = range(0, matrix.shape[0], step)[:count]
    return torch.cat([matrix[row : row + 1] for row in chosen])


@dataclass(frozen=True, eq=False)
class Difference:
    """deployed - predicted, in float32, `predicted` rounded as `deployed` is; no `predicted`: 0.

    `left` [rows, r] and `right` [r, cols]: what is taken out of it besides.
    """

    deployed: Rows
    predicted: Rows | None = None
    left: Tensor | None = None
    right: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """As a matrix: all but the first dimension are one."""
        rows, *rest = self.deployed.shape
        return rows, math.prod(rest)

    def blocks(self) -> Iterator[Block]:
        """All of it, [rows of the block, cols] float32."""
        for rows in row_slices(self.deployed.shape):
            block = self.deployed[rows].float()
            if self.predicted is not None:
                block = block - self.predicted[rows].to(self.deployed.dtype).float()
            block = block.reshape(block.shape[0], -1)
            if self.left is not None and self.right is not None:
                block = block - self.left[rows] @ self.right
            yield rows, block

    def without(self, left: Tensor, right: Tensor) -> Difference:
        """The same less a product."""
        return replace(self, left=left, right=right)
