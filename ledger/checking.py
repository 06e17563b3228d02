"""Checking a release without the ledger it came from: by whoever has the base.

Promise: nothing in the release is believed; what cannot be checked is told. Nothing is changed.
Rules: first the folder by itself (files, sizes, sha256, card, Merkle root), then, with the base,
the weights: of merged weights every byte outside the listed tensors is the base's, and the listed
tensors have their digests; the columns of an adapter fold to them; a bundle is taken in and folded.
Codes are stable:

    error    release.files, release.card, release.base, release.tensor, release.weights,
             release.config, release.bundle
    info     release.compressed

    for finding in check_release("merged/", base="gpt2").findings:
        report(finding.severity, finding.code, finding.subject, finding.text)
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from ledger.base import EMBEDDED, Base, identify, locate
from ledger.cards import model_card
from ledger.chain import weights_digest
from ledger.errors import BaseMismatch, IntegrityFailure, InvalidInput, LedgerError
from ledger.manifest import (
    BESIDE,
    CARD,
    MANIFEST,
    Json,
    names,
    read_manifest,
    sha256_of,
)
from ledger.released import ReleaseCheck
from ledger.verify import Finding
from store.adapters import read_adapter
from store.checkpoints import INDEX, Checkpoint
from store.errors import StoreError
from store.resharding import layout_of


def check_release(
    release: str, *, revision: str | None = None, base: str | None = None
) -> ReleaseCheck:
    """Check a folder, or a repository of the Hub.

    `base` is where the base lies, if the manifest's name for it does not lead there.
    Raises: InvalidInput if it is no release at all; RemoteFailure.
    """
    folder, links = _found(release, revision)
    manifest = read_manifest(folder)
    findings = list(_alone(folder, manifest, links))
    known = None if findings else _known(manifest, base, findings)
    if known is not None:
        try:
            findings += _against(folder, manifest, known, links)
        except (LedgerError, StoreError) as error:
            findings.append(_error("release.weights", manifest["form"], str(error)))
    return ReleaseCheck(
        release=release,
        form=manifest["form"],
        version=manifest["version"],
        weights_digest=manifest["weights_digest"],
        base=None if known is None else known.digest,
        findings=tuple(findings),
    )


def _found(release: str, revision: str | None) -> tuple[Path, bool]:
    """The folder of a release, and whether it consists of links, as a Hub cache does."""
    if Path(release).is_dir():
        if revision is not None:
            raise InvalidInput(f"--revision goes with a Hub id, and {release!r} is a folder")
        return Path(release), False
    from ledger import hub

    commit, folder = hub.snapshot(release, revision, [MANIFEST])
    if not (folder / MANIFEST).exists():
        raise InvalidInput(f"{release} holds no {MANIFEST}: it is no release of a ledger")
    listed = read_manifest(folder)["files"]
    there = hub.files_at(release, commit)
    sizes = {name: entry["size"] for name, entry in listed.items()}
    if any(name not in there or there[name].size != size for name, size in sizes.items()):
        raise IntegrityFailure(f"{release} does not hold the files that its {MANIFEST} lists")
    if extra := sorted(set(there) - set(listed) - {MANIFEST, *BESIDE}):
        raise IntegrityFailure(f"{release} holds {extra[0]!r:.200}, which is not listed")
    _, folder = hub.snapshot(release, commit, [MANIFEST, *listed])
    return folder, True


# --- the release by itself ------------------------------------------------------------------------


def _alone(folder: Path, manifest: Json, links: bool) -> Iterator[Finding]:
    """What the folder shows without the base."""
    present = {name for name in names(folder) if name.split("/")[0] not in BESIDE}
    listed = set(manifest["files"])
    for name in sorted(present - listed - {MANIFEST} if not links else ()):
        yield _error("release.files", name, "it is not listed")
    for name in sorted(listed - present):
        yield _error("release.files", name, "it is listed and not there")
    for name in sorted(listed & present):
        entry, path = manifest["files"][name], folder / name
        if path.is_symlink() and not links:
            yield _error("release.files", name, "it is a link")
        elif path.stat().st_size != entry["size"] or sha256_of(path) != entry["sha256"]:
            yield _error("release.files", name, "its bytes are not those that are listed")
    if manifest["files"].get(CARD, {}).get("sha256") != _card(manifest):
        yield _error("release.card", CARD, "it does not say what the manifest says")
    if (
        weights_digest(manifest["base"]["digest"], manifest["tensors"])
        != manifest["weights_digest"]
    ):
        yield _error("release.weights", MANIFEST, "its weights digest is not that of its tensors")


def _card(manifest: Json) -> str | None:
    """sha256 of the card; None if the manifest is not enough for one."""
    try:
        return hashlib.sha256(model_card(manifest).encode()).hexdigest()
    except (LookupError, TypeError, ValueError, AttributeError):
        return None


# --- beside its base ------------------------------------------------------------------------------


def _known(manifest: Json, place: str | None, findings: list[Finding]) -> Base | None:
    """The base; what is wrong with it is added to the findings."""
    try:
        return _base(manifest, place)
    except (LedgerError, StoreError) as error:
        findings.append(_error("release.base", manifest["base"]["id"], str(error)))
        return None


def _base(manifest: Json, place: str | None) -> Base:
    """The base that the manifest names. Raises: BaseMismatch, InvalidInput, RemoteFailure."""
    recorded = manifest["base"]
    spec = place or recorded["id"]
    if place is None and spec not in EMBEDDED and recorded["revision"] is None:
        raise BaseMismatch(f"the base was a folder called {spec!r:.200}; say where with --base")
    here = spec in EMBEDDED or Path(spec).expanduser().is_dir()
    found = identify(locate(spec, revision=None if here else recorded["revision"]))
    if found.digest != recorded["digest"]:
        raise BaseMismatch(
            f"{spec} is not the base of this release: its digest is {found.digest[:12]}, the "
            f"release was made for {recorded['digest'][:12]}"
        )
    return found


def _against(folder: Path, manifest: Json, base: Base, links: bool) -> Iterator[Finding]:
    if manifest["form"] == "merged":
        yield from _merged(folder, manifest, base)
    elif manifest["form"] == "adapter":
        yield from _adapter(folder, manifest, base)
    else:
        yield from _bundle(folder, base, links)


def _merged(folder: Path, manifest: Json, base: Base) -> Iterator[Finding]:
    """Every byte is the base's, but for the listed tensors, and those have their digests."""
    from ledger.versions import checkpoint_key

    old, new = Checkpoint.open(base.folder), Checkpoint.open(folder)
    touched = {checkpoint_key(old, name): sha for name, sha in manifest["tensors"].items()}
    cut = manifest.get("sharding")
    yield from _layout(old, new) if cut is None else _cut(old, new, cut)
    for key, entry in old.entries.items():
        if key not in new.entries:
            continue
        if key in touched and new.digest(key) != touched[key]:
            yield _error("release.tensor", key, "it has not the digest of the manifest")
        # A shard of which nothing is touched was compared as a whole.
        whole = manifest["files"].get(entry.file.name, {}).get("sha256")
        same = whole == base.files[entry.file.name]["sha256"]
        if key not in touched and not same and new.digest(key) != old.digest(key):
            yield _error("release.tensor", key, "it is not the base's, and not listed as edited")
    weights = {path.name for path in (old.weight_files if cut is None else new.files())}
    for name, entry in manifest["files"].items():
        if name != CARD and name not in weights and not _equal(base.folder / name, entry):
            yield _error("release.files", name, "it is not the base's")
    gone = () if cut is None else (path.name for path in old.files())
    for name in sorted(set(base.files).difference(manifest["files"], gone)):
        yield _error("release.files", name, "the base has it and the release has not")


