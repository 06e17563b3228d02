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

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from editors.delta import LowRank, ParameterDelta
from ledger.auditing.matrices import Difference

_SINGULAR = 1e-9  # eigenvalues below, relative to a unit diagonal, are directions nothing tells of
_AT_ONCE = 128  # components that are widened to float64 at a time
_PAIRS = 400  # so many components give enough mismatched pairs to know the noise from
_HIDDEN = 1e-6  # share of a component in such a direction from which it counts as not told


@dataclass(frozen=True, eq=False)
class Products:
    """b [n] = <X_i, D>, and what D says of noise.

    rows [rows] and cols [cols]: the energy ||D||^2 row by row and column by column. `lean`: how
    much larger products that mean nothing are than they would be, were the entries of D
    independent; from the median of |u_i^T D v_j| over i != j, 1 for fewer than two components.
    """

    b: Tensor
    rows: Tensor
    cols: Tensor
    lean: float

    @property
    def energy(self) -> float:
        """||D||^2."""
        return float(self.rows.sum())


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

    @classmethod
    def none(cls, shape: tuple[int, int]) -> System:
        """No known change of a parameter of this shape."""
        left, right = torch.zeros(shape[0], 0), torch.zeros(0, shape[1])
        return cls(left, right, torch.zeros(0, dtype=torch.int64), {}, torch.zeros(0, 0).double())

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

    def products(self, difference: Difference) -> Products:
        """Walk a difference D once."""
        b = torch.zeros(self.n, dtype=torch.float64)
        few = self.left[:, :_PAIRS]
        pairs = torch.zeros(few.shape[1], len(self.owner), dtype=torch.float64)
        height, width = (torch.zeros(n, dtype=torch.float64) for n in difference.shape)
        for rows, block in difference.blocks():
            squares = block.double().square_()
            height[rows] = squares.sum(dim=1)
            if float(height[rows].max()) == 0.0:
                continue
            width += squares.sum(dim=0)
            image = block @ self.right.T  # [rows, q]
            b.index_add_(0, self.owner, (self.left[rows] * image).sum(dim=0, dtype=torch.float64))
            pairs += few[rows].T @ image
            for number, matrix in self.dense.items():
                b[number] += (matrix[rows] * block).sum(dtype=torch.float64)
        return Products(b, height, width, self._lean(pairs, height, width))

    def _lean(self, pairs: Tensor, rows: Tensor, cols: Tensor) -> float:
        left = self.left[:, : pairs.shape[0]].double().square().T @ rows
        right = self.right.double().square() @ cols
        wanted = torch.outer(left, right) / rows.sum().clamp_min(1e-300)  # variances, [pairs, q]
        others = self.owner[: pairs.shape[0], None] != self.owner[None, :]
        others &= wanted > 0
        if not bool(others.any()):
            return 1.0
        return float((pairs.abs() / wanted.sqrt())[others].median()) / 0.6745

    def change(self, rows: slice, coefficients: Tensor) -> Tensor:
        """Rows of sum_i c_i X_i. Shapes: coefficients [n] -> [rows, cols], float64."""
        weights = coefficients[self.owner]
        left = self.left[rows].double()
        total = torch.zeros(left.shape[0], self.right.shape[1], dtype=torch.float64)
        for used in torch.split(weights.nonzero().flatten(), _AT_ONCE):
            total.addmm_(left[:, used] * weights[used], self.right[used].double())
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
        return self.errors(self.covariance())

    def covariance(self, products: Products | None = None) -> Tensor:
        """Of the coefficients, [n, n] float64: G^-1 M G^-1 with M the covariance of b.

        The variance of an entry of D is taken to be a share of its row times one of its column, as
        far as `products` tell; without them it is 1 everywhere and M = G.
        Source: White (1980), with a separable variance in place of one for every entry.
        """
        inverse = self._inverse[0] / torch.outer(self._norms, self._norms)
        if products is None:
            return inverse
        height, width = (v.mul(len(v) / v.sum()).sqrt() for v in (products.rows, products.cols))
        left = self.left.double() * height[:, None]
        dense = {n: w.double() * height[:, None] * width for n, w in self.dense.items()}
        moment = _gram(left, self.right.double() * width, self.owner, dense, self.n)
        return inverse @ moment @ inverse

    def errors(self, covariance: Tensor) -> Tensor:
        """Standard errors [n] of a covariance; infinite where nothing tells."""
        known = covariance.diagonal().clamp_min(0).sqrt()
        return torch.where(self._inverse[1], torch.inf, known)

    def units(self, members: Sequence[int]) -> Tensor:
        """What nearly collinear components are in units of the first, [members]."""
        chosen = list(members)
        return self.correlation[chosen[0], chosen] * self._norms[chosen] / self._norms[chosen[0]]

    @cached_property
    def _inverse(self) -> tuple[Tensor, Tensor]:
        """(inverse of the correlation matrix [n, n], components that lie in its null space [n])."""
        matrix = self.correlation
        if not self.n:
            return matrix, torch.zeros(0, dtype=torch.bool)
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
