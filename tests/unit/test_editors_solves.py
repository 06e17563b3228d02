"""The small systems equal the large ones they stand for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from editors.covariance import SecondMoment, identity
from editors.errors import EditFailed
from editors.solves import NullSpace, moment_prior, push_through, times

M, N, P = 20, 4, 3


def moment(seed: int = 0) -> SecondMoment:
    generator = torch.Generator().manual_seed(seed)
    samples = torch.randn(200, M, generator=generator, dtype=torch.float64)
    samples *= torch.logspace(0, -2, M, dtype=torch.float64)
    return SecondMoment.of(samples.T @ samples / 200, 200)


def keys(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(M, count, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("weight", [0.1, 1.0, 15000.0])
@pytest.mark.parametrize("previous", [None, keys(P, 2)])
def test_push_through_equals_the_inverse_of_the_large_system(
    weight: float, previous: Tensor | None
) -> None:
    c, k = moment(), keys(N, 1)
    held = torch.zeros(M, 0, dtype=torch.float64) if previous is None else previous
    expected = torch.linalg.solve(weight * c.moment + held @ held.T + k @ k.T, k)
    found = push_through(moment_prior(c, weight), k, ridge=1.0, previous=previous)
    assert float((found.columns - expected).norm() / expected.norm()) < 1e-9
    assert found.condition >= 1


def test_a_ridge_on_the_prior_is_added_to_the_weighted_moment() -> None:
    c, k = moment(), keys(N, 1)
    expected = torch.linalg.solve(5.0 * c.moment + 0.3 * torch.eye(M, dtype=torch.float64), k)
    assert torch.allclose(moment_prior(c, 5.0, 0.3)(k), expected, rtol=1e-9)


def test_without_a_ridge_the_columns_are_dual_to_the_keys() -> None:
    k = keys(N, 1)
    found = push_through(moment_prior(moment(), 3.0), k, ridge=0.0).columns
    assert torch.allclose(found.T @ k, torch.eye(N, dtype=torch.float64), atol=1e-9)


def test_equal_keys_without_a_ridge_are_refused() -> None:
    k = keys(1, 1).repeat(1, 2)
    with pytest.raises(EditFailed, match="keys are the same"):
        push_through(moment_prior(identity(M), 1.0), k, ridge=0.0)
    assert push_through(moment_prior(identity(M), 1.0), k, ridge=1.0).columns.shape == (M, 2)


def test_the_null_space_keeps_the_smallest_eigenvalues() -> None:
    c = moment()
    values, vectors = c.spectrum
    by_value = NullSpace.of(c, float(values[12] + values[13]) / 2, "absolute")
    assert by_value.rank == 13
    share = float(values[:13].sum() / values.sum())
    by_energy = NullSpace.of(c, share + 1e-9, "energy")
    assert by_energy.rank == 13
    assert by_energy.energy == pytest.approx(share)
    p = by_energy.project(torch.eye(M))
    assert torch.allclose(p @ p, p, atol=1e-12)
    assert torch.allclose(p, vectors[:, :13] @ vectors[:, :13].T, atol=1e-12)


def test_products_are_float32_in_float64() -> None:
    weight, vectors = torch.randn(5, M).bfloat16(), torch.randn(M, 2)
    assert times(weight, vectors).dtype == torch.float64
    assert torch.equal(times(weight, vectors), (weight.float() @ vectors).double())
