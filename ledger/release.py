"""What a release says of its version: base, facts, methods, measurements; the source of its card.

Promise: a pure function of the ledger's rows, so that whoever has the ledger can make it again and
compare it byte by byte.
Rules: facts stand in ledger order; with `private` a fact is its hash alone. The hash covers the
fact, its time and its delta, so it can be compared by whoever has the edit and guessed by nobody.

    manifest = describe(journal, version=3, form="merged", private=False)
    documents = release_files(manifest, known={})       # README.md and kel.json, for a folder
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from editors.requests import VALIDITY
from ledger import merkle
from ledger.cards import model_card
from ledger.inspection import status
from ledger.journal import Journal
from ledger.manifest import CARD, MANIFEST, SCHEMA, listing, write_manifest
from ledger.records import BatchRecord, EditRecord
from ledger.views import BaseView

Json = dict[str, Any]


def describe(journal: Journal, version: int, *, form: str, private: bool = False) -> Json:
    """The manifest of a version, but for its files."""
    entry, active = journal.entry_of(version), journal.history().active(version)
    edits = journal.edits(active)
    batches = journal.batches({edit.batch_id for edit in edits})
    metrics, protocols = _measured(journal, set(active))
    return {
        "schema": SCHEMA,
        "form": form,
        "version": version,
        "entry": {"seq": entry.seq, "hash": entry.hash},
        "base": _base(status(journal, Path()).base),
        "weights_digest": entry.weights_digest,
        "tensors": dict(entry.tensors),
        "facts": [_fact(e, batches[e.batch_id], metrics.get(e.id, {}), private) for e in edits],
        "methods": _methods(edits, batches),
        "measured": {"protocols": protocols, "test": _last_test(journal, version)},
        "merkle_root": merkle.root([edit.hash for edit in edits]),
        "private": private,
    }


def release_files(
    manifest: Json, known: Mapping[str, str] | None = None
) -> dict[str, Callable[[Path], bytes]]:
    """The card and the manifest, each a function of the folder that holds all other files.

    `known`: sha256 of files that need not be read for it.
    """
    return {
        CARD: lambda folder: model_card(manifest).encode(),
        MANIFEST: lambda folder: write_manifest(manifest | {"files": listing(folder, known)}),
    }


def _base(base: BaseView) -> Json:
    """The base without the place of a folder on this machine."""
    return {
        "id": Path(base.id).name if base.id == base.path else base.id,
        "revision": base.revision,
        "dtype": base.dtype,
        "digest": base.digest,
        "model_type": base.model_type,
    }


def _fact(
    edit: EditRecord, batch: BatchRecord, metrics: Mapping[str, float], private: bool
) -> Json:
    words = {
        "subject": edit.subject,
        "prompt": edit.prompt,
        "target_new": edit.target_new,
        "target_true": edit.target_true,
        **{name: v for name in VALIDITY if (v := getattr(edit, name)) is not None},
    }
    return {
        "edit": edit.id,
        "hash": edit.hash,
        **({} if private else words),
        "method": batch.method,
        "layers": list(batch.layers),
        "metrics": dict(metrics),
    }


def _methods(edits: Sequence[EditRecord], batches: Mapping[int, BatchRecord]) -> list[Json]:
    """Each method with each of its settings once, and the edits that were made so."""
    found: dict[str, Json] = {}
    for edit in edits:
        batch = batches[edit.batch_id]
        settings = {"method": batch.method, "hparams": _plain(batch.hparams)}
        key = json.dumps(settings, sort_keys=True)
        found.setdefault(key, settings | {"edits": []})["edits"].append(edit.id)
    return list(found.values())


def _plain(value: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(dict(value)))


def _measured(journal: Journal, active: set[int]) -> tuple[dict[int, dict[str, float]], list[str]]:
    """Edit -> {metric: value} right after it was made, and the protocols of these numbers."""
    metrics: dict[int, dict[str, float]] = {}
    protocols: set[str] = set()
    for row in journal.measurements(suite="edit"):
        if row.edit_id in active:
            metrics.setdefault(row.edit_id, {})[row.metric] = row.value
            protocols.add(row.protocol)
    return metrics, sorted(protocols)


def _last_test(journal: Journal, version: int) -> Json | None:
    """The newest test of this version."""
    for entry in journal.entries_of_kind("test"):
        if entry.payload["version"] == version:
            return {"seq": entry.seq, "edits": len(entry.edits), "means": entry.payload["means"]}
    return None
