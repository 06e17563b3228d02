"""The fold: the one place where a version's weights come from.

Promise: `W(version) = cast(float64(W_base) + u_1 v_1^T + u_2 v_2^T + ...)`, the same bits on every
machine, for any dtype, either storage layout and any number of threads.

Rules
- Components are added one at a time, in ledger order. The product of two float32 values is exact
  in float64, so each addition rounds once, with or without fused multiply-add.
- The last step casts float64 to float32 and float32 to the storage dtype, each rounding to nearest
  even: what `Tensor.to` does on CPU and GPU.
- Nothing is ever subtracted: to revert an edit is to fold without it.
- Factors are in Linear layout (`u` over outputs, `v` over inputs); a Conv1D weight is stored
  transposed, so there the rows of the stored tensor run over `v`.

    folded = fold(stored, [LowRank(u, v)], transposed=False)
    total = Accumulator(stored, transposed=False)
    total.add(LowRank(u, v))              # continues the same sum
    assert torch.equal(total.weights(), folded)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from editors.delta import Dense, LowRank, ParameterDelta
from ledger.errors import InvalidInput
from store.checkpoints import TensorEntry, tensor_digest

# 8 MB of float64: large enough that the calls cost little, small enough for the caches; 1024
# columns, so that the factor of a row stays in the innermost one.
TILE_ROWS, TILE_COLS = 1024, 1024
# So small that torch keeps a tile on one thread: for a few components, waiting for a second core
# that is busy costs far more than it can bring.
QUIET_ROWS, FEW = 32, 8

DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def fold(base: Tensor, updates: Sequence[ParameterDelta], *, transposed: bool) -> Tensor:
    """Return `base` plus all `updates`, in order, as a new tensor of the same dtype and layout.

    Shapes: base [rows, cols] as stored; updates in Linear layout ([cols, rows] if transposed).
    Raises: InvalidInput if an update does not fit or the sum leaves the dtype's finite range.
    """
    return _folded(base, updates, transposed, out=torch.empty_like(base))


def fold_(base: Tensor, updates: Sequence[ParameterDelta], *, transposed: bool) -> Tensor:
    """As `fold`, into `base` itself: no second tensor. After an exception `base` is of no use."""
    return _folded(base, updates, transposed, out=base)


def _folded(
    base: Tensor, updates: Sequence[ParameterDelta], transposed: bool, *, out: Tensor
) -> Tensor:
    terms = [term for update in updates for term in _terms(update, base, transposed)]
    for tile in _tiles(base, terms):
        total = tile.of(base).double()
        tile.add_to(total)
        _narrow(total, tile.of(out))
    return out


class Accumulator:
    """The float64 sum of one parameter, kept so that the next edit continues it.

    Shapes: base [rows, cols] as stored. Memory: 8 bytes per weight of this one parameter.
    """

    def __init__(self, base: Tensor, *, transposed: bool) -> None:
        self._sum = base.double()
        self._base, self._transposed = base, transposed

    def add(self, update: ParameterDelta) -> None:
        """Add one update, component by component. After an exception the sum is of no use."""
        terms = _terms(update, self._base, self._transposed)
        for tile in _tiles(self._sum, terms):
            tile.add_to(tile.of(self._sum))

    def weights(self) -> Tensor:
        """The weights of the sum so far, in the base's dtype. Raises: InvalidInput, as `fold`."""
        out = torch.empty_like(self._base)
        for tile in _tiles(out, ()):
            _narrow(tile.of(self._sum), tile.of(out))
        return out


@dataclass(frozen=True, eq=False)
class _Term:
    """One addition, in storage layout.

    Shapes: left [rows, 1] and right [1, cols], float64; or no left and right [rows, cols], float32,
    for a dense update.
    """

    left: Tensor | None
    right: Tensor


@dataclass(frozen=True, eq=False)
class _Tile:
    """A part of a matrix, and the parts of the terms that belong to its rows and its columns."""

    rows: slice
    cols: slice
    lefts: Sequence[Tensor | None]
    rights: Sequence[Tensor]

    def of(self, matrix: Tensor) -> Tensor:
        """The part of `matrix`, a view."""
        return matrix[self.rows, self.cols]

    def add_to(self, total: Tensor) -> None:
        """Add every term to the float64 `total` of this tile, in order."""
        for left, right in zip(self.lefts, self.rights, strict=True):
            if left is None:
                total.add_(right[self.rows].double())
            else:
                total.addcmul_(left, right)


