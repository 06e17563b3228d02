"""The gate: whether a measured edit may enter the history.

Promise: a pure decision on measured numbers; every reason is a sentence with the number in it.

    gate = Gate(min_reliability=0.9)
    gate.reasons({"reliability": 0.5}, broken=0)   # ['reliability 0.50 is below 0.90']
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ledger.errors import InvalidInput


@dataclass(frozen=True)
class Gate:
    """Limits an edit must keep.

    min_reliability: teacher-forced token accuracy of the edit's own prompt, 0..1.
    min_locality: agreement with the unedited model, 0..1, asked of the edit's own neighbourhood
        probes and of the ledger's random probes separately.
    max_broken: how many earlier active edits may stop holding.
    """

    min_reliability: float = 0.9
    min_locality: float = 0.75
    max_broken: int = 1

    def __post_init__(self) -> None:
        for name in ("min_reliability", "min_locality"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise InvalidInput(f"{name} is {value}; it must be between 0 and 1")
        if self.max_broken < 0:
            raise InvalidInput(f"max_broken is {self.max_broken}; it must be 0 or more")

    def reasons(self, metrics: Mapping[str, float], broken: int, facts: int = 1) -> list[str]:
        """Why the edit must be rejected; empty if it may pass. No number is no reason.

        The metrics of a batch of several `facts` are means over them.
        """
        mean = "mean " if facts > 1 else ""
        found = [
            f"{mean}{label} {metrics[name]:.2f} is below {limit:.2f}"
            for name, label, limit in (
                ("reliability", "reliability", self.min_reliability),
                ("locality", "locality on its own probes", self.min_locality),
                ("locality_random", "locality on random probes", self.min_locality),
            )
            if name in metrics and metrics[name] < limit
        ]
        if broken > self.max_broken:
            found.append(f"{broken} earlier edits stopped holding, {self.max_broken} may")
        return found


DEFAULT_GATE: Final = Gate()
