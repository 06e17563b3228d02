"""Random ledgers of one matrix: a base, updates, and the active sets that its history went through.

Rules: everything follows from the seed, so a failure is repeated with its seed; numbers of edits
are shuffled, so that ledger order is not numeric order; the last step reverts everything.

case = Case.random(seed, "BF16", transposed=True)
for active in case.steps: ...
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch

from editors.delta import Dense, LowRank, ParameterDelta
from ledger.history import History
from tests.property.fold_by_hand import DTYPES

ROWS = (1, 2, 3, 5, 7, 17, 33)
COLS = (1, 2, 3, 5, 9, 13)
SPECIAL = (0.0, -0.0, 1.0, 1e-7, -6e-8, 1e-30, -1e-38)
STEPS = 3


class Entry(NamedTuple):
    """As much of an entry as a history needs."""

    seq: int
    version: int
    op: str
    edits: tuple[int, ...]
    payload: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Case:
    """`steps` are the active edits in ledger order after each operation and at looks back."""

    base: torch.Tensor
    dtype: str
    transposed: bool
    updates: dict[int, ParameterDelta]
    steps: tuple[tuple[int, ...], ...]

    @classmethod
    def random(cls, seed: int, dtype: str, transposed: bool) -> Case:
        rng = np.random.default_rng((seed, len(dtype), transposed))
        rows, cols = int(rng.choice(ROWS)), int(rng.choice(COLS))
        base = _base(rng, rows, cols).to(DTYPES[dtype])
        shape = (cols, rows) if transposed else (rows, cols)
        numbers = [int(n) for n in rng.permutation(np.arange(1, 5))]
        updates = _updates(rng, numbers, *shape)
        return cls(base, dtype, transposed, updates, tuple(_walk(rng, numbers)))


def _base(rng: np.random.Generator, rows: int, cols: int) -> torch.Tensor:
    values = rng.standard_normal((rows, cols)) * 10.0 ** rng.uniform(-9, 1)
    special = rng.choice(SPECIAL, size=(rows, cols))
    return torch.from_numpy(np.where(rng.random((rows, cols)) < 0.3, special, values))


def _updates(
    rng: np.random.Generator, numbers: list[int], d_out: int, d_in: int
) -> dict[int, ParameterDelta]:
    """Low-rank updates and a few dense ones; entries of about 1e-6 to 1e2.

    Some are the exact opposite of another: where large terms cancel, every bit of the small ones
    counts, and with it the order of the sum.
    """
    found: dict[int, ParameterDelta] = {}
    for number in numbers:
        if found and rng.random() < 0.4:
            found[number] = _opposite(found[int(rng.choice(list(found)))])
            continue
        scale = 10.0 ** rng.uniform(-6, 2)
        rank = int(rng.integers(1, 4))
        if rng.random() < 0.1:
            found[number] = Dense(_single(rng.standard_normal((d_out, d_in)) * scale))
            continue
        u = rng.standard_normal((d_out, rank)) * scale**0.5
        v = rng.standard_normal((rank, d_in)) * scale**0.5
        found[number] = LowRank(_single(u), _single(v))
    return found


def _opposite(update: ParameterDelta) -> ParameterDelta:
    return Dense(-update.w) if isinstance(update, Dense) else LowRank(-update.u, update.v)


def _single(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32))


def _walk(rng: np.random.Generator, numbers: list[int]) -> list[tuple[int, ...]]:
    """Every operation at random, looking back now and then; at last revert everything."""
    history = History([Entry(1, 0, "init", ())])
    order: list[int] = []
    active: set[int] = set()
    steps: list[tuple[int, ...]] = []

    def do(op: str, edits: list[int]) -> None:
        nonlocal history, active
        entry = Entry(history.seq + 1, history.head + 1, op, tuple(edits))
        history = history.after([entry])
        order.extend(edits if op == "apply" else ())
        gone = active & set(edits) if op in ("revert", "swap") else set()
        active = (active | set(edits)) - gone
        steps.append(history.active())
        assert steps[-1] == tuple(number for number in order if number in active)

    do("apply", numbers[: int(rng.integers(1, 4))])
    for _ in range(STEPS):
        fresh, back = numbers[len(order) :], [n for n in order if n not in active]
        options = {"apply": fresh, "revert": sorted(active), "reapply": back, "swap": order}
        op = str(rng.choice([name for name, edits in options.items() if edits]))
        some = int(rng.integers(1, len(options[op]) + 1))
        picked = fresh[:some] if op == "apply" else rng.permutation(options[op])[:some]
        do(op, [int(number) for number in picked])
        if rng.random() < 0.2:
            steps.append(history.active(int(rng.integers(0, history.head + 1))))
    if active:
        do("revert", sorted(active))
    return [*steps, history.active()]