def _terms(update: ParameterDelta, base: Tensor, transposed: bool) -> list[_Term]:
    """The additions of one update, in order. Raises: InvalidInput if it does not fit."""
    shape = tuple(reversed(base.shape)) if transposed else tuple(base.shape)
    if tuple(update.shape) != shape:
        raise InvalidInput(
            f"a delta of shape {list(update.shape)} does not fit a weight of shape "
            f"{list(shape)} (outputs, inputs): was it made for another base?"
        )
    if isinstance(update, Dense):
        return [_Term(None, update.w.T if transposed else update.w)]
    left, right = (update.v, update.u.T) if transposed else (update.u.T, update.v)
    columns, rows = left.double().unsqueeze(2), right.double().contiguous().unsqueeze(1)
    return [_Term(*pair) for pair in zip(columns, rows, strict=True)]


def _tiles(matrix: Tensor, terms: Sequence[_Term]) -> Iterator[_Tile]:
    """The tiles that cover a matrix; their size changes no bit."""
    threads = torch.get_num_threads()
    height = QUIET_ROWS if len(terms) <= FEW and threads > 1 else TILE_ROWS
    columns = [slice(col, col + TILE_COLS) for col in range(0, matrix.shape[1], TILE_COLS)]
    rights = [[term.right[:, cols] for term in terms] for cols in columns]
    for row in range(0, matrix.shape[0], height):
        rows = slice(row, row + height)
        lefts = [None if term.left is None else term.left[rows] for term in terms]
        for cols, right in zip(columns, rights, strict=True):
            yield _Tile(rows, cols, lefts, right)


def _narrow(total: Tensor, out: Tensor) -> None:
    """Cast float64 to float32 and that to the dtype of `out`. Raises: InvalidInput."""
    single = total.float()
    out.copy_(single)
    # Rounding keeps order, so the extremes tell for all; NaN comes through as an extreme.
    extremes = torch.stack(torch.aminmax(single)).to(out.dtype)
    if not all(map(math.isfinite, extremes.tolist())):
        raise InvalidInput(
            f"the edited weights leave the range of {out.dtype}: the update is too large, or the "
            "base itself holds weights that are not finite"
        )


def raw_bytes(weights: Tensor) -> memoryview:
    """The little-endian bytes of a tensor as a checkpoint stores them."""
    flat = weights.detach().to("cpu").contiguous().view(torch.uint8).flatten()
    return flat.numpy().data


def digest(weights: Tensor) -> str:
    """sha256 of dtype, shape and raw bytes; equal to `Checkpoint.digest` of the same tensor."""
    return tensor_digest(NAMES[weights.dtype], tuple(weights.shape), raw_bytes(weights))


def from_raw(entry: TensorEntry, raw: np.ndarray[Any, np.dtype[np.uint8]]) -> Tensor:
    """The tensor a checkpoint stores, in its own dtype and layout; it lies in `raw` itself.

    Raises: InvalidInput for a dtype that cannot be edited.
    """
    if entry.dtype not in DTYPES:
        raise InvalidInput(
            f"{entry.name} is stored as {entry.dtype}; only F32, BF16 and F16 weights can be "
            "edited: use an unquantised checkpoint"
        )
    return torch.from_numpy(raw).view(DTYPES[entry.dtype]).reshape(entry.shape)


def select(update: ParameterDelta, components: Iterable[int]) -> ParameterDelta:
    """The columns of a low-rank update that belong to some facts of a batch.

    Raises: InvalidInput for a dense update, which has no components, and for one it does not have.
    """
    if not isinstance(update, LowRank):
        raise InvalidInput("a dense update cannot be taken apart: revert the whole batch")
    chosen, rank = list(components), update.v.shape[0]
    if not chosen or not all(0 <= number < rank for number in chosen):
        raise InvalidInput(f"a delta of rank {rank} has no components {chosen}")
    return LowRank(update.u[:, chosen].contiguous(), update.v[chosen].contiguous())