def _layout(old: Checkpoint, new: Checkpoint) -> Iterator[Finding]:
    """The same tensors at the same places, under the same headers."""
    for one, other in zip(old.weight_files, new.weight_files, strict=False):
        first = min(entry.start for entry in old.entries.values() if entry.file == one)
        with one.open("rb") as left, other.open("rb") as right:
            if one.name != other.name or left.read(first) != right.read(first):
                yield _error("release.files", other.name, "its header is not the base's")
    if len(old.weight_files) != len(new.weight_files):
        yield _error("release.files", "weights", "the base has another number of weight files")


def _cut(old: Checkpoint, new: Checkpoint, said: object) -> Iterator[Finding]:
    """The files are those that the manifest's size makes of the base's tensors."""
    most = said.get("most_bytes") if isinstance(said, dict) else None
    if type(most) is not int:
        yield _error("release.files", MANIFEST, "its sharding has no number of bytes")
        return
    layout = layout_of(old, most)
    if {shard.name for shard in layout.shards} != {path.name for path in new.weight_files}:
        yield _error("release.files", "weights", "they are not cut as the manifest says")
        return
    for shard in layout.shards:
        with (new.folder / shard.name).open("rb") as file:
            if file.read(len(shard.header)) != shard.header:
                yield _error("release.files", shard.name, "its header is not of the base's tensors")
    if layout.index is not None and (new.folder / INDEX).read_bytes() != layout.index:
        yield _error("release.files", INDEX, "it is not the index of these files")


