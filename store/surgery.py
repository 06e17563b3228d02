"""Surgical export: a copy of a checkpoint that differs in chosen tensors only.

Promise: outside the byte ranges of the replaced tensors every weight file of the new folder is
byte for byte the old one. The new folder appears whole or not at all; the source is only read.
At most one replaced tensor is in memory at a time.
Rules: same dtype and shape, so the same byte length; quantised models and occupied targets are
refused; of the other files only those that describe a model are taken, never pickles or code.

    def edited():
        yield "h.0.mlp.c_proj.weight", new_raw_bytes
    rewrite(Checkpoint.open(base), Path("edited-model"), edited())
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from store import atomic
from store.buffers import byte_view
from store.checkpoints import Checkpoint
from store.errors import (
    CheckpointCorrupt,
    CheckpointError,
    CheckpointUnsupported,
    reading,
    writing,
)
from store.filesystem import OS, Filesystem, pwrite_all
from store.headers import TensorEntry
from store.staging import Stage, staging

if TYPE_CHECKING:
    from store.buffers import BytesLike

Document: TypeAlias = Callable[[Path], bytes]
POINTS: Final = ("stage-made", "tensor-patched", "files-copied", "stage-synced", "stage-renamed")
_COMPANIONS: Final = (".json", ".model", ".txt", ".jinja", ".tiktoken")
_NOTICES: Final = ("LICENSE", "LICENCE", "NOTICE")
_BANNED: Final = (
    *(".bin", ".pt", ".pth", ".ckpt", ".py", ".msgpack", ".h5", ".npz", ".pkl", ".so"),
    ".index.json",
)


def rewrite(
    source: Checkpoint,
    target: Path,
    replaced: Iterable[tuple[str, BytesLike]],
    *,
    documents: Mapping[str, Document] = MappingProxyType({}),
    link: bool = False,
    fs: Filesystem = OS,
) -> Checkpoint:
    """Write `source` with some tensors replaced into the new folder `target`.

    `replaced` yields (name, raw little-endian bytes of the tensor's dtype and shape) and is
    consumed one by one. `documents` are files to add: name -> a function of the unpublished folder,
    called in order when all weights are in it. `link` shares untouched weight files by hard link
    instead of copying them.
    Raises: CheckpointUnsupported (quantised, banned file), CheckpointError (unknown or repeated
    tensor, wrong length), StoreWriteError (occupied target, disk); the target then does not exist.
    """
    refuse_quantised(source)
    beside = companions(source, documents)
    with staging(target, fs) as stage:
        written = _patch(stage, source, replaced)
        with writing("checkpoint", stage.folder):
            for path in source.weight_files:
                if path.name not in written and not (link and _link(stage, path)):
                    written[path.name] = stage.begin_copy(path, path.name)
            for name, path in beside.items():
                stage.copy(path, name)
            atomic._point("files-copied")
        for name, document in documents.items():
            stage.write(name, document(stage.folder))
        # Last: the disk was writing while the documents were made.
        with writing("checkpoint", stage.folder):
            for fd in written.values():
                fs.fsync(fd)
        _check_same_headers(source, Checkpoint.open(stage.folder))
    return Checkpoint.open(target)


def refuse_quantised(source: Checkpoint) -> None:
    """Raises: CheckpointUnsupported."""
    if source.quantised:
        text = f"{source.folder} is quantised; export from the unquantised base model"
        raise CheckpointUnsupported(text)


def _patch(
    stage: Stage, source: Checkpoint, replaced: Iterable[tuple[str, BytesLike]]
) -> dict[str, int]:
    """Overwrite tensors in copies of their files, which stay open: their writer has to sync them.

    Returns: name -> descriptor.
    """
    patched: dict[str, int] = {}
    for entry, data in _checked(source, replaced):
        name = entry.file.name
        with writing("weights", stage.folder / name):
            if name not in patched:
                patched[name] = stage.begin_copy(entry.file, name)
            pwrite_all(stage.fs, patched[name], data, entry.start)
        # Else the old tensor would stay in memory while the next one is made.
        del data
        atomic._point("tensor-patched")
    return patched


def _link(stage: Stage, path: Path) -> bool:
    """False where a hard link is impossible and a copy has to do."""
    try:
        stage.fs.link(path.resolve(), stage.folder / path.name)
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.EPERM, errno.EMLINK):
            return False
        raise
    return True


def _checked(
    source: Checkpoint, replaced: Iterable[tuple[str, BytesLike]]
) -> Iterator[tuple[TensorEntry, BytesLike]]:
    """The replacements, each known, new, and of the right length."""
    seen: set[str] = set()
    for name, data in replaced:
        entry = source.entry(name)
        if name in seen:
            raise CheckpointError(f"tensor {name!r} is replaced twice; give its final bytes once")
        if (given := byte_view(data).nbytes) != entry.nbytes:
            text = f"{name!r} has {entry.nbytes} bytes ({entry.dtype} {entry.shape}), {given} given"
            raise CheckpointError(f"{text}; keep dtype and shape")
        seen.add(name)
        yield entry, data
        del data


def _check_same_headers(source: Checkpoint, copy: Checkpoint) -> None:
    """The copy must have every tensor where it was when the source was opened."""
    for name, entry in source.entries.items():
        found = copy.entry(name)
        if replace(found, file=entry.file) != entry or found.file.name != entry.file.name:
            raise CheckpointCorrupt(f"{entry.file} changed after it was opened; repeat the export")


def companions(source: Checkpoint, documents: Iterable[str]) -> dict[str, Path]:
    """Name in the new folder -> file to copy: the index, and what describes the model."""
    with reading("folder", source.folder):
        chosen = {path.name: path for path in sorted(source.folder.iterdir()) if _describes(path)}
    weights = {path.name for path in source.files()}
    if source.index:
        chosen[source.index.name] = source.index
    for name in documents:
        if name in weights:
            raise CheckpointError(f"{name} is the name of a weight file; choose another")
        if name.lower().endswith(_BANNED):
            raise CheckpointUnsupported(f"{name} is not a file that a model folder may carry")
        chosen.pop(name, None)
    return chosen


def _describes(path: Path) -> bool:
    name = path.name
    if name.startswith(".") or name.lower().endswith(_BANNED) or not path.is_file():
        return False
    return path.suffix in _COMPANIONS or name.upper().startswith(_NOTICES)
