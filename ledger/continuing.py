"""Folding plan after plan: what only appends to the last plan continues its sum.

Promise: the weights are those of `ledger.weights.fold`, bit for bit: the same additions in the same
order. Rules: one float64 sum per parameter is kept, 8 bytes a weight; a plan that is no
continuation begins again at the base, whose digest is checked then.

    sums = Continued(versions)
    for plan in plans:
        weights = sums.weights(parameter, plan[parameter])
"""

from __future__ import annotations

from torch import Tensor

from editors.delta import ParameterDelta
from ledger.versions import Versions
from ledger.weights import Accumulator

Updates = tuple[ParameterDelta, ...]


class Continued:
    """The last sum of each parameter."""

    def __init__(self, versions: Versions) -> None:
        self._versions = versions
        self._sums: dict[str, tuple[Updates, Accumulator]] = {}

    def weights(self, parameter: str, wanted: Updates) -> Tensor:
        """The stored tensor with these updates. Raises: BaseMismatch, InvalidInput, as `fold`."""
        if not wanted:
            return self._versions.base(parameter)
        done, total = self._sums.pop(parameter, ((), None))
        if total is None or wanted[: len(done)] != done:
            base = self._versions.base(parameter)
            done, total = (), Accumulator(base, transposed=self._versions.transposed)
        for update in wanted[len(done) :]:
            total.add(update)
        weights = total.weights()
        self._sums[parameter] = wanted, total
        return weights
