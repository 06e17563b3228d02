"""Ways to bring a matrix to a set of active edits: the program's two, and wrong ones.

Rules: a machine is made with the base and is then shown one active set after the other; each wrong
machine is a shortcut that looks equivalent on paper.

machine = Continuing(case)
bits_of(machine.show((3, 1)))
"""

from __future__ import annotations

import torch

from editors.delta import Dense, ParameterDelta
from ledger.weights import Accumulator, fold
from tests.property.histories import Case


class Refolding:
    """Every time from the base."""

    def __init__(self, case: Case) -> None:
        self.case = case

    def show(self, active: tuple[int, ...]) -> torch.Tensor:
        updates = [self.case.updates[number] for number in active]
        return fold(self.case.base, updates, transposed=self.case.transposed)


class Continuing:
    """Goes on with the sum as long as edits are only appended."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.done: tuple[int, ...] = ()
        self.total = self.fresh()

    def fresh(self) -> Accumulator:
        return Accumulator(self.case.base, transposed=self.case.transposed)

    def show(self, active: tuple[int, ...]) -> torch.Tensor:
        if active[: len(self.done)] != self.done:
            self.done, self.total = (), self.fresh()
        for number in active[len(self.done) :]:
            self.total.add(self.case.updates[number])
        self.done = active
        return self.total.weights()


class _Summing:
    """What the wrong machines share: the running weights and what is in them."""

    kind: torch.dtype | None = None

    def __init__(self, case: Case) -> None:
        self.case = case
        self.dtype = case.base.dtype
        self.sum = case.base.to(self.kind or self.dtype)
        self.within: tuple[int, ...] = ()

    def matrix(self, number: int) -> torch.Tensor:
        full = _matrix(self.case.updates[number])
        return (full.T if self.case.transposed else full).to(self.sum.dtype)


class Subtracting(_Summing):
    """Adds and subtracts in the dtype of the weights."""

    def show(self, active: tuple[int, ...]) -> torch.Tensor:
        for number in set(self.within) - set(active):
            self.sum = self.sum - self.matrix(number)
        for number in active:
            if number not in self.within:
                self.sum = self.sum + self.matrix(number)
        self.within = active
        return self.sum.to(self.dtype)


class SubtractingInDouble(Subtracting):
    """Adds and subtracts in float64."""

    kind = torch.float64


class InSingle(_Summing):
    """Folds in float32."""

    def show(self, active: tuple[int, ...]) -> torch.Tensor:
        self.sum = self.case.base.float()
        for number in active:
            self.sum = self.sum + self.matrix(number)
        return self.sum.to(self.dtype)


class Stacked(_Summing):
    """Adds the sum of all updates at once, as a product of stacked factors would."""

    def show(self, active: tuple[int, ...]) -> torch.Tensor:
        self.sum = torch.zeros_like(self.case.base, dtype=torch.float64)
        for number in active:
            self.sum = self.sum + self.matrix(number)
        return (self.case.base.double() + self.sum).to(self.dtype)


class InNumericOrder(Refolding):
    """Folds by the edits' numbers, not in ledger order."""

    def show(self, active: tuple[int, ...]) -> torch.Tensor:
        return super().show(tuple(sorted(active)))


RIGHT = (Refolding, Continuing)
WRONG = (Subtracting, SubtractingInDouble, InSingle, Stacked, InNumericOrder)


def _matrix(update: ParameterDelta) -> torch.Tensor:
    if isinstance(update, Dense):
        return update.w.double()
    return update.u.double() @ update.v.double()
