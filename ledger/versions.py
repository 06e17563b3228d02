"""From a version to its weights: the plan of a fold, and the fold over the base's stored tensors.

Promise: reads only the tensors that the version's active edits touch; loads no model; checks the
base tensor and every object before using them.

Rules: components are planned in ledger order. A fact of a batch owns its column; an edit that is
alone in its batch owns the whole delta. A dense delta belongs to all facts of its batch at once.

    plan = versions.plan(active)                    # parameter -> updates in order
    for tensor in versions.tensors(plan):
        tensor.parameter, tensor.key, tensor.sha256, tensor.weights
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from torch import Tensor

from editors.architectures import architecture_of
from editors.delta import Delta, LowRank, ParameterDelta
from ledger.deltas import decode_delta
from ledger.errors import BaseMismatch, Conflict, InvalidInput
from ledger.journal import Journal
from ledger.weights import digest, fold, from_raw, select
from store.checkpoints import Checkpoint
from store.objects import ObjectStore

Plan = Mapping[str, tuple[ParameterDelta, ...]]


@dataclass(frozen=True)
class Folded:
    """One tensor of a version: module parameter, checkpoint key, digest, weights as stored."""

    parameter: str
    key: str
    sha256: str
    weights: Tensor


class Versions:
    """Plans and folds versions of one base. Deltas are decoded once and kept."""

    def __init__(self, journal: Journal, store: ObjectStore, folder: Path) -> None:
        self._journal, self._store = journal, store
        self.checkpoint = Checkpoint.open(folder)
        config = json.loads((folder / "config.json").read_text("utf-8"))
        self._conv1d = architecture_of(SimpleNamespace(**config)).layout == "conv1d"
        self._deltas: dict[str, Delta] = {}

    def delta(self, oid: str) -> Delta:
        """The delta of an object, from its checked bytes. Raises: ObjectError."""
        if oid not in self._deltas:
            self._deltas[oid] = decode_delta(self._store.get(oid))
        return self._deltas[oid]

    def plan(self, active: Sequence[int]) -> Plan:
        """What to add to each touched parameter, in ledger order.

        Raises: Conflict if only a part of a dense batch is active.
        """
        updates: dict[str, list[ParameterDelta]] = {}
        chosen = set(active)
        done: set[int] = set()
        for edit in self._journal.edits(active):
            batch = self._journal.batch(edit.batch_id)
            siblings = [e.id for e in self._journal.edits_of_batch(batch.id)]
            if batch.oid is None:
                raise InvalidInput(f"edit {edit.id} has no delta and cannot be active")
            for name, change in self.delta(batch.oid).parameters.items():
                if len(siblings) == 1:
                    updates.setdefault(name, []).append(change)
                elif isinstance(change, LowRank):
                    updates.setdefault(name, []).append(select(change, [edit.component]))
                elif batch.id not in done:
                    _check_whole(siblings, chosen)
                    updates.setdefault(name, []).append(change)
            done.add(batch.id)
        return {name: tuple(found) for name, found in updates.items()}

    def tensors(self, plan: Plan) -> Iterator[Folded]:
        """Fold the planned parameters one by one, in name order."""
        for parameter in sorted(plan):
            weights = fold(self.base(parameter), plan[parameter], transposed=self._conv1d)
            yield Folded(parameter, self.key(parameter), digest(weights), weights)

    def base(self, parameter: str) -> Tensor:
        """The base's own tensor as stored, compared with the digest recorded at its first edit.

        Raises: BaseMismatch.
        """
        entry = self.checkpoint.entry(self.key(parameter))
        tensor = from_raw(entry, self.checkpoint.raw(entry.name))
        recorded = self._journal.base_tensors().get(parameter)
        if recorded is not None and digest(tensor) != recorded.sha256:
            raise BaseMismatch(
                f"{entry.name} in {entry.file} is not the tensor this ledger was made for; "
                "restore the base"
            )
        return tensor

    def key(self, parameter: str) -> str:
        """The checkpoint's name of a module parameter (they may differ in a leading part).

        Raises: BaseMismatch if the checkpoint has no such tensor.
        """
        if parameter in self.checkpoint.entries:
            return parameter
        ends = [
            name
            for name in self.checkpoint.entries
            if name.endswith("." + parameter) or parameter.endswith("." + name)
        ]
        if len(ends) != 1:
            raise BaseMismatch(f"{self.checkpoint.folder} holds no tensor for {parameter}")
        return ends[0]

    @property
    def transposed(self) -> bool:
        """Whether weights are stored [d_in, d_out]."""
        return self._conv1d


def _check_whole(siblings: Iterable[int], chosen: set[int]) -> None:
    missing = [edit for edit in siblings if edit not in chosen]
    if missing:
        raise Conflict(
            f"edits {', '.join(map(str, sorted(siblings)))} share one dense delta and can only be "
            f"reverted together; {', '.join(map(str, missing))} would stay out alone"
        )
