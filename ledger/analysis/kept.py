"""Analyses as objects of the store and entries of the history.

Promise: what is shown is what was decoded from the stored bytes; an analysis names the versions,
the settings and the base it was made with, so that two of them can be compared or cannot.

Rules: an analysis is an entry of op `analysis`, one object `kel.analysis/1` (texts as metadata,
numbers as tensors) and a row of suite `<kind>` for each of its figures. It makes no version.

    entry = keep(workspace, analysis, author="ada", note="")
    entry, analysis = newest(journal, store, "trace")
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from ledger.errors import IntegrityFailure, UnknownRevision
from ledger.inspection import entries_backwards
from ledger.journal import Journal
from ledger.records import EntryRecord, MeasurementRecord, ObjectRecord, Rows
from ledger.views import AnalysisView
from ledger.workspace import Workspace
from store.objects import ObjectStore
from store.tensors import decode, encode

SCHEMA: Final = "kel.analysis/1"
Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Analysis:
    """What was found. `settings` and `texts` are plain JSON, `arrays` float64, `metrics` figures.

    `versions`: those that were looked at, in order; figures are of the last.
    """

    kind: str
    versions: tuple[int, ...]
    settings: Mapping[str, Any]
    texts: Mapping[str, Any]
    arrays: Mapping[str, Array]
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def protocol(self) -> str:
        """How the figures were made; figures of different protocols are not comparable."""
        told = " ".join(f"{name}={value}" for name, value in sorted(self.settings.items()))
        return f"kel.{self.kind}/1 {told}".rstrip()

    def encoded(self, base_digest: str) -> bytes:
        """The canonical bytes. Raises: ObjectRejected for what is too large to be kept."""
        meta = {
            "schema": SCHEMA,
            "kind": self.kind,
            "base": base_digest,
            "versions": list(self.versions),
            "settings": dict(self.settings),
            "texts": dict(self.texts),
            "metrics": dict(self.metrics),
        }
        return encode(dict(self.arrays), meta)

    @classmethod
    def decoded(cls, data: bytes) -> Analysis:
        """Inverse of `encoded`. Raises: ObjectRejected, IntegrityFailure."""
        found = decode(data)
        meta = found.meta or {}
        if meta.get("schema") != SCHEMA:
            raise IntegrityFailure(f"the object's schema is {meta.get('schema')!r}, not {SCHEMA}")
        return cls(
            kind=meta["kind"],
            versions=tuple(meta["versions"]),
            settings=meta["settings"],
            texts=meta["texts"],
            arrays=found.tensors,
            metrics=meta["metrics"],
        )

    def view(self, content: Mapping[str, Any], entry: EntryRecord | None) -> AnalysisView:
        """As a verb returns it; `content` is what its kind shows."""
        return AnalysisView(
            kind=self.kind,
            versions=self.versions,
            settings=self.settings,
            metrics=self.metrics,
            content=content,
            entry=None if entry is None else entry.seq,
            object=None if entry is None else str(entry.payload["object"]),
        )


def keep(workspace: Workspace, analysis: Analysis, author: str, note: str) -> EntryRecord:
    """Store an analysis and append its entry. Raises: ObjectRejected, Busy."""
    data = analysis.encoded(workspace.record.base_digest)
    oid = workspace.store.put(data)
    rows = Rows(
        objects=(ObjectRecord(oid=oid, kind="analysis", size=len(data)),),
        measurements=tuple(
            MeasurementRecord(
                version=analysis.versions[-1],
                suite=analysis.kind,
                metric=name,
                value=float(value),
                protocol=analysis.protocol,
            )
            for name, value in analysis.metrics.items()
        ),
    )
    return workspace.journal.append(
        "analysis",
        rows=rows,
        payload={"kind": analysis.kind, "versions": list(analysis.versions), "object": oid},
        author=author,
        note=note,
    )


def newest(
    journal: Journal, store: ObjectStore, kind: str, seq: int | None = None
) -> tuple[EntryRecord, Analysis]:
    """The newest analysis of a kind, or the one that entry `seq` recorded.

    Raises: UnknownRevision if there is none; ObjectError, IntegrityFailure.
    """
    for entry in entries_backwards(journal):
        fits = entry.op == "analysis" and entry.payload.get("kind") == kind
        if fits and seq in (None, entry.seq):
            return entry, Analysis.decoded(store.get(str(entry.payload["object"])))
    wanted = f"no {kind}" if seq is None else f"no {kind} in entry {seq}"
    raise UnknownRevision(f"the ledger holds {wanted}: make one with `kel {kind}`")
