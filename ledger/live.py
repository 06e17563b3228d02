"""A loaded model that can stand at any version of the ledger.

Promise: after `show(plan)` the model's weights are exactly the fold of that plan; the model is a
cache of the versions, never their source.

Rules: folding happens on the checkpoint's stored tensors, on the CPU; the result is copied into the
live model and, where the model runs in the checkpoint's own dtype, read back and compared. A plan
that only appends to the one shown continues the same float64 sum.

    live = LiveModel(versions, folder, dtype="float32", device="cpu")
    digests = live.show(versions.plan(active))        # parameter -> sha256 of the stored dtype
    live.model.generate(["..."], 10)
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from editors.chat import Frame
from editors.model import DType, EditableModel
from ledger.continuing import Continued, Updates
from ledger.errors import IntegrityFailure
from ledger.versions import Plan, Versions
from ledger.weights import digest


class LiveModel:
    """The base, loaded once; versions are shown in it by replacing the touched tensors."""

    def __init__(
        self,
        versions: Versions,
        folder: Path,
        *,
        dtype: DType,
        device: str,
        frame: Frame | None = None,
    ) -> None:
        self._versions = versions
        self.model = EditableModel.load(folder, dtype=dtype, device=device, frame=frame)
        self._shown: dict[str, Updates | None] = {}  # None: a write was cut short
        self._sums = Continued(versions)
        self._digests: dict[str, str] = {}

    def show(self, plan: Plan) -> dict[str, str]:
        """Put the model at a plan; return the digest of each parameter the plan touches.

        A parameter that an earlier plan touched and this one does not is the base's again.
        Raises: BaseMismatch, IntegrityFailure, InvalidInput (an update too large for the dtype).
        """
        for parameter in sorted(set(self._shown) | set(plan)):
            wanted = plan.get(parameter, ())
            if wanted != self._shown.get(parameter, ()):
                self._write(parameter, wanted, self._sums.weights(parameter, wanted))
        return {parameter: self._digests[parameter] for parameter in sorted(plan)}

    def _write(self, parameter: str, wanted: Updates, stored: Tensor) -> None:
        self._shown[parameter] = None
        turned = self._versions.transposed
        linear = stored.T if turned else stored
        self.model.set_weight_(parameter, linear.to(self.model.dtype))
        predicted = digest(stored)
        if self.model.dtype == stored.dtype:
            seen = self.model.weight(parameter)
            _compare(parameter, predicted, digest(seen.T if turned else seen))
        self._digests[parameter] = predicted
        self._shown[parameter] = wanted


def _compare(parameter: str, predicted: str, found: str) -> None:
    if found != predicted:
        raise IntegrityFailure(
            f"{parameter} in the live model is not what was folded; the device's memory cannot "
            "be trusted"
        )