def _equal(path: Path, entry: Json) -> bool:
    return path.is_file() and sha256_of(path) == entry["sha256"]


def _adapter(folder: Path, manifest: Json, base: Base) -> Iterator[Finding]:
    """Its files say what the manifest says, and its columns fold to the digests."""
    from editors.architectures import architecture_in
    from ledger.adapter import CONFIG, WEIGHTS, adapter_config, adapter_tensors, names_of
    from ledger.lora import Pair
    from ledger.versions import checkpoint_key
    from ledger.weights import digest, fold, from_raw

    if set(manifest["files"]) != {CARD, CONFIG, WEIGHTS}:
        yield _error("release.files", CONFIG, "these are not the files of an adapter")
        return
    checkpoint, architecture = Checkpoint.open(base.folder), architecture_in(base.folder)
    said, parameters = manifest.get("adapter"), sorted(manifest["tensors"])
    rank = said.get("rank") if isinstance(said, dict) else None
    found = {name: torch.from_numpy(a.copy()) for name, a in read_adapter(folder / WEIGHTS).items()}
    parts = {name: [found.get(part) for part in names_of(name)[::-1]] for name in parameters}
    if type(rank) is not int or not all(_fits(pair, rank) for pair in parts.values()):
        yield _error("release.tensor", WEIGHTS, "it has not the factors of all edits, of one rank")
        return
    if (folder / CONFIG).read_bytes() != adapter_config(
        architecture, checkpoint, manifest["base"], parameters, rank
    ):
        yield _error("release.config", CONFIG, "it is not the config of such an adapter")
    pairs = {name: Pair(found[names_of(name)[1]], found[names_of(name)[0]]) for name in parameters}
    wanted = adapter_tensors(architecture, pairs, rank)
    for name in sorted(set(found) | set(wanted)):
        if name not in found or name not in wanted or not torch.equal(found[name], wanted[name]):
            yield _error("release.tensor", name, "it is no part of the edits")
    if manifest["adapter"].get("exact") is not True:
        text = "compressed: that its sum is the version's is not shown by digests"
        yield Finding("info", "release.compressed", WEIGHTS, text)
        return
    for name, pair in pairs.items():
        key = checkpoint_key(checkpoint, name)
        stored = from_raw(checkpoint.entry(key), checkpoint.own(key))
        folded = fold(stored, pair.updates(), transposed=architecture.layout == "conv1d")
        if digest(folded) != manifest["tensors"][name]:
            yield _error("release.tensor", name, "its columns do not fold to its digest")


def _fits(pair: Sequence[torch.Tensor | None], rank: int) -> bool:
    """Whether both factors are there, as [d_out, rank] and [rank, d_in]."""
    b, a = pair
    return (
        b is not None
        and a is not None
        and (b.ndim, a.ndim) == (2, 2)
        and (b.shape[1], a.shape[0]) == (rank, rank)
    )


def _bundle(folder: Path, base: Base, links: bool) -> Iterator[Finding]:
    """It makes a sound ledger, whose head folds to its digests."""
    from ledger.importing import import_bundle

    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "ledger"
        try:
            import_bundle(folder, target, author="", base=str(base.folder), links=links)
        except (LedgerError, StoreError) as error:
            yield _error("release.bundle", folder.name, str(error))


def _error(code: str, subject: str, text: str) -> Finding:
    return Finding("error", code, subject, text)
