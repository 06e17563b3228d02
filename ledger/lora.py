"""The edits of a parameter as one pair of LoRA factors.

Promise: the columns of the pair, added one at a time in float64, give the bits of the fold: nothing
is rounded on the way (unless the pair is compressed, and then the error is told).
Rules: factors in `nn.Linear` layout, float32; scaling is by powers of two only, which is exact; the
scale of the adapter is 1 (alpha = r). Dimensions: k columns, r rank of the adapter.

    pair = balanced(joined(updates))              # b [d_out, k], a [k, d_in]
    small, error = compressed(pair)               # fewer columns, relative error
    padded(pair, rank=8)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from editors.delta import MAX_RANK, LowRank, ParameterDelta
from ledger.errors import InvalidInput

# What is left out is at most half a step of float32: as much as writing the factors loses.
TOLERANCE: Final = 2.0**-24
_FARTHEST: Final = 100


@dataclass(frozen=True, eq=False)
class Pair:
    """ΔW = b @ a. Shapes: b [d_out, k], a [k, d_in], float32."""

    b: Tensor
    a: Tensor

    @property
    def rank(self) -> int:
        """k, the number of columns."""
        return self.a.shape[0]

    def updates(self) -> list[LowRank]:
        """The pair as what a fold takes, in order; columns of padding are left out."""
        used = (self.b != 0).any(dim=0) & (self.a != 0).any(dim=1)
        b, a = self.b[:, used].contiguous(), self.a[used].contiguous()
        return [
            LowRank(b[:, at : at + MAX_RANK].contiguous(), a[at : at + MAX_RANK].contiguous())
            for at in range(0, a.shape[0], MAX_RANK)
        ]


def joined(parameter: str, updates: Sequence[ParameterDelta]) -> Pair:
    """All columns of the updates of one parameter, in order.

    Raises: InvalidInput for a dense update, which no adapter can hold.
    """
    factors = [update for update in updates if isinstance(update, LowRank)]
    if len(factors) != len(updates):
        raise InvalidInput(
            f"{parameter} is changed by a dense matrix (as ft and kn store it), and an adapter "
            "holds low-rank changes only: export it merged, or revert those edits"
        )
    return Pair(
        torch.cat([factor.u for factor in factors], dim=1),
        torch.cat([factor.v for factor in factors], dim=0),
    )


def balanced(pair: Pair) -> Pair:
    """The same products with columns of about the same length on both sides.

    Each column is scaled by a power of two, and its row by the inverse; a column whose smallest
    numbers would not survive that stays as it is.
    """
    left = torch.linalg.vector_norm(pair.b, dim=0, dtype=torch.float64)
    right = torch.linalg.vector_norm(pair.a, dim=1, dtype=torch.float64)
    shift = ((right / left).log2() / 2).round()
    shift = torch.where(shift.isfinite(), shift, 0.0).clamp(-_FARTHEST, _FARTHEST)
    for _ in range(2):
        b, a = _scaled(pair.b, shift), _scaled(pair.a.T, -shift).T
        kept = (_scaled(b, -shift) == pair.b).all(0) & (_scaled(a.T, shift) == pair.a.T).all(0)
        shift = torch.where(kept, shift, 0.0)
    return Pair(b.contiguous(), a.contiguous())


def _scaled(columns: Tensor, shift: Tensor) -> Tensor:
    """Columns times 2 ** shift. In float64 no power of two is out of range."""
    return (columns.double() * torch.exp2(shift)).float()


def compressed(pair: Pair) -> tuple[Pair, float]:
    """The sum in as few columns as float32 can tell apart, and the relative error of it.

    QR of both sides, singular values of the small core; the values that are left out have together
    at most `TOLERANCE` of the norm. Error: Frobenius norm of the difference over that of the sum.
    """
    left, upper = torch.linalg.qr(pair.b.double())
    right, lower = torch.linalg.qr(pair.a.double().T)
    U, S, Vt = torch.linalg.svd(upper @ lower.T, full_matrices=False)
    total = torch.linalg.vector_norm(S)
    tail = S.square().flip(0).cumsum(0).flip(0).sqrt()
    rank = max(1, int((tail > TOLERANCE * total).sum()))
    root = S[:rank].sqrt()
    small = Pair(
        ((left @ U[:, :rank]) * root).float().contiguous(),
        (root[:, None] * (right @ Vt[:rank].T).T).float().contiguous(),
    )
    return small, _difference(pair, small) / float(total) if total else 0.0


def _difference(first: Pair, second: Pair) -> float:
    """Frobenius norm of the difference of two sums, without forming either."""
    columns = torch.cat([first.b.double(), -second.b.double()], dim=1)
    rows = torch.cat([first.a.double(), second.a.double()], dim=0)
    core = torch.linalg.qr(columns).R @ torch.linalg.qr(rows.T).R.T
    return float(torch.linalg.vector_norm(core))


def padded(pair: Pair, rank: int) -> Pair:
    """The same sum with columns of zeros up to `rank`."""
    more = rank - pair.rank
    return Pair(
        torch.nn.functional.pad(pair.b, (0, more)).contiguous(),
        torch.nn.functional.pad(pair.a, (0, 0, 0, more)).contiguous(),
    )
