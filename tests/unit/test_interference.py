"""Disturbance from stored factors equals what whole matrices, formed by hand, do at the keys."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from editors.delta import Delta, Dense, LowRank, ParameterDelta
from ledger import Ledger
from ledger.errors import InvalidInput, NotActive
from ledger.interference import disturbed, everything, left_without, measured, own_sizes
from tests.property.delta_ledger import apply, plain_base, start

SHAPES = {
    "model.layers.0.mlp.down_proj.weight": (5, 7),
    "model.layers.1.mlp.down_proj.weight": (4, 6),
}
ONE, TWO = SHAPES
Matrices = dict[str, Tensor]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    base = plain_base(tmp_path / "base", {n: torch.zeros(s) for n, s in SHAPES.items()}, "llama")
    with start(tmp_path / "ledger", base) as ledger:
        yield ledger


def delta(
    seed: int, *, rank: int = 1, facts: int = 1, names: tuple[str, ...] = (ONE, TWO)
) -> Delta:
    """Random factors; a column a fact, or `rank` of a single fact; a key and a value for each."""
    rng = torch.Generator().manual_seed(seed)
    columns = facts if facts > 1 else rank
    changes, keys, values = {}, {}, {}
    for name in names:
        d, m = SHAPES[name]
        changes[name] = LowRank(
            torch.randn(d, columns, generator=rng), torch.randn(columns, m, generator=rng)
        )
        keys[name] = torch.randn(m, columns, generator=rng)
        values[name] = torch.randn(d, columns, generator=rng)
    return Delta(changes, keys, values)


def dense(seed: int) -> Delta:
    return Delta({ONE: Dense(torch.randn(5, 7, generator=torch.Generator().manual_seed(seed)))})


class ByHand:
    """Whole matrices of every edit, and the key of every edit that has one."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.matrix: dict[int, Matrices] = {}
        self.key: dict[int, Matrices] = {}
        self.then: dict[int, set[int]] = {}

    def add(self, made: Delta, facts: int = 1) -> tuple[int, ...]:
        edits = apply(self.ledger, made, facts)
        for place, edit in enumerate(edits):
            pick = [place] if facts > 1 else slice(None)
            self.matrix[edit] = {
                name: (c.u[:, pick] @ c.v[pick] if isinstance(c, LowRank) else c.w).double()
                for name, c in made.parameters.items()
            }
            first = place if facts > 1 else 0
            self.key[edit] = {name: keys[:, first].double() for name, keys in made.keys.items()}
            self.then[edit] = self.now()
        return edits

    def now(self) -> set[int]:
        return set(self.ledger.journal.history().active())

    def at(self, signs: dict[int, int], j: int) -> float:
        """||sum of signed matrices times the key of j|| over all parameters."""
        square = 0.0
        for name, key in self.key[j].items():
            moved = [
                s * self.matrix[i][name] @ key for i, s in signs.items() if name in self.matrix[i]
            ]
            square += float(sum(moved).square().sum()) if moved else 0.0
        return square**0.5

    def share(self, i: int, j: int) -> float:
        return self.at({i: 1}, j) / self.at({j: 1}, j)

    def drift(self, j: int, dense_twins: frozenset[int] = frozenset()) -> float:
        now, then = self.now() - dense_twins, self.then[j] - dense_twins
        signs = dict.fromkeys(now - then, 1) | dict.fromkeys(then - now, -1)
        return self.at(signs, j) / self.at({j: 1}, j)


def history(ledger: Ledger, seed: int) -> ByHand:
    rng = random.Random(seed)
    hand = ByHand(ledger)
    hand.add(delta(seed))
    for step in range(1, 14):
        number = 1000 * seed + step
        gone = sorted(set(hand.matrix) - hand.now())
        choice = rng.random()
        if choice < 0.25 and len(hand.now()) > 2:
            ledger.revert([str(edit) for edit in rng.sample(sorted(hand.now()), 2)], retest=False)
        elif choice < 0.35 and gone:
            ledger.reapply([str(rng.choice(gone))])
        elif choice < 0.5:
            hand.add(delta(number, facts=3), 3)
        elif choice < 0.65:
            hand.add(delta(number, rank=2, names=(ONE,)))
        else:
            hand.add(delta(number, names=rng.choice([(ONE,), (TWO,), (ONE, TWO)])))
    return hand


@pytest.mark.parametrize("seed", range(4))
def test_shares_and_drift_are_those_of_whole_matrices(ledger: Ledger, seed: int) -> None:
    hand = history(ledger, seed)
    found = everything(ledger.workspace.versions, ledger.journal.history())
    assert set(found.edits) == set(hand.matrix)
    assert set(found.active) == hand.now()
    assert not found.effects.share.isnan().any()
    for column, j in enumerate(found.active):
        assert found.drift(j) == pytest.approx(hand.drift(j), rel=1e-4, abs=1e-6)
        for row, i in enumerate(found.edits):
            assert float(found.effects.share[row, column]) == pytest.approx(
                hand.share(i, j), rel=1e-4, abs=1e-6
            )


