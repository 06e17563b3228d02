"""P12: where the ledger says that the order makes no difference, it makes none, bit for bit.

Edits of different matrices commute; an edit that came and went might never have been made; reverts
and reapplies lead to the same weights in whatever order they are done. Between edits of one matrix
the order decides the last bit, and that is shown too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ledger.chain import weights_digest
from ledger.history import History
from ledger.weights import digest
from tests.property.histories import Case, Entry
from tests.property.machines import RIGHT

pytestmark = pytest.mark.promise("P12")

MATRICES, DTYPES = 3, ("F32", "BF16", "F16")
HISTORIES = [40, pytest.param(2000, marks=pytest.mark.slow)]
BASE = "0" * 64
Ops = Sequence[tuple[str, tuple[int, ...]]]


class Model:
    """Some matrices with edits of their own: edit `4 * m + k` is edit k of matrix m."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.cases = [
            Case.random(seed * MATRICES + m, DTYPES[(seed + m) % 3], bool((seed + m) % 2))
            for m in range(MATRICES)
        ]

    def edits(self) -> list[int]:
        return [4 * m + k for m, case in enumerate(self.cases) for k in sorted(case.updates)]

    def weights(self, ops: Ops) -> str:
        """The digest after a history, by both ways to fold."""
        history = History([Entry(1, 0, "init", ())])
        shown = [[machine(case) for machine in RIGHT] for case in self.cases]
        found: dict[str, str] = {}
        for op, edits in ops:
            history = history.after([Entry(history.seq + 1, history.head + 1, op, edits)])
            for m, machines in enumerate(shown):
                active = tuple(e - 4 * m for e in history.active() if 0 < e - 4 * m <= 4)
                folded = {digest(machine.show(active)) for machine in machines}
                (found[str(m)],) = folded
        return weights_digest(BASE, found)

    def shuffled(self, items: Sequence[int]) -> list[int]:
        return [int(item) for item in self.rng.permutation(items)]


def one_by_one(op: str, edits: Sequence[int]) -> Ops:
    return [(op, (edit,)) for edit in edits]


def interleaved(model: Model) -> Ops:
    """The edits of each matrix in their order, the matrices mixed anew."""
    queues = {m: [e for e in model.edits() if (e - 1) // 4 == m] for m in range(MATRICES)}
    turns = model.shuffled([m for m, queue in queues.items() for _ in queue])
    return one_by_one("apply", [queues[m].pop(0) for m in turns])


@pytest.mark.parametrize("count", HISTORIES)
def test_edits_of_different_matrices_commute(count: int, figure):
    for seed in range(count):
        model = Model(seed)
        assert model.weights(interleaved(model)) == model.weights(interleaved(model)), seed
    figure("P12", "edits of different matrices: {} histories in two orders, equal bits", count)


@pytest.mark.parametrize("count", HISTORIES)
def test_an_edit_that_came_and_went_might_never_have_been_made(count: int, figure):
    for seed in range(count):
        model = Model(seed)
        edits = model.shuffled(model.edits())
        gone = edits[int(model.rng.integers(len(edits)))]
        came = edits.index(gone)
        went = int(model.rng.integers(came + 1, len(edits) + 1))
        with_it = [*one_by_one("apply", edits[:went]), ("revert", (gone,))]
        with_it += one_by_one("apply", edits[went:])
        without = one_by_one("apply", [edit for edit in edits if edit != gone])
        assert model.weights(with_it) == model.weights(without), seed
    figure("P12", "an edit made and taken out: {} histories with and without it, equal bits", count)


@pytest.mark.parametrize("count", HISTORIES)
def test_reverts_and_reapplies_lead_to_one_end_in_any_order(count: int, figure):
    for seed in range(count):
        model = Model(seed)
        edits = model.edits()
        going = model.shuffled(edits)[: int(model.rng.integers(1, len(edits)))]
        back = going[: int(model.rng.integers(0, len(going)))]
        first = one_by_one("apply", edits)
        at_once: Ops = [("revert", tuple(going)), *([("reapply", tuple(back))] if back else [])]
        singly = [
            *one_by_one("revert", model.shuffled(going)),
            *one_by_one("reapply", model.shuffled(back)),
        ]
        assert model.weights([*first, *at_once]) == model.weights([*first, *singly]), seed
    figure("P12", "reverts and reapplies: {} histories at once and one by one, equal bits", count)


def test_edits_of_one_matrix_do_not_commute():
    """Else the tests above would prove nothing about order."""
    different = 0
    for seed in range(100):
        model = Model(seed)
        edits = model.edits()
        other = one_by_one("apply", edits[::-1])
        different += model.weights(one_by_one("apply", edits)) != model.weights(other)
    assert different >= 5
