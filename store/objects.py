"""A store of immutable objects named by the sha256 of their bytes.

Promise: `get(oid)` returns exactly the bytes that `put` named `oid`, or raises; it never returns
other bytes and never parses. What `put` returned survives a power cut.
Rules: symbolic links, FIFOs and folders in place of an object count as corrupt; `verify` decides
what to do about corruption, this class never deletes. A committer calls `has(oid)` under the
database's write lock, because gc (under the same lock) may have removed an object put before.

    store = ObjectStore(Path("ledger"))
    oid = store.put(b"bytes")
    store.get(oid)                          # b"bytes"
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from store import atomic
from store.errors import ObjectCorrupt, ObjectMissing, ObjectRejected, reading
from store.filesystem import OPEN_FOLDER, OS, Filesystem
from store.layout import FANOUT, Layout, is_oid

MAX_OBJECT_BYTES: Final = 2**31

# O_NONBLOCK: opening a FIFO for reading would otherwise wait for a writer for ever.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NOT_OURS: Final = frozenset({errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.EISDIR})


class ObjectStore:
    """The objects below one folder; holds no open files and no state."""

    def __init__(self, root: Path, fs: Filesystem = OS) -> None:
        self.layout = Layout(Path(root))
        self.fs = fs

    def put(self, data: bytes) -> str:
        """Store `data` durably and return its id. Idempotent; a corrupt namesake is replaced.

        Raises: ObjectRejected (code "size") above 2 GiB, StoreWriteError when the disk refuses.
        """
        if len(data) > MAX_OBJECT_BYTES:
            text = f"object of {len(data)} bytes is above the limit of {MAX_OBJECT_BYTES}"
            raise ObjectRejected(f"{text}; store fewer edits in one batch", code="size")
        oid = hashlib.sha256(data).hexdigest()
        if not self._reuse(oid, data):
            atomic.put_object(self.layout, oid, data, self.fs)
        return oid

    def get(self, oid: str) -> bytes:
        """The bytes named `oid`, verified.

        Raises: ObjectRejected (code "oid"), ObjectMissing, ObjectCorrupt, StoreReadError.
        """
        data = self._read(oid)
        found = hashlib.sha256(data).hexdigest()
        if found != oid:
            raise _corrupt(self.layout, oid, f"its bytes have sha256 {found}")
        return data

    def has(self, oid: str) -> bool:
        """Whether a regular file has this name (its bytes are not read)."""
        try:
            self.size(oid)
        except (ObjectMissing, ObjectCorrupt):
            return False
        return True

    def size(self, oid: str) -> int:
        """Bytes of the object. Raises: as `get`, without verifying the bytes."""
        with _opened(self.layout, oid) as fd:
            return os.fstat(fd).st_size

    def path(self, oid: str) -> Path:
        """Where the object lies, present or not. Raises: ObjectRejected (code "oid")."""
        return self.layout.path(oid)

    def oids(self) -> Iterator[str]:
        """All names in use, sorted; whatever kind of file has the name."""
        for folder in _listed(self.layout.objects):
            if not FANOUT.fullmatch(folder.name) or not folder.is_dir(follow_symlinks=False):
                continue
            names = (folder.name + entry.name for entry in _listed(Path(folder.path)))
            yield from (name for name in names if is_oid(name))

    def temps(self) -> Iterator[Path]:
        """Files of unfinished writes, sorted."""
        for entry in _listed(self.layout.tmp):
            if not entry.is_dir(follow_symlinks=False):
                yield Path(entry.path)

    def _reuse(self, oid: str, data: bytes) -> bool:
        """True when the object is there, intact, young and durable."""
        if not self.has(oid) or not atomic.refresh_object(self.layout, oid, self.fs):
            return False
        try:
            return self._read(oid) == data
        except (ObjectMissing, ObjectCorrupt):
            return False

    def _read(self, oid: str) -> bytes:
        """The bytes of the file, not verified."""
        with _opened(self.layout, oid) as fd:
            size = os.fstat(fd).st_size
            if size > MAX_OBJECT_BYTES:
                raise _corrupt(self.layout, oid, f"its file has {size} bytes")
            return _whole(fd, size)


@contextmanager
def _opened(layout: Layout, oid: str) -> Iterator[int]:
    """A descriptor of the object's regular file, reached without following any link."""
    fds: list[int] = []
    try:
        yield _descend(layout, oid, fds)
    except OSError:
        with reading("object", layout.path(oid)):
            raise
    finally:
        for fd in fds:
            os.close(fd)


def _descend(layout: Layout, oid: str, fds: list[int]) -> int:
    """Open folder by folder; every descriptor is appended to `fds` for the caller to close."""
    folder, file = layout.parts(oid)
    try:
        fds.append(os.open(layout.objects, OPEN_FOLDER))
        fds.append(os.open(folder, OPEN_FOLDER, dir_fd=fds[-1]))
        fds.append(os.open(file, _FILE, dir_fd=fds[-1]))
    except FileNotFoundError as error:
        path = layout.path(oid)
        text = f"object {oid} is missing: no file {path}; restore it from a copy of the store"
        raise ObjectMissing(text, oid=oid) from error
    except OSError as error:
        if error.errno in _NOT_OURS:
            raise _corrupt(layout, oid, "a link or another kind of file has its place") from error
        raise
    if not stat.S_ISREG(os.fstat(fds[-1]).st_mode):
        raise _corrupt(layout, oid, "it is not a regular file")
    return fds[-1]


def _whole(fd: int, size: int) -> bytes:
    """The bytes of a file, or as many as there are."""
    data = os.read(fd, size)
    while len(data) < size and (more := os.read(fd, size - len(data))):
        data += more
    return data


def _corrupt(layout: Layout, oid: str, why: str) -> ObjectCorrupt:
    text = (
        f"object {oid} is corrupt: {why} ({layout.path(oid)}); restore it from a copy of the store"
    )
    return ObjectCorrupt(text, oid=oid)


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    """Entries sorted by name; none when the folder does not exist yet."""
    with reading("folder", folder):
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:
            return []
