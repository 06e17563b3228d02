"""Export of a version as a merged checkpoint, by surgery on the base's files.

Promise: outside the touched tensors every byte of every weight file is the base's; the folder
appears whole or not at all; memory holds one tensor at a time.

    export(workspace, version=3, target=Path("merged"))
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ledger.cards import model_card
from ledger.chain import weights_digest
from ledger.errors import IntegrityFailure
from ledger.inspection import status
from ledger.manifest import MANIFEST, SCHEMA
from ledger.versions import Plan
from ledger.views import BaseView, ExportView
from ledger.weights import raw_bytes
from ledger.workspace import Workspace
from store.surgery import rewrite

CARD = "README.md"


def export(workspace: Workspace, version: int, target: Path) -> ExportView:
    """Write `version` to the new folder `target`.

    Raises: IntegrityFailure if it does not fold as recorded; StoreWriteError for a target that
    exists, or a full disk; the target then does not exist.
    """
    plan = workspace.versions.plan(workspace.journal.history().active(version))
    return export_plan(workspace, version, plan, target)


def export_plan(workspace: Workspace, version: int, plan: Plan, target: Path) -> ExportView:
    """As `export`, for a plan that is known."""
    entry = workspace.journal.entry_of(version)
    recorded = dict(entry.tensors)
    written: dict[str, str] = {}

    def replaced() -> Iterator[tuple[str, memoryview]]:
        for tensor in workspace.versions.tensors(plan):
            if recorded.get(tensor.parameter) != tensor.sha256:
                raise IntegrityFailure(
                    f"{tensor.parameter} of version {version} does not fold to its recorded "
                    "digest; run `kel verify --weights`"
                )
            written[tensor.key] = tensor.sha256
            yield tensor.key, raw_bytes(tensor.weights)
            # Else this tensor would stay in memory while the next one is folded.
            del tensor

    digest = weights_digest(workspace.record.base_digest, recorded)
    with tempfile.TemporaryDirectory() as scratch:
        extra = _documents(workspace, version, Path(scratch))
        rewrite(workspace.versions.checkpoint, target, replaced(), extra_files=extra)
    return ExportView(
        directory=str(target),
        version=version,
        rewritten=tuple(sorted(written)),
        weights_digest=digest,
        bytes=sum(path.stat().st_size for path in target.iterdir() if path.is_file()),
    )


def _documents(workspace: Workspace, version: int, folder: Path) -> list[Path]:
    """The card and the manifest of a version."""
    journal = workspace.journal
    active = journal.history().active(version)
    edits = journal.edits(active)
    batches = journal.batches({edit.batch_id for edit in edits})
    entry = journal.entry_of(version)
    base = status(journal, folder).base
    facts: list[dict[str, Any]] = [
        {
            "edit": edit.id,
            "hash": edit.hash,
            "subject": edit.subject,
            "prompt": edit.prompt,
            "target_new": edit.target_new,
            "target_true": edit.target_true,
            "method": batches[edit.batch_id].method,
            "layers": list(batches[edit.batch_id].layers),
            "metrics": {
                row.metric: row.value for row in journal.measurements(edit_id=edit.id, suite="edit")
            },
        }
        for edit in edits
    ]
    manifest = {
        "schema": SCHEMA,
        "version": version,
        "entry": {"seq": entry.seq, "hash": entry.hash},
        "base": {k: v for k, v in asdict(base).items() if k != "path"} | {"id": _public(base)},
        "weights_digest": entry.weights_digest,
        "tensors": dict(entry.tensors),
        "facts": facts,
    }
    (folder / MANIFEST).write_text(
        json.dumps(manifest, ensure_ascii=False, indent=1, sort_keys=True) + "\n", "utf-8"
    )
    (folder / CARD).write_text(model_card(manifest), "utf-8")
    return [folder / CARD, folder / MANIFEST]


def _public(base: BaseView) -> str:
    """The base's name without the place of a folder on this machine."""
    return Path(base.id).name if base.id == base.path else base.id
