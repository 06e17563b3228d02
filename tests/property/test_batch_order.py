"""P12: a batch is its facts one after the other, and where their columns stand is no matter.

Each case is recorded in three ways in one ledger: as a batch; as a batch whose object has the
columns in another order; fact by fact. The same is then taken out and put back, at once and one by
one, and the weights have the same bits. The order of the facts does decide, as that of edits does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pytest
import torch

from editors.delta import Delta, LowRank
from ledger import Ledger
from ledger.deltas import encode_delta
from ledger.history import History
from ledger.weights import digest, fold
from tests.property.delta_ledger import apply, plain_base, start
from tests.property.histories import Entry
from tests.sim.given import NAMES, SHAPE, quick_disk
from tests.sim.ledger_sample import fact

pytestmark = pytest.mark.promise("P12")

CASES = [20, pytest.param(2000, marks=pytest.mark.slow)]
Ops = Sequence[tuple[str, Sequence[int]]]


class Case:
    """Facts that were solved together, as random columns; one large one takes another back.

    Where large terms cancel, every bit of the small ones counts, and with it the order.
    """

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.count = int(self.rng.integers(3, 5))
        picked = self.rng.permutation(NAMES)[: self.rng.integers(1, len(NAMES) + 1)]
        self.columns = {str(name): self._columns() for name in picked}

    def _columns(self) -> tuple[np.ndarray, np.ndarray]:
        one, other = self.rng.choice(self.count, 2, replace=False)
        sizes = 10.0 ** self.rng.uniform(-9, -6, self.count)
        sizes[other] = 10.0 ** self.rng.uniform(1, 4)
        u = self.rng.standard_normal((SHAPE[0], self.count)) * sizes
        v = self.rng.standard_normal((self.count, SHAPE[1]))
        u[:, one], v[one] = -u[:, other], v[other]
        return u.astype(np.float32), v.astype(np.float32)

    def delta(self, places: Sequence[int]) -> Delta:
        """The facts with these numbers, as the columns of one object."""
        parts = self.columns.items()
        tensors = {n: (u[:, places].copy(), v[list(places)].copy()) for n, (u, v) in parts}
        return Delta({n: LowRank(*map(torch.from_numpy, uv)) for n, uv in tensors.items()})

    def shuffled(self, items: Sequence[int]) -> list[int]:
        return [int(item) for item in self.rng.permutation(items)]

    def some(self, items: Sequence[int]) -> list[int]:
        """One of them or more."""
        return self.shuffled(items)[: int(self.rng.integers(1, len(items) + 1))]


class World(NamedTuple):
    """A ledger whose base is next to nothing, so that no bit of what is added is lost in it."""

    ledger: Ledger
    base: Mapping[str, torch.Tensor]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    place, generator = tmp_path_factory.mktemp("batches"), torch.Generator().manual_seed(0)
    base = {name: torch.randn(SHAPE, generator=generator) * 1e-9 for name in NAMES}
    with quick_disk():
        ledger = start(place / "ledger", plain_base(place / "base", base, "llama"))
        yield World(ledger, base)
        ledger.close()


def batch(world: World, case: Case, places: Sequence[int]) -> tuple[int, ...]:
    """One batch of the case's facts in their order; fact i has the column places.index(i)."""
    stated = [fact(f"Rome {number}", places.index(number)) for number in sorted(places)]
    return apply(world.ledger, case.delta(places), stated=stated, tensors={})


def one_by_one(world: World, case: Case, numbers: Sequence[int]) -> tuple[int, ...]:
    return tuple(edit for number in numbers for edit in batch(world, case, [number]))


def weights(world: World, ops: Ops) -> dict[str, str]:
    """The digests of the matrices after a history of these changes alone."""
    history = History([Entry(1, 0, "init", ())])
    for op, edits in ops:
        history = history.after([Entry(history.seq + 1, history.head + 1, op, tuple(edits))])
    plan = world.ledger.workspace.versions.plan(history.active())
    folded = {name: fold(world.base[name], plan[name], transposed=False) for name in plan}
    return {name: digest(tensor) for name, tensor in folded.items()}


def singly(op: str, edits: Sequence[int]) -> Ops:
    return [(op, (edit,)) for edit in edits]


@pytest.mark.parametrize("count", CASES)
def test_a_batch_is_its_facts_one_after_the_other(world: World, count: int, figure):
    earlier = one_by_one(world, Case(0), [0, 1])
    for seed in range(count):
        case = Case(seed)
        facts = range(case.count)
        together, elsewhere = batch(world, case, facts), batch(world, case, case.shuffled(facts))
        alone = one_by_one(world, case, facts)
        going = case.some(facts)
        back = case.some(going)
        ways: tuple[tuple[Sequence[int], Ops], ...] = (
            (together, [("apply", together)]),
            (elsewhere, [("apply", elsewhere)]),
            (alone, singly("apply", alone)),
        )
        for more in ([], [("revert", going)], [("revert", going), ("reapply", back)]):
            found = []
            for edits, came in ways:
                at_once = [(op, [edits[i] for i in case.shuffled(which)]) for op, which in more]
                slowly = [change for op, which in at_once for change in singly(op, which)]
                found += [weights(world, [("apply", earlier), *came, *at_once])]
                found += [weights(world, [("apply", earlier), *came, *slowly])]
            assert found == found[:1] * len(found), (seed, more)
    figure(
        "P12", "a batch, its columns elsewhere, its facts one by one: {} times equal bits", count
    )


@pytest.mark.parametrize("count", CASES)
def test_the_matrices_of_a_batch_have_no_order(count: int, figure):
    for seed in range(count):
        delta = Case(seed).delta([0, 1])
        turned = Delta(dict(reversed(delta.parameters.items())))
        one, other = (
            encode_delta(d, method="given", base_digest="0" * 64) for d in (delta, turned)
        )
        assert one == other, seed
    figure("P12", "the matrices of a batch named in two orders: {} objects, equal bytes", count)


def test_the_facts_of_a_batch_do_not_commute(world: World):
    """Else the first test would prove nothing about order."""
    different = 0
    for seed in range(20):
        case = Case(seed)
        facts = range(case.count)
        told, turned = (one_by_one(world, case, order) for order in (facts, facts[::-1]))
        found = [weights(world, singly("apply", edits)) for edits in (told, turned)]
        different += found[0] != found[1]
    assert different >= 15
