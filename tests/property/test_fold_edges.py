"""The fold where rounding is hardest: ties, cancellation, signed zeros, overflow, many threads.

Every case is checked against the fold by hand and, where one number decides, against exact
arithmetic written out.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
import torch

from editors.delta import Dense, LowRank, ParameterDelta
from ledger.errors import InvalidInput
from ledger.weights import FEW, Accumulator, fold
from tests.property import fold_by_hand as hand

pytestmark = pytest.mark.promise("P3")

# dtype, base, update, result: each update leads to a sum that lies on, or just beside, the middle
# between two neighbours of the dtype, after the rounding to float32.
TIES = [
    ("BF16", 1.0, 2.0**-8, 1.0),
    ("BF16", 1.0, 3 * 2.0**-8, 1.0 + 2.0**-6),
    ("BF16", -1.0, -(2.0**-8), -1.0),
    ("BF16", 1.0, 2.0**-8 + 2.0**-23, 1.0 + 2.0**-7),
    ("BF16", 1.0, 2.0**-8 - 2.0**-24, 1.0),
    ("F16", 1.0, 2.0**-11, 1.0),
    ("F16", 1.0, 3 * 2.0**-11, 1.0 + 2.0**-9),
    ("F16", 0.0, 2.0**-25, 0.0),
    ("F16", 0.0, 3 * 2.0**-25, 2.0**-23),
    ("F16", 0.0, 1023 * 2.0**-24 + 2.0**-25, 2.0**-14),
    ("F32", 1.0, 2.0**-24, 1.0),
    ("F32", 1.0, 3 * 2.0**-24, 1.0 + 2.0**-22),
    ("F32", 0.0, 2.0**-149, 2.0**-149),
    ("BF16", 0.0, 2.0**-133, 2.0**-133),
    ("BF16", 0.0, 2.0**-134, 0.0),
    ("BF16", 0.0, 3 * 2.0**-134, 2.0**-132),
]
# Here the rounding to float32 makes a tie of what was none: rounding once would give `direct`.
DOUBLE = [
    ("BF16", 1.0, 2.0**-8 + 2.0**-31, 1.0, 1.0 + 2.0**-7),
    ("BF16", 1.0 + 2.0**-7, 2.0**-8 - 2.0**-31, 1.0 + 2.0**-6, 1.0 + 2.0**-7),
    ("BF16", -1.0, -(2.0**-8) - 2.0**-31, -1.0, -1.0 - 2.0**-7),
    ("F16", 1.0, 2.0**-11 + 2.0**-34, 1.0, 1.0 + 2.0**-10),
    ("F16", 1.0 + 2.0**-10, 2.0**-11 - 2.0**-34, 1.0 + 2.0**-9, 1.0 + 2.0**-10),
]
MANTISSA = {"BF16": 7, "F16": 10}


def one(value: float) -> LowRank:
    return LowRank(torch.ones(1, 1), torch.tensor([[value]], dtype=torch.float32))


def both(
    base: torch.Tensor, updates: list[ParameterDelta], transposed: bool = False
) -> torch.Tensor:
    """The fold; asserts that the accumulator and the fold by hand have the same bits."""
    found = fold(base, updates, transposed=transposed)
    total = Accumulator(base, transposed=transposed)
    for update in updates:
        total.add(update)
    name = hand.NAMES[base.dtype]
    wanted = hand.fold(hand.bits_of(base), name, updates, transposed=transposed)
    assert np.array_equal(hand.bits_of(found), wanted)
    assert np.array_equal(hand.bits_of(total.weights()), wanted)
    return found


def scalar(dtype: str, value: float) -> torch.Tensor:
    return torch.tensor([[value]], dtype=hand.DTYPES[dtype])


@pytest.mark.parametrize(("dtype", "base", "update", "result"), TIES)
def test_ties_go_to_even(dtype, base, update, result):
    assert both(scalar(dtype, base), [one(update)]).item() == result


@pytest.mark.parametrize(("dtype", "base", "update", "result", "direct"), DOUBLE)
def test_the_cast_goes_through_float32(dtype, base, update, result, direct):
    assert one(update).v.item() == update
    assert rounded_once(Fraction(base) + Fraction(update), MANTISSA[dtype]) == direct != result
    assert both(scalar(dtype, base), [one(update)]).item() == result


def rounded_once(value: Fraction, bits: int) -> float:
    """The nearest number of a binary format with `bits` after the point, for 1 <= |value| < 2."""
    return float(Fraction(round(value * 2**bits), 2**bits))


def test_the_order_of_the_sum_decides_the_last_bit():
    base, small, large = scalar("F32", 0.0), one(1e-7), one(1e10)
    opposite = LowRank(-large.u, large.v)
    assert (
        both(base, [small, large, opposite]).item() != both(base, [large, opposite, small]).item()
    )


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16"])
def test_the_sign_of_zero_is_that_of_the_sum(dtype):
    minus = scalar(dtype, -0.0)
    assert np.signbit(fold(minus, [], transposed=False).float().numpy()).all()
    assert np.signbit(both(minus, [one(-0.0)]).float().numpy()).all()
    assert not np.signbit(both(minus, [one(0.0)]).float().numpy()).any()
    assert not np.signbit(both(scalar(dtype, 1.0), [one(-1.0)]).float().numpy()).any()


@pytest.mark.parametrize(
    ("dtype", "largest", "half"),
    [("F16", 65504.0, 16.0), ("BF16", 2.0**127 * (2 - 2.0**-7), 2.0**119)],
)
def test_a_sum_that_rounds_to_infinity_is_refused(dtype, largest, half):
    base = scalar(dtype, largest)
    assert both(base, [one(half * 0.99)]).item() == largest
    for bad in (half, -half):
        start = base if bad > 0 else -base
        with pytest.raises(InvalidInput, match="leave the range"):
            fold(start, [one(bad)], transposed=False)
        total = Accumulator(start, transposed=False)
        total.add(one(bad))
        with pytest.raises(InvalidInput, match="leave the range"):
            total.weights()


def test_a_sum_beyond_float32_is_refused_and_one_that_returns_is_not():
    large = LowRank(torch.full((1, 1), 1e30), torch.full((1, 1), 1e30))
    opposite = LowRank(-large.u, large.v)
    with pytest.raises(InvalidInput, match="leave the range"):
        fold(scalar("F32", 1.0), [large], transposed=False)
    assert both(scalar("F32", 1.0), [large, opposite]).item() == 0.0


def test_one_bad_weight_among_many_is_found_wherever_it_is():
    for row, column in ((0, 0), (1099, 1299), (1024, 1023), (1023, 1024)):
        base = torch.zeros(1100, 1300, dtype=torch.float16)
        w = torch.zeros(1100, 1300)
        w[row, column] = -70000.0
        with pytest.raises(InvalidInput, match="leave the range"):
            fold(base, [Dense(w)], transposed=False)
        base[row, column] = 65504.0
        assert fold(base, [Dense(w)], transposed=False)[row, column] == -4496.0


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.promise("P4")
@pytest.mark.parametrize("rank", [2, FEW])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16"])
def test_threads_do_not_change_a_bit(dtype, transposed, rank, threads):
    """1100 x 2100 spans six tiles; from `FEW` components on, torch shares out each of them."""
    rng = np.random.default_rng(5)
    base = torch.from_numpy(rng.standard_normal((1100, 2100)).astype(np.float32))
    base = base.to(hand.DTYPES[dtype])
    d_out, d_in = reversed(base.shape) if transposed else base.shape
    updates: list[ParameterDelta] = [
        LowRank(
            torch.from_numpy(rng.standard_normal((d_out, rank)).astype(np.float32)),
            torch.from_numpy((rng.standard_normal((rank, d_in)) * scale).astype(np.float32)),
        )
        for rank, scale in ((1, 1e-6), (rank, 1.0), (1, 50.0))
    ]
    updates.append(Dense(torch.from_numpy(rng.standard_normal((d_out, d_in)).astype(np.float32))))
    seen = []
    for count in (1, 2):
        torch.set_num_threads(count)
        seen.append(hand.bits_of(both(base, updates, transposed)))
    assert np.array_equal(seen[0], seen[1])
