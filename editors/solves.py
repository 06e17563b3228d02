"""The closed forms of the locate-and-edit family, as one small linear system.

Promise: no inverse is formed and nothing of size m x m is factorised here; everything is float64.
Rules: every update is R @ Xᵀ with X = A^-1 G (Gᵀ A^-1 G + ridge I)^-1 (the columns of the new keys
only), where G = [previous keys, new keys] and A says what is to be left alone: λC (MEMIT, PMET,
EMMET), C (constraints), or the pseudo-inverse of a projection (AlphaEdit). With ridge 1 this is
(A + G Gᵀ)^-1 K by the push-through identity; with ridge 0 the constraints (W + ΔW) K = V hold
exactly. Dimensions: m MLP width, n new keys, p previous keys.

    solved = push_through(moment_prior(context.second_moment(5), 15000.0), keys, ridge=1.0)
    delta = residuals @ solved.columns.T                  # [d, n] @ [n, m]
    null = NullSpace.of(context.second_moment(5), 0.02, "energy")
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from editors.covariance import SecondMoment
from editors.errors import EditFailed

Prior: TypeAlias = Callable[[Tensor], Tensor]
Criterion: TypeAlias = Literal["energy", "absolute"]

WORST_CONDITION = 1e12


@dataclass(frozen=True, eq=False)
class Solved:
    """`columns` [m, n] float64 on the CPU; `condition`: a lower bound of the small system's
    condition number, from its Cholesky factor."""

    columns: Tensor
    condition: float


def times(weight: Tensor, keys: Tensor) -> Tensor:
    """W K in float32, as float64 on the CPU. Shapes: [d, m], [m] or [m, n] -> [d] or [d, n]."""
    product: Tensor = weight.float() @ keys.float().to(weight.device)
    return product.cpu().double()


def push_through(
    prior: Prior, keys: Tensor, *, ridge: float, previous: Tensor | None = None
) -> Solved:
    """X = A^-1 G (Gᵀ A^-1 G + ridge I)^-1, the columns that belong to `keys`.

    `prior` maps [m, k] to A^-1 times it. Shapes: keys [m, n], previous [m, p], float64.
    Raises: EditFailed when keys so nearly coincide that the system cannot be solved.
    Source: methods of Woodbury for equation 14 of MEMIT (Meng et al. 2023), equation 9 of EMMET.
    """
    held = keys if previous is None else torch.cat([previous, keys], dim=1)
    spread = prior(held).cpu()
    system = held.T @ spread
    system = (system + system.T) / 2
    system.diagonal().add_(ridge)
    factor, info = torch.linalg.cholesky_ex(system)
    pivots = factor.diagonal()
    condition = float((pivots.max() / pivots.min()) ** 2) if int(info) == 0 else torch.inf
    if not condition < WORST_CONDITION:
        raise EditFailed(
            f"two of the {held.shape[1]} keys are the same to {WORST_CONDITION:.0e}: merge the "
            "requests about one subject, or give the system a ridge"
        )
    chosen = torch.eye(held.shape[1], dtype=torch.float64)[:, held.shape[1] - keys.shape[1] :]
    return Solved(spread @ torch.cholesky_solve(chosen, factor), condition)


def moment_prior(moment: SecondMoment, weight: float, ridge: float = 0.0) -> Prior:
    """A = weight * C + ridge * I. A ridge costs a factorisation of its own."""
    if ridge > 0:
        shifted = moment.moment.clone()
        shifted.diagonal().add_(ridge / weight)
        moment = SecondMoment.of(shifted, moment.count)
    return lambda keys: moment.solve(keys) / weight


@dataclass(frozen=True, eq=False)
class NullSpace:
    """P = I - Q Qᵀ, the directions that known keys hardly use, by its complement Q [m, c].

    `energy`: the share of the trace of C that lies in the range of P.
    """

    complement: Tensor
    energy: float

    @classmethod
    def of(cls, moment: SecondMoment, threshold: float, criterion: Criterion) -> NullSpace:
        """The largest space of smallest eigenvalues that together hold at most `threshold` of the
        trace ("energy"), or that are each below `threshold` ("absolute", as published).

        Raises: EditFailed when no direction or every direction would be in it.
        """
        values, vectors = moment.spectrum
        values = values.clamp_min(0)
        shares = values.cumsum(dim=0) / values.sum()
        free = int(((shares <= threshold) if criterion == "energy" else values < threshold).sum())
        if not 0 < free < len(values):
            raise EditFailed(
                f"the null space has rank {free} of {len(values)} by the {criterion} criterion at "
                f"{threshold:g}: choose nullspace_threshold between "
                f"{float(values[0] if criterion == 'absolute' else shares[0]):.1e} and "
                f"{float(values[-1] if criterion == 'absolute' else 1):.1e}"
            )
        return cls(vectors[:, free:], float(shares[free - 1]))

    @property
    def rank(self) -> int:
        """Rank of P."""
        return self.complement.shape[0] - self.complement.shape[1]

    def project(self, keys: Tensor) -> Tensor:
        """P K. Shapes: [m, n] -> [m, n] float64, on the complement's device."""
        keys = keys.to(self.complement)
        return keys - self.complement @ (self.complement.T @ keys)
