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

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from editors.delta import Dense, LowRank, ParameterDelta
from ledger.errors import InvalidInput
from store.checkpoints import TensorEntry, tensor_digest

TILE_ROWS = 16  # 16 rows of float64 stay in a core's cache for every width in use

DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def fold(base: Tensor, updates: Sequence[ParameterDelta], *, transposed: bool) -> Tensor:
    """Return `base` plus all `updates`, in order, as a new tensor of the same dtype and layout.

    Shapes: base [rows, cols] as stored; updates in Linear layout ([cols, rows] if transposed).
    Raises: InvalidInput if an update does not fit or the sum leaves the dtype's finite range.
    """
    steps = [_Step.of(update, base, transposed) for update in updates]
    out = torch.empty_like(base)
    for start in range(0, base.shape[0], TILE_ROWS):
        rows = slice(start, start + TILE_ROWS)
        tile = base[rows].double()
        for step in steps:
            step.add_to(tile, rows)
        out[rows] = tile.to(base.dtype)
    return _finite(out)


class Accumulator:
    """The float64 sum of one parameter, kept so that the next edit continues it.

    Shapes: base [rows, cols] as stored. Memory: 8 bytes per weight of this one parameter.
    """

    def __init__(self, base: Tensor, *, transposed: bool) -> None:
        self._sum = base.double()
        self._base, self._transposed = base, transposed

    def add(self, update: ParameterDelta) -> None:
        """Add one update, component by component."""
        step = _Step.of(update, self._base, self._transposed)
        for start in range(0, self._sum.shape[0], TILE_ROWS):
            rows = slice(start, start + TILE_ROWS)
            step.add_to(self._sum[rows], rows)

    def weights(self) -> Tensor:
        """The weights of the sum so far, in the base's dtype."""
        return _finite(self._sum.to(self._base.dtype))


class _Step:
    """One update in storage layout: float64 factors, or a dense float32 matrix."""

    def __init__(self, left: Tensor | None, right: Tensor | None, dense: Tensor | None) -> None:
        self._left, self._right, self._dense = left, right, dense

    @classmethod
    def of(cls, update: ParameterDelta, base: Tensor, transposed: bool) -> _Step:
        shape = tuple(reversed(base.shape)) if transposed else tuple(base.shape)
        if tuple(update.shape) != shape:
            raise InvalidInput(
                f"a delta of shape {list(update.shape)} does not fit a weight of shape "
                f"{list(shape)} (outputs, inputs): was it made for another base?"
            )
        if isinstance(update, Dense):
            return cls(None, None, update.w.T if transposed else update.w)
        left, right = (update.v, update.u.T) if transposed else (update.u.T, update.v)
        return cls(left.double().contiguous(), right.double().contiguous(), None)  # [r, rows|cols]

    def add_to(self, tile: Tensor, rows: slice) -> None:
        if self._dense is not None:
            tile.add_(self._dense[rows].double())
        elif self._left is not None and self._right is not None:
            for left, right in zip(self._left, self._right, strict=True):
                tile.addr_(left[rows], right)


def _finite(weights: Tensor) -> Tensor:
    if not torch.isfinite(weights).all():
        raise InvalidInput(
            f"the edited weights leave the range of {weights.dtype}: the update is too large"
        )
    return weights


def raw_bytes(weights: Tensor) -> memoryview:
    """The little-endian bytes of a tensor as a checkpoint stores them."""
    flat = weights.detach().to("cpu").contiguous().view(torch.uint8).flatten()
    return memoryview(flat.numpy())


def digest(weights: Tensor) -> str:
    """sha256 of dtype, shape and raw bytes; equal to `Checkpoint.digest` of the same tensor."""
    return tensor_digest(NAMES[weights.dtype], tuple(weights.shape), raw_bytes(weights))


def from_raw(entry: TensorEntry, raw: memoryview | np.ndarray) -> Tensor:  # type: ignore[type-arg]
    """The tensor a checkpoint stores, in its own dtype and layout (a copy).

    Raises: InvalidInput for a dtype that cannot be edited.
    """
    if entry.dtype not in DTYPES:
        raise InvalidInput(
            f"{entry.name} is stored as {entry.dtype}; only F32, BF16 and F16 weights can be "
            "edited: use an unquantised checkpoint"
        )
    buffer = torch.frombuffer(bytearray(raw), dtype=torch.uint8)
    return buffer.view(DTYPES[entry.dtype]).reshape(entry.shape)


def select(update: ParameterDelta, components: Iterable[int]) -> ParameterDelta:
    """The columns of a low-rank update that belong to some facts of a batch.

    Raises: InvalidInput for a dense update, which has no components.
    """
    if isinstance(update, LowRank):
        chosen = list(components)
        return LowRank(update.u[:, chosen].contiguous(), update.v[chosen].contiguous())
    raise InvalidInput("a dense update cannot be taken apart: revert the whole batch")
