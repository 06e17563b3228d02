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

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from editors.architectures import architecture_in
from editors.delta import Delta, Dense, LowRank, ParameterDelta
from ledger.deltas import decode_delta
from ledger.errors import BaseMismatch, Conflict, InvalidInput
from ledger.journal import Journal
from ledger.records import EditRecord
from ledger.weights import digest, fold_, from_raw, select
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


@dataclass(frozen=True)
class Part:
    """What one edit adds: its batch, all edits of that batch, its changes per parameter.

    `keys` [d_in, n] and `values` [d_out, n] are its own columns of the batch's.
    """

    batch: int
    siblings: tuple[int, ...]
    changes: Mapping[str, ParameterDelta]
    keys: Mapping[str, Tensor]
    values: Mapping[str, Tensor]


class Versions:
    """Plans and folds versions of one base. Deltas are decoded once and kept."""

    def __init__(self, journal: Journal, store: ObjectStore, folder: Path) -> None:
        self._journal, self._store = journal, store
        self.checkpoint = Checkpoint.open(folder)
        self.architecture = architecture_in(folder)
        self._conv1d = self.architecture.layout == "conv1d"
        self._deltas: dict[str, Delta] = {}
        self._parts: dict[int, Part] = {}

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
        chosen, dense = set(active), set[tuple[int, str]]()
        for part in self.parts(active):
            for name, change in part.changes.items():
                if isinstance(change, Dense):
                    if (part.batch, name) in dense:
                        continue
                    dense.add((part.batch, name))
                    _check_whole(part.siblings, chosen)
                updates.setdefault(name, []).append(change)
        return {name: tuple(found) for name, found in updates.items()}

    def components(
        self, edits: Sequence[int]
    ) -> dict[str, tuple[tuple[tuple[int, ...], ParameterDelta], ...]]:
        """Parameter -> (edits, their change), in ledger order; a dense change is its batch's."""
        found: dict[str, list[tuple[tuple[int, ...], ParameterDelta]]] = {}
        dense = set[tuple[int, str]]()
        for edit, part in zip(edits, self.parts(edits), strict=True):
            for name, change in part.changes.items():
                whole = isinstance(change, Dense)
                if (part.batch, name) not in dense:
                    found.setdefault(name, []).append((part.siblings if whole else (edit,), change))
                if whole:
                    dense.add((part.batch, name))
        return {name: tuple(parts) for name, parts in found.items()}

    def parts(self, active: Sequence[int]) -> list[Part]:
        """The edits' own parts of their deltas; each is read once."""
        fresh = [edit for edit in active if edit not in self._parts]
        edits = self._journal.edits(fresh) if fresh else ()
        batches = self._journal.batches({edit.batch_id for edit in edits})
        siblings = self._journal.siblings(batches)
        for edit in edits:
            batch = edit.batch_id
            self._parts[edit.id] = self._part(edit, batches[batch].oid, siblings[batch])
        return [self._parts[edit] for edit in active]

    def _part(self, edit: EditRecord, oid: str | None, siblings: tuple[int, ...]) -> Part:
        if oid is None:
            raise InvalidInput(f"edit {edit.id} has no delta and cannot be active")
        delta, shared = self.delta(oid), len(siblings) > 1
        column = slice(edit.component, edit.component + 1) if shared else slice(None)
        return Part(
            batch=edit.batch_id,
            siblings=siblings,
            changes={
                name: select(change, [edit.component])
                if shared and isinstance(change, LowRank)
                else change
                for name, change in delta.parameters.items()
            },
            keys={name: key[:, column] for name, key in delta.keys.items()},
            values={name: value[:, column] for name, value in delta.values.items()},
        )

    def constraints(self, active: Sequence[int], parameter: str) -> tuple[Tensor, Tensor] | None:
        """Keys [d_in, n] and values [d_out, n] of edits on a parameter, float64, in their order.

        None if none of them has any.
        """
        parts = [part for part in self.parts(active) if parameter in part.keys]
        if not parts:
            return None
        keys = torch.cat([part.keys[parameter] for part in parts], dim=1)
        values = torch.cat([part.values[parameter] for part in parts], dim=1)
        return keys.double(), values.double()

    def tensors(self, plan: Plan) -> Iterator[Folded]:
        """Fold the planned parameters one by one, in name order; holds none after it is given."""
        for parameter in sorted(plan):
            yield self._folded(parameter, plan[parameter])

    def _folded(self, parameter: str, updates: tuple[ParameterDelta, ...]) -> Folded:
        weights = fold_(self.base(parameter), updates, transposed=self._conv1d)
        return Folded(parameter, self.key(parameter), digest(weights), weights)

    def base(self, parameter: str) -> Tensor:
        """The base's own tensor as stored, compared with the digest recorded at its first edit.

        Raises: BaseMismatch.
        """
        entry = self.checkpoint.entry(self.key(parameter))
        tensor = from_raw(entry, self.checkpoint.own(entry.name))
        self.expect(parameter, digest(tensor))
        return tensor

    def expect(self, parameter: str, found: str) -> None:
        """Compare a digest of the base's tensor with the one that is recorded, if one is.

        Raises: BaseMismatch.
        """
        recorded = self._journal.base_tensors().get(parameter)
        if recorded is not None and found != recorded.sha256:
            entry = self.checkpoint.entry(self.key(parameter))
            raise BaseMismatch(
                f"{entry.name} in {entry.file} is not the tensor this ledger was made for; "
                "restore the base"
            )

    def key(self, parameter: str) -> str:
        """The checkpoint's name of a module parameter (they may differ in a leading part).

        Raises: BaseMismatch if the checkpoint has no such tensor.
        """
        return checkpoint_key(self.checkpoint, parameter)

    @property
    def transposed(self) -> bool:
        """Whether weights are stored [d_in, d_out]."""
        return self._conv1d


def checkpoint_key(checkpoint: Checkpoint, parameter: str) -> str:
    """As `Versions.key`, of any checkpoint."""
    if parameter in checkpoint.entries:
        return parameter
    ends = [
        name
        for name in checkpoint.entries
        if name.endswith("." + parameter) or parameter.endswith("." + name)
    ]
    if len(ends) != 1:
        raise BaseMismatch(f"{checkpoint.folder} holds no tensor for {parameter}")
    return ends[0]


def _check_whole(siblings: Iterable[int], chosen: set[int]) -> None:
    missing = [edit for edit in siblings if edit not in chosen]
    if missing:
        raise Conflict(
            f"edits {', '.join(map(str, sorted(siblings)))} share one dense delta and can only be "
            f"reverted together; {', '.join(map(str, missing))} would stay out alone"
        )
