"""How much of each known change a weight difference holds: least squares on the Gram matrix.

Promise: no change is ever formed as a matrix; the difference is walked once, in blocks of rows, and
every sum of products is float64 where it is ill conditioned (the Gram matrix and its solution).

Rules: a component is one edit's change of one parameter, of any rank, or a dense change of a whole
batch. With X_i = u_i v_i the normal equations are G c = b, G_ij = <X_i, X_j> = (u_i . u_j)(v_i .
v_j) summed over ranks, b_i = <X_i, D> = u_i^T D v_i. Everything is in storage layout: for a model
that stores transposed, left and right are swapped. Dimensions: n components, q the sum of their
ranks.

    system = System.of([change, other], transposed=False)
    products = system.products(blocks)              # blocks: (row slice, float32 [rows, cols])
    system.solve(products.b)                        # coefficients [n]
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from editors.delta import LowRank, ParameterDelta

Block = tuple[slice, Tensor]

_SINGULAR = 1e-9  # eigenvalues below, relative to a unit diagonal, are directions nothing tells of
_PAIRS = 400  # so many components give enough mismatched pairs to know the noise from
_HIDDEN = 1e-6  # share of a component in such a direction from which it counts as not told


@dataclass(frozen=True, eq=False)
class Products:
    """b [n] = <X_i, D>; `energy` = ||D||^2; `pair`: the size of products that mean nothing.

    `pair` is the median of |u_i^T D v_j| / (|u_i| |v_j|) over i != j, as a standard deviation: what
    noise shaped like D leaves in a product. Zero for fewer than two components.
    """

    b: Tensor
    energy: float
    pair: float


@dataclass(frozen=True, eq=False)
class System:
    """The normal equations of one parameter.

    Shapes: left [rows, q], right [q, cols], float32; owner [q] names each column's component; gram
    [n, n] float64; dense: component -> [rows, cols].
    """

    left: Tensor
    right: Tensor
    owner: Tensor
    dense: dict[int, Tensor]
    gram: Tensor

    @classmethod
    def of(cls, changes: Sequence[ParameterDelta], *, transposed: bool) -> System:
        """The system of some changes of one parameter, all of one shape."""
        lefts, rights, owners = [], [], []
        dense: dict[int, Tensor] = {}
        d_out, d_in = changes[0].shape
        rows, cols = (d_in, d_out) if transposed else (d_out, d_in)
        for number, change in enumerate(changes):
            if isinstance(change, LowRank):
                pair = (change.v.T, change.u.T) if transposed else (change.u, change.v)
                lefts.append(pair[0])
                rights.append(pair[1])
                owners += [number] * pair[1].shape[0]
            else:
                dense[number] = change.w.T.contiguous() if transposed else change.w
        left = torch.cat(lefts, dim=1) if lefts else torch.zeros(rows, 0)
        right = torch.cat(rights) if rights else torch.zeros(0, cols)
        owner = torch.tensor(owners, dtype=torch.int64)
        gram = _gram(left, right, owner, dense, len(changes))
        return cls(left.contiguous(), right.contiguous(), owner, dense, gram)

    @property
    def n(self) -> int:
        """Number of components."""
        return int(self.gram.shape[0])

    @cached_property
    def correlation(self) -> Tensor:
        """G with a unit diagonal: cosines between components. Shape: [n, n]."""
        return self.gram / torch.outer(self._norms, self._norms)

    @cached_property
    def _norms(self) -> Tensor:
        return self.gram.diagonal().clamp_min(1e-300).sqrt()

    def products(self, blocks: Iterable[Block]) -> Products:
        """Walk a difference D once.

        Shapes: blocks of rows that cover [rows, cols], float32.
        """
        b = torch.zeros(self.n, dtype=torch.float64)
        few = self.left[:, :_PAIRS]
        pairs = torch.zeros(few.shape[1], len(self.owner), dtype=torch.float64)
        energy = 0.0
        for rows, block in blocks:
            size = float(torch.linalg.vector_norm(block, dtype=torch.float64)) ** 2
            if size == 0.0:
                continue
            energy += size
            image = block @ self.right.T  # [rows, q]
            b.index_add_(0, self.owner, (self.left[rows] * image).sum(dim=0, dtype=torch.float64))
            pairs += few[rows].T @ image
            for number, matrix in self.dense.items():
                b[number] += (matrix[rows] * block).sum(dtype=torch.float64)
        return Products(b, energy, self._pair(pairs))

    def _pair(self, pairs: Tensor) -> float:
        left = torch.linalg.vector_norm(self.left[:, : pairs.shape[0]], dim=0).double()
        right = torch.linalg.vector_norm(self.right, dim=1).double()
        unit = pairs / torch.outer(left, right).clamp_min(1e-300)
        others = self.owner[: pairs.shape[0], None] != self.owner[None, :]
        if not bool(others.any()):
            return 0.0
        return float(unit[others].abs().median()) / 0.6745

    def change(self, rows: slice, coefficients: Tensor) -> Tensor:
        """Rows of sum_i c_i X_i. Shapes: coefficients [n] -> [rows, cols], float64."""
        weights = coefficients[self.owner]
        used = weights.nonzero().flatten()
        left = self.left[rows][:, used].double() * weights[used]
        total = left @ self.right[used].double()
        for number, matrix in self.dense.items():
            if float(coefficients[number]) != 0.0:
                total += matrix[rows].double() * float(coefficients[number])
        return total

    def solve(self, b: Tensor) -> Tensor:
        """Coefficients [n] of the products b [n], the smallest where they are not determined."""
        return (self._inverse[0] @ (b / self._norms)) / self._norms

    @cached_property
    def spread(self) -> Tensor:
        """Standard error [n] of each coefficient at unit noise; infinite where nothing tells.

        The square root of the diagonal of G^-1, for noise of variance 1 in every entry of D.
        """
        inverse, hidden = self._inverse
        known = inverse.diagonal().clamp_min(0).sqrt() / self._norms
        return torch.where(hidden, torch.inf, known)

    def together(self, members: Sequence[int], coefficients: Tensor) -> tuple[float, float]:
        """What a group of nearly collinear components holds, in units of its first; error at unit
        noise. Shapes: coefficients [n]."""
        unit = self.correlation[members[0], list(members)] * self._norms[list(members)]
        unit = unit / self._norms[members[0]]
        chosen = torch.zeros(self.n, dtype=torch.float64)
        chosen[list(members)] = unit / self._norms[list(members)]
        variance = float(chosen @ self._inverse[0] @ chosen)
        return float(coefficients[list(members)] @ unit), max(variance, 0.0) ** 0.5

    @cached_property
    def _inverse(self) -> tuple[Tensor, Tensor]:
        """(inverse of the correlation matrix [n, n], components that lie in its null space [n])."""
        matrix = self.correlation
        factor, info = torch.linalg.cholesky_ex(matrix)
        if int(info) == 0 and float(factor.diagonal().min()) ** 2 > _SINGULAR:
            return torch.cholesky_inverse(factor), torch.zeros(self.n, dtype=torch.bool)
        values, vectors = torch.linalg.eigh(matrix)
        null = values <= _SINGULAR * float(values[-1])
        hidden = vectors[:, null].square().sum(dim=1) > _HIDDEN
        kept = vectors[:, ~null]
        return (kept / values[~null]) @ kept.T, hidden


def _gram(
    left: Tensor, right: Tensor, owner: Tensor, dense: dict[int, Tensor], count: int
) -> Tensor:
    """<X_i, X_j> of all pairs, float64."""
    products = (left.double().T @ left.double()) * (right.double() @ right.double().T)
    gram = torch.zeros(count, count, dtype=torch.float64)
    rows = torch.zeros(count, products.shape[1], dtype=torch.float64)
    rows.index_add_(0, owner, products)
    gram.index_add_(1, owner, rows)
    for number, matrix in dense.items():
        image = (left.double() * (matrix.double() @ right.double().T)).sum(dim=0)
        mixed = torch.zeros(count, dtype=torch.float64).index_add_(0, owner, image)
        for other, second in dense.items():
            mixed[other] = (matrix.double() * second.double()).sum()
        gram[number], gram[:, number] = mixed, mixed
    return gram
