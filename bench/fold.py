"""What the fold costs: one component beside a copy of the tensor, many beside one product.

A product `u @ v` is not the fold: it adds in another order and has other last bits. It is what the
same arithmetic costs at best.
"""

from __future__ import annotations

from pathlib import Path

import torch

from bench.clock import in_turns
from bench.given import update
from bench.table import Row
from ledger.weights import fold

SHAPE = (4096, 7168)
PART = (1024, 7168)  # for 1,000 components: with all rows it would take minutes
MORE = 32


def measure(_folder: Path) -> list[Row]:
    """One component, 64 and 1,000."""
    base = torch.empty(SHAPE, dtype=torch.bfloat16).normal_(0.0, 0.02)
    part = base[: PART[0]].clone()
    return [_one(base), *_many(base, 64, repeats=5, goal=0.5), *_many(part, 1000, 3, goal=4.0)]


def _one(base: torch.Tensor) -> Row:
    updates = [update(SHAPE, seed) for seed in range(1 + MORE)]
    target = torch.empty_like(base)
    few, many, copy = in_turns(
        [
            lambda: fold(base, updates[:1], transposed=False),
            lambda: fold(base, updates, transposed=False),
            lambda: target.copy_(base),
        ],
        repeats=7,
    )
    each = max(0.0, many - few) / MORE
    what = f"one more component, {SHAPE[0]} x {SHAPE[1]}"
    return Row("fold", what, each * 1e3, "ms", "copy of the bf16 tensor", copy * 1e3, goal=1.0)


def _many(base: torch.Tensor, count: int, repeats: int, goal: float) -> list[Row]:
    updates = [update(base.shape, seed) for seed in range(count)]
    u = torch.cat([change.u for change in updates], dim=1).double()
    v = torch.cat([change.v for change in updates]).double()
    folded, product, merged = in_turns(
        [
            lambda: fold(base, updates, transposed=False),
            lambda: u @ v,
            lambda: (base.double() + u @ v).to(base.dtype),
        ],
        repeats,
    )
    what = f"{count:,} components, {base.shape[0]} x {base.shape[1]}"
    return [
        Row("fold", what, folded * 1e3, "ms", "u @ v in float64", product * 1e3, goal=goal),
        Row("fold", what, folded * 1e3, "ms", "(W + u @ v) in float64, cast", merged * 1e3),
    ]
