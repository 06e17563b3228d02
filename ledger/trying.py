"""A set of edits measured before it is recorded: those that come in, and all that were there.

Promise: every edit is asked where it comes from and in the set; what is recorded of it is what was
measured on the very weights that are recorded.

    found = tried(workspace, edits=(1, 2, 5), added=(5,), theirs=4)
    found.metrics["reliability"], found.broken
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ledger.carried import without
from ledger.commit import moved_rows
from ledger.evaluation.metrics import means
from ledger.measuring import Measured
from ledger.records import Rows
from ledger.retests import HOLDS
from ledger.running import request_of
from ledger.workspace import Workspace


@dataclass(frozen=True)
class Tried:
    """A set of edits that was measured: those that come, the random probes, and the reliability
    of all on their own side (`held`) and in the set (`now`)."""

    tensors: Mapping[str, str]
    coming: tuple[Measured, ...]
    randoms: Measured
    held: Mapping[int, float]
    now: Mapping[int, float]

    @property
    def broken(self) -> tuple[int, ...]:
        """Edits that held on their own side and do not now."""
        return tuple(edit for edit in self.now if self.now[edit] < HOLDS <= self.held[edit])

    @property
    def metrics(self) -> dict[str, float]:
        """What the gate judges: means over the edits that come, and the random probes."""
        return means([one.metrics for one in self.coming]) | dict(self.randoms.metrics)

    def rows(self, coming: Sequence[int]) -> Rows:
        """Measurements and predictions to be kept."""
        measurements = [row for e, one in zip(coming, self.coming, strict=True)
                        for row in one.rows(e, "test")]  # fmt: skip
        earlier = {e: v for e, v in self.now.items() if e not in coming and v != self.held[e]}
        predictions = [p for one in (*self.coming, self.randoms) for p in one.predictions]
        return Rows(
            measurements=(
                *measurements,
                *self.randoms.rows(None, "test"),
                *moved_rows(earlier, self.randoms.protocol),
            ),
            predictions=tuple({p.prompt: p for p in predictions}.values()),
        )


def tried(workspace: Workspace, edits: Sequence[int], added: Sequence[int], theirs: int) -> Tried:
    """Measure a set of edits; of them `added` are new to the head and come from version `theirs`.

    The live model stands at the set then.
    """
    journal, examiner = workspace.journal, workspace.examiner
    head, plan = workspace.at_head()
    coming = journal.edits(added)
    held = {**workspace.holding(head, plan), **examiner.holding(coming, workspace.at(theirs))}
    united = workspace.versions.plan(edits)
    tensors = workspace.live.show(united)
    measured = examiner.edits([request_of(edit) for edit in coming], united)
    randoms = examiner.randoms(united, journal.edits(edits))
    staying = without(edits, added)
    now = examiner.holding(journal.edits(staying), united)
    now |= {e: m.metrics["reliability"] for e, m in zip(added, measured, strict=True)}
    return Tried(tensors, measured, randoms, held, now)
