"""One tensor: the known changes it holds, and what is left over.

Promise: a tensor that is exactly the base with known changes leaves a residual of exact zero,
whatever the dtype. One prediction, as large as the stored tensor, is held at a time; all else is
read and computed in blocks of rows.

Rules: rounding hides what is smaller than half a step, so a plain regression of (deployed - base)
reads 0.98 where an edit is whole. Therefore the base with the changes found so far is rounded as
the checkpoint is, and what the checkpoint has beyond that corrects the coefficients. Those within
0.1 of 0 or 1 are first taken to be 0 or 1; what contradicts this stays in the residual, where it
corrects them or, if known changes do not explain it, shows as structure of its own.

    found = explain(Tensors(base, deployed, system), None)
    found.coefficients, found.errors, found.state, found.shape.spikes
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ledger.auditing.matrices import Difference, Rows, row_slices, size
from ledger.auditing.regression import Products, System
from ledger.auditing.residual import NOTHING, Spectrum, levels, rounding, spectrum

SNAP = 0.1  # a coefficient so near to 0 or 1 is taken to be that, until something contradicts it
_ROUNDS = 3
_MERGES = 4  # times the rounding of one cast: what a merge in several steps may leave
_DIGITS = 1e-6  # of the residual: what float32 products cannot tell when structure is taken out


@dataclass(frozen=True, eq=False)
class Explained:
    """What a tensor holds.

    coefficients and errors (standard errors) [n]; covariance [n, n] of the coefficients; state:
    `exact`, `rounding` (differs by no more than rounding does), `structured` (directions that are
    more than noise), `lattice` (values of a quantiser) or `noise`. `shape` is of the residual;
    `levels` of the tensor's values.
    """

    coefficients: Tensor
    errors: Tensor
    covariance: Tensor
    state: str
    shape: Spectrum
    levels: int | None = None

    def together(self, members: list[int], units: Tensor) -> tuple[float, float]:
        """What components hold together, in units of the first, and its error. Shapes: units [m]"""
        variance = float(units @ self.covariance[members][:, members] @ units)
        return float(self.coefficients[members] @ units), max(variance, 0.0) ** 0.5


@dataclass(frozen=True, eq=False)
class _Fit:
    """Coefficients c [n], what D - cast(B + sum c_i X_i) adds to them, and its shape."""

    coefficients: Tensor
    correction: Tensor
    products: Products
    shape: Spectrum


class Tensors:
    """A stored tensor of the base and what stands for it, with its system of known changes.

    Shapes: base, deployed [rows, cols] (any shape without a system), float dtypes.
    """

    def __init__(self, base: Rows, deployed: Rows, system: System | None) -> None:
        self.base, self.deployed = base, deployed
        self.floor = rounding(deployed)
        if system is None or len(deployed.shape) != 2:
            system = System.none(Difference(deployed).shape)
        self.system = system

    def difference(self, coefficients: Tensor) -> Difference:
        """deployed - cast(base + sum c_i X_i); the prediction is held."""
        if not bool(coefficients.any()):
            return Difference(self.deployed, self.base)
        out = torch.empty(tuple(self.base.shape), dtype=self.deployed.dtype)
        for rows in row_slices(self.base.shape):
            out[rows] = self.system.change(rows, coefficients).add_(self.base[rows]).float()
        return Difference(self.deployed, out)


def explain(tensors: Tensors, proven: Tensor | None) -> Explained:
    """The coefficients of the known changes in a tensor, and the residual.

    `proven` [n]: coefficients whose fold has the tensor's digest, so that nothing is left over.
    """
    system = tensors.system
    if proven is not None:
        covariance = system.covariance() * tensors.floor**2
        return Explained(proven, system.errors(covariance), covariance, "exact", NOTHING)
    plain = Difference(tensors.deployed, tensors.base)
    first = _snapped(system.solve(system.products(plain).b))
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
    difference = tensors.difference(coefficients)
    shape = spectrum(difference)
    products = tensors.system.products(difference)
    return _Fit(coefficients, tensors.system.solve(products.b), products, shape)


def _noise(tensors: Tensors, fit: _Fit) -> float:
    """The standard deviation of an entry, apart from what the correction explains."""
    free = max(size(tensors.deployed) - tensors.system.n, 1)
    left = fit.products.energy - float(fit.correction @ fit.products.b)
    return float((max(left, 0.0) / free) ** 0.5)


def _refined(tensors: Tensors, fit: _Fit) -> _Fit:
    """The fit with corrections that are more than their errors taken in."""
    for _ in range(_ROUNDS):
        errors = tensors.system.spread * max(tensors.floor, _noise(tensors, fit))
        if not bool((fit.correction.abs() > errors).any()):
            break
        better = _fit(tensors, fit.coefficients + fit.correction)
        if better.shape.norm >= fit.shape.norm:
            break
        fit = better
    return fit


def _apart(tensors: Tensors, fit: _Fit) -> _Fit:
    """The fit, with its correction from what is not structure of its own."""
    difference = tensors.difference(fit.coefficients)
    products = tensors.system.products(difference.without(fit.shape.left, fit.shape.right))
    return replace(fit, correction=tensors.system.solve(products.b), products=products)


def _settled(tensors: Tensors, fit: _Fit) -> Explained:
    noise = _MERGES * tensors.floor * max(size(tensors.base), 1) ** 0.5
    seen = levels(tensors.deployed, tensors.base) if fit.shape.norm else None
    if fit.shape.norm == 0.0:
        state = "exact"
    elif fit.shape.spikes:
        state = "structured"
    elif seen is not None:
        state = "lattice"
    else:
        state = "rounding" if fit.shape.norm <= noise else "noise"
    covariance = _covariance(tensors, fit)
    errors = tensors.system.errors(covariance)
    total = fit.coefficients + fit.correction
    return Explained(total, errors, covariance, state, fit.shape, seen)


def _covariance(tensors: Tensors, fit: _Fit) -> Tensor:
    """Of the coefficients [n, n]: from the noise that is seen, and no less than what is certain.

    That is the rounding of the dtype, and the digits of float32.
    """
    digits = _DIGITS * fit.shape.norm / max(size(tensors.base), 1) ** 0.5 if fit.shape.spikes else 0
    noise, least = _noise(tensors, fit), max(tensors.floor, digits)
    short = max(least**2 - noise**2, 0.0)
    covariance = tensors.system.covariance() * short
    if noise and fit.products.energy:
        seen = tensors.system.covariance(fit.products)
        covariance += seen * (noise * max(fit.products.lean, 1.0)) ** 2
    return covariance


def _snapped(coefficients: Tensor) -> Tensor:
    near = coefficients.round().clamp(0, 1)
    return torch.where((coefficients - near).abs() <= SNAP, near, coefficients)
