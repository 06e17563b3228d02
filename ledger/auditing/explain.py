"""One tensor: the known changes it holds, and what is left over.

Promise: a tensor that is exactly the base with known changes leaves a residual of exact zero,
whatever the dtype; one that is not needs up to four copies in float32 beside its stored bytes.

Rules: rounding hides what is smaller than half a step, so a plain regression of (deployed - base)
reads 0.98 where an edit is whole. Therefore the base with the changes found so far is rounded as
the checkpoint is, and what the checkpoint has beyond that corrects the coefficients. Those within
0.1 of 0 or 1 are first taken to be 0 or 1; what contradicts this stays in the residual, where it
corrects them or, if known changes do not explain it, shows as structure of its own.

    found = explain(base, deployed, system, start=None)
    found.coefficients, found.errors, found.state, found.shape.spikes
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ledger.auditing.regression import Block, System
from ledger.auditing.residual import NOTHING, Spectrum, levels, rounding, spectrum

SNAP = 0.1  # a coefficient so near to 0 or 1 is taken to be that, until something contradicts it
_ROUNDS = 3
_MERGES = 4  # times the rounding of one cast: what a merge in several steps may leave
_DIGITS = 1e-6  # of the residual: what float32 products cannot tell when structure is taken out
_ROWS = 512


@dataclass(frozen=True, eq=False)
class Explained:
    """What a tensor holds.

    coefficients and errors (standard errors) [n]; state: `exact`, `rounding` (differs by no more
    than rounding does), `structured` (directions that are more than noise), `lattice` (values of a
    quantiser) or `noise`. `shape` is of the residual; `levels` of the tensor's values.
    """

    coefficients: Tensor
    errors: Tensor
    state: str
    shape: Spectrum
    levels: int | None = None


@dataclass(frozen=True, eq=False)
class _Fit:
    """A residual D - cast(B + sum c_i X_i), and what it says of the coefficients c [n]."""

    coefficients: Tensor
    residual: Tensor
    correction: Tensor
    sigma: float
    shape: Spectrum


class Tensors:
    """A stored tensor of the base and what stands for it, with its system of known changes.

    Shapes: base, deployed [rows, cols] (any shape without a system), float dtypes.
    """

    def __init__(self, base: Tensor, deployed: Tensor, system: System | None) -> None:
        self.base, self.deployed, self.system = base, deployed, system
        self.floor = rounding(deployed) if deployed.ndim else 0.0

    def difference(self) -> Iterator[Block]:
        """deployed - base in blocks of rows."""
        for rows in _blocks(self.base.shape[0]):
            yield rows, self.deployed[rows].float() - self.base[rows].float()

    def residual(self, coefficients: Tensor) -> Tensor:
        """deployed - cast(base + sum c_i X_i), float32 [rows, cols]."""
        out = torch.empty(self.base.shape, dtype=torch.float32)
        for rows in _blocks(self.base.shape[0]):
            total = self.base[rows].double()
            if self.system is not None:
                total += self.system.change(rows, coefficients)
            predicted = total.float().to(self.deployed.dtype)
            out[rows] = self.deployed[rows].float() - predicted.float()
        return out


def explain(tensors: Tensors, proven: Tensor | None) -> Explained:
    """The coefficients of the known changes in a tensor, and the residual.

    `proven` [n]: coefficients whose fold has the tensor's digest, so that nothing is left over.
    """
    system = tensors.system
    if system is None or tensors.deployed.ndim != 2:
        return _settled(tensors, _fit(tensors, torch.zeros(0, dtype=torch.float64)))
    if proven is not None:
        return Explained(proven, system.spread * tensors.floor, "exact", NOTHING)
    first = _snapped(system.solve(system.products(tensors.difference()).b))
    fit = tried = _fit(tensors, first)
    if not fit.shape.spikes:
        return _settled(tensors, _refined(tensors, fit))
    for _ in range(_ROUNDS):
        tried = _fit(tensors, tried.coefficients + tried.correction)
        if not tried.shape.spikes:
            return _settled(tensors, _refined(tensors, tried))
    whole = _fit(tensors, (first > 0.5).double())
    return _settled(tensors, _apart(tensors, min(whole, fit, key=lambda f: f.shape.spikes)))


def _fit(tensors: Tensors, coefficients: Tensor) -> _Fit:
    residual = tensors.residual(coefficients)
    flat = residual.reshape(residual.shape[0], -1) if residual.ndim > 1 else residual[None]
    shape = spectrum(flat) if min(flat.shape) > 1 else _vector(flat)
    return _Fit(coefficients, residual, *_correction(tensors, residual), shape)


def _correction(tensors: Tensors, residual: Tensor) -> tuple[Tensor, float]:
    """What a residual adds to the coefficients, and its noise in one entry."""
    if tensors.system is None:
        return torch.zeros(0, dtype=torch.float64), tensors.floor
    blocks = ((rows, residual[rows]) for rows in _blocks(residual.shape[0]))
    products = tensors.system.products(blocks)
    correction = tensors.system.solve(products.b)
    free = max(residual.numel() - tensors.system.n, 1)
    left = max(products.energy - float(correction @ products.b), 0.0) / free
    return correction, max(tensors.floor, left**0.5, products.pair)


def _refined(tensors: Tensors, fit: _Fit) -> _Fit:
    """The fit with corrections that are more than their errors taken in."""
    if tensors.system is None:
        return fit
    for _ in range(_ROUNDS):
        errors = tensors.system.spread * fit.sigma
        if not bool((fit.correction.abs() > errors).any()):
            break
        better = _fit(tensors, fit.coefficients + fit.correction)
        if better.shape.norm >= fit.shape.norm:
            break
        fit = better
    return fit


def _apart(tensors: Tensors, fit: _Fit) -> _Fit:
    """The fit, with its correction from what is not structure of its own."""
    rest = fit.residual - fit.shape.left @ fit.shape.right
    correction, sigma = _correction(tensors, rest)
    digits = _DIGITS * fit.shape.norm / rest.numel() ** 0.5
    return replace(fit, correction=correction, sigma=max(sigma, digits))


def _settled(tensors: Tensors, fit: _Fit) -> Explained:
    spread = tensors.system.spread if tensors.system is not None else torch.zeros(0)
    noise = _MERGES * tensors.floor * max(tensors.base.numel(), 1) ** 0.5
    seen = levels(tensors.deployed, tensors.base) if fit.shape.norm else None
    if fit.shape.norm == 0.0:
        state = "exact"
    elif fit.shape.spikes:
        state = "structured"
    elif seen is not None:
        state = "lattice"
    else:
        state = "rounding" if fit.shape.norm <= noise else "noise"
    total = fit.coefficients + fit.correction
    return Explained(total, spread * fit.sigma, state, fit.shape, seen)


def _vector(flat: Tensor) -> Spectrum:
    """A residual that is no matrix has a size and nothing else."""
    norm = float(torch.linalg.vector_norm(flat, dtype=torch.float64))
    empty = torch.zeros(flat.shape[0], 0), torch.zeros(0, flat.shape[1])
    return Spectrum(norm, float(norm > 0), 1.0, 0, *empty)


def _snapped(coefficients: Tensor) -> Tensor:
    near = coefficients.round().clamp(0, 1)
    return torch.where((coefficients - near).abs() <= SNAP, near, coefficients)


def _blocks(rows: int) -> Iterator[slice]:
    for start in range(0, rows, _ROWS):
        yield slice(start, min(start + _ROWS, rows))
