"""Export of a version: as merged weights by surgery on the base's files, or in another form.

Promise: outside the touched tensors every byte of every weight file is the base's (with `shard`, of
every tensor: the files are cut anew then); the folder appears whole or not at all; memory holds one
tensor at a time.

    export(workspace, version=3, target=Path("merged"))
    export(workspace, version=3, target=Path("merged"), shard=5_000_000_000)
    export(workspace, version=3, target=Path("adapter"), form="adapter", compress=True)
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ledger.chain import weights_digest
from ledger.errors import IntegrityFailure, InvalidInput
from ledger.manifest import FORMS
from ledger.release import describe, release_files
from ledger.released import ExportView
from ledger.versions import Plan
from ledger.weights import raw_bytes
from ledger.workspace import Workspace
from store.resharding import Layout, layout_of, reshard
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
    shard: int | None = None,
) -> ExportView:
    """Write `version` to the new folder `target`; `shard`: weight files of at most so many bytes.

    Raises: IntegrityFailure if it does not fold as recorded; InvalidInput for a form that cannot
    hold it; StoreWriteError for a target that exists, or a full disk; the target then does not
    exist.
    """
    _check_options(form, private=private, link=link, compress=compress, shard=shard)
    if form == "adapter":
        from ledger.adapter import export_adapter

        return export_adapter(workspace, version, target, private=private, compress=compress)
    if form == "bundle":
        from ledger.bundle import export_bundle

        return export_bundle(workspace.journal, workspace.store, version, target)
    plan = workspace.versions.plan(workspace.journal.history().active(version))
    return export_plan(workspace, version, plan, target, private=private, link=link, shard=shard)


def _check_options(
    form: str, *, private: bool, link: bool, compress: bool, shard: int | None
) -> None:
    if form not in FORMS:
        raise InvalidInput(f"{form!r} is no form of a release: {', '.join(FORMS)}")
    if link and form != "merged":
        raise InvalidInput("only a merged export has weight files to link")
    if shard is not None and (form != "merged" or link):
        raise InvalidInput("only merged weights that are not linked can be cut into other files")
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
    shard: int | None = None,
) -> ExportView:
    """As `export` of merged weights, for a plan that is known."""
    versions, checkpoint = workspace.versions, workspace.versions.checkpoint
    recorded = dict(workspace.journal.entry_of(version).tensors)
    replaced = {
        versions.key(name): partial(_folded, workspace, version, plan, name) for name in plan
    }
    manifest = describe(workspace.journal, version, form="merged", private=private)
    notes: tuple[str, ...] = ()
    if shard is None:
        touched = {checkpoint.entry(key).file.name for key in replaced}
        known = {
            name: entry["sha256"]
            for name, entry in workspace.record.config["files"].items()
            if name not in touched
        }
        documents = release_files(manifest, known)
        folded = ((key, make()) for key, make in replaced.items())
        rewrite(checkpoint, target, folded, documents=documents, link=link)
        notes = (_SHARED,) if link and len(touched) < len(checkpoint.weight_files) else ()
    else:
        layout = layout_of(checkpoint, shard)
        documents = release_files(manifest | {"sharding": {"most_bytes": shard}})
        reshard(checkpoint, target, layout, replaced, documents=documents)
        notes = (_cut(layout, shard),)
    return ExportView(
        directory=str(target),
        version=version,
        rewritten=tuple(sorted(replaced)),
        weights_digest=weights_digest(workspace.record.base_digest, recorded),
        bytes=sum(path.stat().st_size for path in target.iterdir() if path.is_file()),
        notes=notes,
        merkle_root=manifest["merkle_root"],
    )


def _folded(workspace: Workspace, version: int, plan: Plan, name: str) -> memoryview:
    """The raw bytes of a parameter, which are those that were recorded. Raises: IntegrityFailure"""
    recorded = workspace.journal.entry_of(version).tensors
    (tensor,) = workspace.versions.tensors({name: plan[name]})
    if recorded.get(name) != tensor.sha256:
        raise IntegrityFailure(
            f"{name} of version {version} does not fold to its recorded digest; run `kel verify "
            "--weights`"
        )
    return raw_bytes(tensor.weights)


def _cut(layout: Layout, most: int) -> str:
    """What is to know of files that are not the base's."""
    count, large = (
        len(layout.shards),
        sum(len(s.entries) == 1 and s.entries[0].nbytes > most for s in layout.shards),
    )
    told = f"the weights were written anew into {count} file{'s' if count > 1 else ''}"
    more = f"; {large} of them hold one tensor that is larger" if large else ""
    return f"{told} of at most {most} bytes of tensors{more}"
