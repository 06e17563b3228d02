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
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from store import atomic
from store.buffers import byte_view
from store.checkpoints import Checkpoint
from store.errors import (
    CheckpointCorrupt,
    CheckpointError,
    CheckpointUnsupported,
    StoreWriteError,
    reading,
    writing,
)
from store.filesystem import OS, Filesystem, pwrite_all
from store.headers import TensorEntry

if TYPE_CHECKING:
    from store.buffers import BytesLike

_MODE: Final = 0o644
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
    extra_files: Iterable[Path] = (),
    link: bool = False,
    fs: Filesystem = OS,
) -> Checkpoint:
    """Write `source` with some tensors replaced into the new folder `target`.

    `replaced` yields (name, raw little-endian bytes of the tensor's dtype and shape) and is
    consumed one by one. `extra_files` are copied in by their names. `link` shares untouched
    weight files by hard link instead of copying them.
    Raises: CheckpointUnsupported (quantised, banned file), CheckpointError (unknown or repeated
    tensor, wrong length), StoreWriteError (occupied target, disk); the target then does not exist.
    """
    target = Path(os.path.abspath(target))
    target = target.parent.resolve() / target.name
    _check_target(target)
    if source.quantised:
        text = f"{source.folder} is quantised; export from the unquantised base model"
        raise CheckpointUnsupported(text)
    companions = _companions(source, extra_files)
    with _staging(target, fs) as stage:
        for entry, data in _checked(source, replaced):
            stage.patch(entry, data)
            # Else the old tensor would stay in memory while the next one is made.
            del data
        stage.complete(source, companions, link=link)
        _check_same_headers(source, Checkpoint.open(stage.folder))
    return Checkpoint.open(target)


class _Stage:
    """The unpublished folder; a patched file stays open, so that its writer is the one to sync."""

    def __init__(self, folder: Path, fs: Filesystem) -> None:
        self.folder = folder
        self.fs = fs
        self.patched: dict[str, int] = {}
        self.stack = ExitStack()

    def patch(self, entry: TensorEntry, data: BytesLike) -> None:
        """Overwrite one tensor in the copy of its file."""
        name = entry.file.name
        with writing("weights", self.folder / name):
            if name not in self.patched:
                fd = self.fs.open_excl(self.folder / name, _MODE)
                self.stack.callback(os.close, fd)
                self._copy(entry.file, fd)
                self.patched[name] = fd
            pwrite_all(self.fs, self.patched[name], data, entry.start)
        atomic._point("tensor-patched")

    def complete(self, source: Checkpoint, companions: dict[str, Path], *, link: bool) -> None:
        """Bring in everything that no tensor touched, and make all of it durable."""
        with writing("checkpoint", self.folder):
            for path in source.weight_files:
                if path.name not in self.patched and not (link and self._link(path)):
                    self._add(path, path.name)
            for name, path in companions.items():
                self._add(path, name)
            atomic._point("files-copied")
            for fd in self.patched.values():
                self.fs.fsync(fd)
            self.stack.close()
            self.fs.fsync_dir(self.folder)
            atomic._point("stage-synced")

    def _add(self, source: Path, name: str) -> None:
        fd = self.fs.open_excl(self.folder / name, _MODE)
        try:
            self._copy(source, fd)
            self.fs.fsync(fd)
        finally:
            os.close(fd)

    def _copy(self, source: Path, fd: int) -> None:
        if self.fs.copy(source, fd) != source.stat().st_size:
            raise CheckpointCorrupt(f"{source} changed while it was copied; repeat the export")

    def _link(self, path: Path) -> bool:
        """False where a hard link is impossible and a copy has to do."""
        try:
            self.fs.link(path.resolve(), self.folder / path.name)
        except OSError as error:
            if error.errno in (errno.EXDEV, errno.EPERM, errno.EMLINK):
                return False
            raise
        return True


@contextmanager
def _staging(target: Path, fs: Filesystem) -> Iterator[_Stage]:
    """A folder beside `target` that becomes `target` at the end, or vanishes."""
    folder = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    stage = _Stage(folder, fs)
    complete = False
    try:
        with writing("checkpoint", target):
            fs.mkdir(folder)
        atomic._point("stage-made")
        yield stage
        complete = True
        with writing("checkpoint", target):
            fs.rename(folder, target)
            atomic._point("stage-renamed")
            fs.fsync_dir(target.parent)
    except BaseException:
        stage.stack.close()
        if complete and not folder.exists():
            # Renamed, but not known to be durable: a failed export must leave nothing behind.
            with suppress(OSError):
                fs.rename(target, folder)
        _remove_folder(folder, fs)
        raise


def _remove_folder(folder: Path, fs: Filesystem) -> None:
    """Remove as much as the disk allows; the error that led here is the one to report."""
    with suppress(OSError):
        for path in list(folder.iterdir()):
            with suppress(OSError):
                fs.unlink(path)
        fs.rmdir(folder)


def _check_target(target: Path) -> None:
    with writing("checkpoint", target):
        empty = target.is_dir() and not target.is_symlink() and not any(target.iterdir())
    if os.path.lexists(target) and not empty:
        text = f"{target} exists already and nothing was changed; choose a new folder"
        raise StoreWriteError(text, errno=errno.EEXIST)


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


def _companions(source: Checkpoint, extra_files: Iterable[Path]) -> dict[str, Path]:
    """Name in the new folder -> file to copy: the index, what describes the model, the extras."""
    with reading("folder", source.folder):
        chosen = {path.name: path for path in sorted(source.folder.iterdir()) if _describes(path)}
    weights = {path.name for path in source.weight_files}
    if source.index:
        chosen[source.index.name] = source.index
    for path in map(Path, extra_files):
        if path.name in weights or (source.index and path.name == source.index.name):
            raise CheckpointError(f"{path} has the name of a weight file; rename it")
        if path.name.lower().endswith(_BANNED) or not path.is_file():
            raise CheckpointUnsupported(f"{path} is not a file that a model folder may carry")
        chosen[path.name] = path
    return chosen


def _describes(path: Path) -> bool:
    name = path.name
    if name.startswith(".") or name.lower().endswith(_BANNED) or not path.is_file():
        return False
    return path.suffix in _COMPANIONS or name.upper().startswith(_NOTICES)
