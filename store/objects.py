"""A store of immutable objects named by the sha256 of their bytes.

Promise: `get(oid)` returns exactly the bytes that `put` named `oid`, or raises; it never returns
other bytes and never parses. What `put` returned survives a power cut.
Rules: symbolic links, FIFOs and folders in place of an object count as corrupt; `verify` decides
what to do about corruption, this class never deletes. A committer calls `has(oid)` under the
database's write lock, because gc (under the same lock) may have removed an object put before.

    store = ObjectStore(Path("ledger"))
    oid = store.put(b"bytes")
    store.get(oid)                          # b"bytes"
    with store.opened() as get:
        get(oid)
"""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from store import atomic
from store.errors import ObjectCorrupt, ObjectMissing, ObjectRejected, reading
from store.filesystem import OPEN_FOLDER, OS, Filesystem
from store.layout import FANOUT, Layout, is_oid

MAX_OBJECT_BYTES: Final = 2**31

# O_NONBLOCK: opening a FIFO for reading would otherwise wait for a writer for ever.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NOT_OURS: Final = frozenset({errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.EISDIR})


class ObjectStore:
    """The objects below one folder; holds no state, and open files only within `opened`."""

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
        with self.opened() as get:
            return get(oid)

    @contextmanager
    def opened(self) -> Iterator[Callable[[str], bytes]]:
        """`get` for many objects: cheaper for those that follow one another by name."""
        with _Folders(self.layout) as folders:

            def get(oid: str) -> bytes:
                data = folders.read(oid)
                found = hashlib.sha256(data).hexdigest()
                if found != oid:
                    raise _corrupt(self.layout, oid, f"its bytes have sha256 {found}")
                return data

            yield get

    def has(self, oid: str) -> bool:
        """Whether a regular file has this name (its bytes are not read)."""
        try:
            self.size(oid)
        except (ObjectMissing, ObjectCorrupt):
            return False
        return True

    def size(self, oid: str) -> int:
        """Bytes of the object. Raises: as `get`, without verifying the bytes."""
        with _Folders(self.layout) as folders:
            return folders.size(oid)

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
        with _Folders(self.layout) as folders:
            return folders.read(oid)


class _Folders:
    """Opens objects without following any link; the last folder stays open for the next object."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._name = ""
        self._fds: list[int] = []  # of `objects`, then of the folder in it that has the name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._keep(0)

    def size(self, oid: str) -> int:
        """Bytes of the object's file. Raises: as `ObjectStore.size`."""
        with self._file(oid) as (_, size):
            return size

    def read(self, oid: str) -> bytes:
        """The bytes of the file, not verified. Raises: as `ObjectStore.get`."""
        with self._file(oid) as (fd, size):
            if size > MAX_OBJECT_BYTES:
                raise _corrupt(self._layout, oid, f"its file has {size} bytes")
            return _whole(fd, size)

    @contextmanager
    def _file(self, oid: str) -> Iterator[tuple[int, int]]:
        """A descriptor of the object's regular file, and its size."""
        folder, name = self._layout.parts(oid)
        fd = None
        try:
            fd = self._opened(oid, folder, name)
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise _corrupt(self._layout, oid, "it is not a regular file")
            yield fd, status.st_size
        except OSError:
            with reading("object", self._layout.path(oid)):
                raise
        finally:
            if fd is not None:
                os.close(fd)

    def _opened(self, oid: str, folder: str, name: str) -> int:
        try:
            return os.open(name, _FILE, dir_fd=self._folder(folder))
        except FileNotFoundError as error:
            path = self._layout.path(oid)
            text = f"object {oid} is missing: no file {path}; restore it from a copy of the store"
            raise ObjectMissing(text, oid=oid) from error
        except OSError as error:
            if error.errno in _NOT_OURS:
                why = "a link or another kind of file has its place"
                raise _corrupt(self._layout, oid, why) from error
            raise

    def _folder(self, name: str) -> int:
        if name != self._name:
            self._keep(1)
            if not self._fds:
                self._fds.append(os.open(self._layout.objects, OPEN_FOLDER))
            self._fds.append(os.open(name, OPEN_FOLDER, dir_fd=self._fds[0]))
            self._name = name
        return self._fds[-1]

    def _keep(self, count: int) -> None:
        """Close all but the first folders."""
        self._name = ""
        while len(self._fds) > count:
            os.close(self._fds.pop())


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
