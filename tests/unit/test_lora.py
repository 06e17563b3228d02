"""The columns of an adapter fold to the version's bits; a compressed one is off by float32 only."""

from __future__ import annotations

import pytest
import torch

from editors.delta import Dense, LowRank
from ledger.errors import InvalidInput
from ledger.lora import TOLERANCE, Pair, balanced, compressed, joined, padded
from ledger.weights import fold

SHAPES = [(6, 9, (1, 3, 1)), (12, 5, (2,)), (7, 7, (1,) * 9)]


def updates(d_out: int, d_in: int, ranks: tuple[int, ...], seed: int = 0) -> list[LowRank]:
    torch.manual_seed(seed)
    scales = [10.0 ** (seed % 5 - 2 * n % 7) for n in range(len(ranks))]
    return [LowRank(torch.randn(d_out, r) * s, torch.randn(r, d_in) / s)
            for r, s in zip(ranks, scales, strict=True)]  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("transposed", [False, True])
def test_the_fold_of_the_adapter_is_the_fold_of_the_edits(shape, dtype, transposed, seed):
    given = updates(*shape, seed=seed)
    base = torch.randn(shape[:2]).to(dtype)
    base[0, 0] = -0.0  # adding a column of zeros would change it
    base = base.T.contiguous() if transposed else base
    pair = padded(balanced(joined("w", given)), sum(shape[2]) + 4)
    assert pair.a.shape == (sum(shape[2]) + 4, shape[1])
    wanted = fold(base, given, transposed=transposed)
    got = fold(base, pair.updates(), transposed=transposed)
    assert torch.equal(got.view(torch.uint8), wanted.view(torch.uint8))


def test_columns_are_balanced_to_within_a_factor_of_two():
    pair = balanced(joined("w", updates(40, 30, (1,) * 8, seed=3)))
    ratio = pair.b.norm(dim=0) / pair.a.norm(dim=1)
    assert bool(((ratio > 0.49) & (ratio < 2.05)).all())


def test_a_column_that_scaling_would_round_stays_as_it_is():
    u, v = torch.tensor([[1e20], [1e-45]]), torch.tensor([[1e-20, 1e-20]])
    pair = balanced(joined("w", [LowRank(u, v)]))
    assert torch.equal(pair.b, u)
    assert torch.equal(pair.a, v)


def test_a_column_of_zeros_stays():
    pair = balanced(joined("w", [LowRank(torch.zeros(3, 1), torch.ones(1, 4))]))
    assert torch.equal(pair.a, torch.ones(1, 4))
    assert pair.updates() == []


def test_compression_joins_equal_keys_and_says_what_it_lost():
    torch.manual_seed(1)
    key = torch.randn(1, 30)
    same = [LowRank(torch.randn(20, 1), key * (n + 1)) for n in range(6)]
    other = LowRank(torch.randn(20, 2), torch.randn(2, 30))
    pair = joined("w", [*same, other])
    small, error = compressed(pair)
    assert (pair.rank, small.rank) == (8, 3)
    wanted = pair.b.double() @ pair.a.double()
    got = small.b.double() @ small.a.double()
    true = float((got - wanted).norm() / wanted.norm())
    assert error == pytest.approx(true, rel=1e-3)
    assert error < 4 * TOLERANCE


def test_compression_is_bounded_by_the_size_of_the_matrix():
    pair = joined("w", updates(7, 50, (1,) * 40, seed=2))
    small, error = compressed(pair)
    assert small.rank == 7
    assert error < 4 * TOLERANCE


def test_compression_of_nothing_is_one_column_of_zeros():
    small, error = compressed(Pair(torch.zeros(3, 2), torch.ones(2, 4)))
    assert (small.rank, error) == (1, 0.0)


def test_a_dense_update_is_refused_with_the_reason():
    with pytest.raises(InvalidInput, match="w is changed by a dense matrix"):
        joined("w", [*updates(3, 3, (1,)), Dense(torch.ones(3, 3))])
