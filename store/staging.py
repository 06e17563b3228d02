"""A folder that appears whole or not at all.

Promise: the folder stands beside its final name until everything in it is durable, then takes that
name in one rename; after any error, and after Ctrl-C, neither of the two is left.
Rules: an existing target is refused unless it is an empty folder; every file is new, every folder
is synced before the rename.

    with staging(Path("release")) as stage:
        stage.write("objects/ab/cdef", data)
        stage.copy(Path("base/config.json"), "config.json")
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from store import atomic
from store.errors import CheckpointCorrupt, StoreWriteError, writing
from store.filesystem import OS, Filesystem, write_all

if TYPE_CHECKING:
    from store.buffers import BytesLike

MODE: Final = 0o644


class Stage:
    """The unpublished folder. `stack` is closed before the folder is published or removed."""

    def __init__(self, folder: Path, fs: Filesystem) -> None:
        self.folder = folder
        self.fs = fs
        self.stack = ExitStack()

    def create(self, name: str) -> int:
        """A descriptor of a new file, with the folders above it; the caller syncs and closes it."""
        path = self.folder / name
        for parent in reversed(path.relative_to(self.folder).parents[:-1]):
            self.fs.mkdir(self.folder / parent)
        return self.fs.open_excl(path, MODE)

    def write(self, name: str, data: BytesLike) -> None:
        """Add a file, durable when this returns. Raises: StoreWriteError."""
        with writing("file", self.folder / name), self.created(name) as fd:
            write_all(self.fs, fd, data)

    def copy(self, source: Path, name: str) -> None:
        """Add a copy of a file, sharing blocks where the file system can. Raises: as `write`."""
        with writing("file", self.folder / name), self.created(name) as fd:
            self.copy_into(source, fd)

    def begin_copy(self, source: Path, name: str) -> int:
        """As `copy`, without waiting for the disk: the caller syncs; closed with the stage."""
        fd = self.create(name)
        self.stack.callback(os.close, fd)
        self.copy_into(source, fd)
        self.fs.writeback(fd)
        return fd

    def copy_into(self, source: Path, fd: int) -> None:
        """Copy a whole file into an empty one. Raises: OSError, CheckpointCorrupt."""
        if self.fs.copy(source, fd) != source.stat().st_size:
            raise CheckpointCorrupt(f"{source} changed while it was copied; repeat the export")

    @contextmanager
    def created(self, name: str) -> Iterator[int]:
        """A descriptor of a new file, synced and closed when the block ends."""
        fd = self.create(name)
        try:
            yield fd
            self.fs.fsync(fd)
        finally:
            os.close(fd)


@contextmanager
def staging(target: Path, fs: Filesystem = OS) -> Iterator[Stage]:
    """A folder beside `target` that becomes `target` at the end, or vanishes.

    Raises: StoreWriteError for an occupied target or a disk that refuses.
    """
    target = Path(os.path.abspath(target))
    target = target.parent.resolve() / target.name
    _check_target(target)
    folder = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    stage = Stage(folder, fs)
    complete = False
    try:
        with writing("folder", target):
            fs.mkdir(folder)
        atomic._point("stage-made")
        yield stage
        stage.stack.close()
        with writing("folder", target):
            _sync_folders(folder, fs)
            atomic._point("stage-synced")
            complete = True
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


def _sync_folders(folder: Path, fs: Filesystem) -> None:
    """Sync every folder, the inner ones first."""
    for place, _, _ in os.walk(folder, topdown=False):
        fs.fsync_dir(Path(place))


def _remove_folder(folder: Path, fs: Filesystem) -> None:
    """Remove as much as the disk allows; the error that led here is the one to report."""
    for place, folders, files in os.walk(folder, topdown=False):
        for name in files:
            with suppress(OSError):
                fs.unlink(Path(place, name))
        for name in folders:
            with suppress(OSError):
                fs.rmdir(Path(place, name))
    with suppress(OSError):
        fs.rmdir(folder)


def _check_target(target: Path) -> None:
    with writing("folder", target):
        empty = target.is_dir() and not target.is_symlink() and not any(target.iterdir())
    if os.path.lexists(target) and not empty:
        text = f"{target} exists already and nothing was changed; choose a new folder"
        raise StoreWriteError(text, errno=errno.EEXIST)