@pytest.mark.parametrize("seed", range(2))
def test_what_came_or_went_is_what_an_edit_moved(ledger: Ledger, seed: int) -> None:
    hand = history(ledger, seed)
    found, now = everything(ledger.workspace.versions, ledger.journal.history()), hand.now()
    for i in hand.matrix:
        moved = {j for j in now if j != i and (i in now) != (i in hand.then[j])}
        assert {item.edit for item in found.moved_by(i, 0.0)} == {
            j for j in moved if hand.share(i, j) > 0
        }
        shares = [item.share for item in found.moved_by(i, 0.3)]
        assert shares == sorted(shares, reverse=True)
        assert all(share > 0.3 for share in shares)
        if i in now:
            with_it = {j for j in now if j != i and i in hand.then[j] and hand.share(i, j) > 0}
            assert {item.edit for item in found.would_move(i, 0.0)} == with_it


def test_a_revert_is_told_what_it_moves(ledger: Ledger) -> None:
    hand = history(ledger, 2)
    now = sorted(hand.now())
    going = now[:2]
    found = left_without(ledger.workspace.versions, ledger.journal.history(), going)
    expected = {
        j: hand.at(dict.fromkeys(set(going) & hand.then[j], 1), j) / hand.at({j: 1}, j)
        for j in now[2:]
    }
    told = {item.edit: item.share for item in found}
    assert set(told) == {j for j, share in expected.items() if share > 0.1}
    assert told == pytest.approx({j: expected[j] for j in told}, rel=1e-4)
    assert told
    before = ledger.status()
    planned = ledger.revert([str(edit) for edit in going], dry_run=True)
    assert (planned.dry_run, planned.disturbs) == (True, found)
    assert ledger.status() == before
    done = ledger.revert([str(edit) for edit in going], retest=False)
    assert (done.dry_run, done.disturbs) == (False, found)
    with pytest.raises(NotActive):
        ledger.revert([str(going[0])], dry_run=True)


def test_a_new_batch_disturbs_with_all_its_columns(ledger: Ledger) -> None:
    hand = history(ledger, 1)
    earlier, new = sorted(hand.now()), delta(77, facts=3)
    told = disturbed(ledger.workspace.versions, new, earlier)
    edits = hand.add(new, 3)
    expected = {j: hand.at(dict.fromkeys(edits, 1), j) / hand.at({j: 1}, j) for j in earlier}
    assert {item.edit: item.share for item in told} == pytest.approx(
        {j: share for j, share in expected.items() if share > 0.1}, rel=1e-4
    )


def test_a_dense_change_disturbs_once_and_cannot_be_disturbed(ledger: Ledger) -> None:
    hand = ByHand(ledger)
    (first,) = hand.add(delta(0))
    one, two = hand.add(dense(1), facts=2)
    found = everything(ledger.workspace.versions, ledger.journal.history())
    assert found.drift(one) is None
    assert found.drift(first) == pytest.approx(hand.drift(first, frozenset([two])), rel=1e-4)
    assert {item.edit for item in found.movers(first, 0.0)} == {one, two}
    view = ledger.interference()
    assert [row.edit for row in view.rows] == [first, one, two]
    assert [row.drift is None for row in view.rows] == [False, True, True]


def test_an_edit_that_does_nothing_at_its_own_key_has_no_unit(ledger: Ledger) -> None:
    made = delta(0, names=(ONE,))
    change: ParameterDelta = LowRank(torch.zeros(5, 1) + 1, torch.zeros(1, 7) + 0.0)
    edits = apply(ledger, Delta({ONE: change}, dict(made.keys), dict(made.values)))
    parts = ledger.workspace.versions.parts(edits)
    assert own_sizes(parts).isnan().all()
    assert measured(parts, parts).share.isnan().all()


def test_what_the_ledger_is_asked_is_checked(ledger: Ledger) -> None:
    hand = ByHand(ledger)
    hand.add(delta(0))
    hand.add(delta(1))
    assert ledger.interference().rows[0].edit == 1
    assert ledger.interference("1", at="v1").disturbs == ()
    assert [item.edit for item in ledger.interference("2", threshold=0.0).disturbs] == [1]
    for threshold in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InvalidInput, match="threshold"):
            ledger.interference(threshold=threshold)
    with pytest.raises(InvalidInput, match="never applied"):
        ledger.interference("2", at="v1")
