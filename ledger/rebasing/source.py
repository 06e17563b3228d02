"""What a rebase carries over: the facts active at a version of the old ledger, as they were made.

Promise: the old ledger is only read; facts come in ledger order, each once.

Rules: a superseded edit is no fact and stays behind. Facts of one active batch are a unit. A batch
that re-solves made has no method to be made again with: its facts go back to the batches that
stated them, which are the unit's groups.

    source = Source.read(journal, store, place, version=3)
    [group.batch.method for unit in source.units for group in unit.groups]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from editors.requests import EditRequest
from ledger.base import DEMO, demo_folder
from ledger.errors import InvalidInput
from ledger.facts import first_stated, superseded
from ledger.journal import Journal
from ledger.records import BatchRecord, EditRecord, ModelRecord
from ledger.resolving import fingerprints_of
from ledger.running import request_of
from ledger.views import Json
from store.objects import ObjectStore


@dataclass(frozen=True)
class Fact:
    """One fact: the edit that carries it, and who stated it when and why."""

    edit: int
    hash: str
    request: EditRequest
    fingerprint: str
    author: str
    note: str
    since: str


@dataclass(frozen=True)
class Group:
    """Facts that one call of a method made, and the batch it was recorded as."""

    batch: BatchRecord
    facts: tuple[Fact, ...]


@dataclass(frozen=True)
class Unit:
    """The facts of one active batch. `whole`: all of the batch is carried over."""

    batch: BatchRecord
    facts: tuple[Fact, ...]
    whole: bool
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Source:
    """A version of the old ledger. `config` is its base's, None where the base is not here."""

    store: ObjectStore
    journal: Journal
    record: ModelRecord
    version: int
    units: tuple[Unit, ...]
    left: tuple[int, ...]  # superseded, so not carried over
    config: Any

    @classmethod
    def read(cls, journal: Journal, store: ObjectStore, place: Path | None, version: int) -> Self:
        """The facts of a version. Raises: InvalidInput if it carries none, UnknownRevision."""
        edits = journal.edits(journal.history().active(version))
        if not edits:
            raise InvalidInput(
                f"version {version} carries no facts, so there is nothing to rebase; start a "
                "ledger on the other base with kel init"
            )
        gone = superseded(edits)
        staying = [edit for edit in edits if edit.id not in gone]
        record = journal.model()
        units = tuple(_units(journal, staying))
        return cls(journal=journal, store=store, record=record, version=version, units=units,
                   left=tuple(sorted(gone)), config=_config(record, place))  # fmt: skip

    @property
    def facts(self) -> tuple[Fact, ...]:
        """All facts, in ledger order."""
        return tuple(fact for unit in self.units for fact in unit.facts)

    @property
    def corpora(self) -> set[str]:
        """What the second moments were measured on that the facts were computed with."""
        used = [g.batch.environment.get("statistics", {}) for u in self.units for g in u.groups]
        return {about["corpus"] for layers in used for about in layers.values() if about}

    def provenance(self) -> Json:
        """What names the source in the new ledger: version, its entry, its base."""
        entry, base = self.journal.entry_of(self.version), self.record
        return {
            "version": self.version,
            "entry": {"seq": entry.seq, "hash": entry.hash},
            "base": {
                "id": Path(base.base_id).name if base.base_id == base.path else base.base_id,
                "revision": base.revision,
                "digest": base.base_digest,
                "model_type": base.model_type,
            },
        }


def _units(journal: Journal, edits: Sequence[EditRecord]) -> list[Unit]:
    batches = journal.batches({edit.batch_id for edit in edits})
    members: dict[int, list[EditRecord]] = {}
    for edit in edits:
        members.setdefault(edit.batch_id, []).append(edit)
    names = dict(zip((e.id for e in edits), fingerprints_of(journal, edits, "rebase"), strict=True))
    return [
        _unit(journal, batches[number], sorted(own, key=lambda edit: edit.component), names)
        for number, own in members.items()
    ]


def _unit(
    journal: Journal, batch: BatchRecord, edits: Sequence[EditRecord], names: Mapping[int, str]
) -> Unit:
    groups: dict[int, list[tuple[int, Fact]]] = {}
    origins: dict[int, BatchRecord] = {}
    facts: list[Fact] = []
    for edit in edits:
        first, made = first_stated(journal, edit, batch)
        facts.append(
            Fact(edit.id, edit.hash, request_of(edit), names[edit.id], made.author, made.note,
                 first.created_at)
        )  # fmt: skip
        origins[made.id] = made
        groups.setdefault(made.id, []).append((first.component, facts[-1]))
    return Unit(
        batch=batch,
        facts=tuple(facts),
        whole=len(edits) == len(journal.edits_of_batch(batch.id)),
        groups=tuple(
            Group(origins[n], tuple(fact for _, fact in sorted(own, key=lambda item: item[0])))
            for n, own in groups.items()
        ),
    )


def _config(record: ModelRecord, place: Path | None) -> Any:
    """The old base's configuration if it lies on this machine; nothing is fetched for it."""
    from transformers import AutoConfig

    folder = demo_folder() if record.base_id == DEMO else place or Path(record.path)
    if not (folder / "config.json").is_file():
        return None
    return AutoConfig.from_pretrained(folder, local_files_only=True)
