"""Export of a version: as merged weights by surgery on the base's files, or in another form.

Promise: outside the touched tensors every byte of every weight file is the base's; the folder
appears whole or not at all; memory holds one tensor at a time.

    export(workspace, version=3, target=Path("merged"))
    export(workspace, version=3, target=Path("adapter"), form="adapter", compress=True)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ledger.chain import weights_digest
from ledger.errors import IntegrityFailure, InvalidInput
from ledger.manifest import FORMS
from ledger.release import describe, release_files
from ledger.released import ExportView
from ledger.versions import Plan
from ledger.weights import raw_bytes
from ledger.workspace import Workspace
from store.surgery import rewrite

_SHARED = (
    "untouched weight files are shared with the base by hard link: a change of one changes both"
)


def export(
    workspace: Workspace,
    version: int,
    target: Path,
    *,
    form: str = "merged",
    private: bool = False,
    link: bool = False,
    compress: bool = False,
) -> ExportView:
    """Write `version` to the new folder `target`.

    Raises: IntegrityFailure if it does not fold as recorded; InvalidInput for a form that cannot
    hold it; StoreWriteError for a target that exists, or a full disk; the target then does not
    exist.
    """
    _check_options(form, private=private, link=link, compress=compress)
    if form == "adapter":
        from ledger.adapter import export_adapter

        return export_adapter(workspace, version, target, private=private, compress=compress)
    if form == "bundle":
        from ledger.bundle import export_bundle

        return export_bundle(workspace.journal, workspace.store, version, target)
    plan = workspace.versions.plan(workspace.journal.history().active(version))
    return export_plan(workspace, version, plan, target, private=private, link=link)


def _check_options(form: str, *, private: bool, link: bool, compress: bool) -> None:
    if form not in FORMS:
        raise InvalidInput(f"{form!r} is no form of a release: {', '.join(FORMS)}")
    if link and form != "merged":
        raise InvalidInput("only a merged export has weight files to link")
    if compress and form != "adapter":
        raise InvalidInput("only an adapter can be compressed")
    if private and form == "bundle":
        raise InvalidInput("a bundle holds every fact of the ledger and cannot be private")


def export_plan(
    workspace: Workspace,
    version: int,
    plan: Plan,
    target: Path,
    *,
    private: bool = False,
    link: bool = False,
) -> ExportView:
    """As `export` of merged weights, for a plan that is known."""
    versions = workspace.versions
    recorded = dict(workspace.journal.entry_of(version).tensors)
    written: dict[str, str] = {}

    def replaced() -> Iterator[tuple[str, memoryview]]:
        for tensor in versions.tensors(plan):
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
    manifest = describe(workspace.journal, version, form="merged", private=private)
    touched = {versions.checkpoint.entry(versions.key(name)).file.name for name in plan}
    known = {
        name: entry["sha256"]
        for name, entry in workspace.record.config["files"].items()
        if name not in touched
    }
    documents = release_files(manifest, known)
    rewrite(versions.checkpoint, target, replaced(), documents=documents, link=link)
    return ExportView(
        directory=str(target),
        version=version,
        rewritten=tuple(sorted(written)),
        weights_digest=digest,
        bytes=sum(path.stat().st_size for path in target.iterdir() if path.is_file()),
        notes=(_SHARED,) if link and len(touched) < len(versions.checkpoint.weight_files) else (),
        merkle_root=manifest["merkle_root"],
    )
