"""The system calls through which this package changes a disk.

Promise: nothing else in `store` writes, so a recording or failing `Filesystem` sees every effect.
Rules: one method, one effect; no retries and no cleaning up here. Symbolic links are not followed
in the last component of a path that is written, nor in the folder that receives a rename.

    fd = OS.open_excl(path, 0o444)
    write_all(OS, fd, data)
    OS.fsync(fd)
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from store.buffers import byte_view

if TYPE_CHECKING:
    from store.buffers import BytesLike

CHUNK: Final = 1 << 24
_FICLONE: Final = 0x40049409
OPEN_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_FAST_COPY: Final = frozenset(
    {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EBADF}
)


class Filesystem:
    """The real thing; tests derive from it. Every method raises OSError."""

    def mkdir(self, path: Path) -> None:
        """Make a folder unless it exists; a file or symbolic link in its place is an error."""
        try:
            path.mkdir()
        except FileExistsError:
            if not stat.S_ISDIR(path.lstat().st_mode):
                raise

    def open_excl(self, path: Path, mode: int) -> int:
        """Create a new file for writing; the descriptor is the caller's to close."""
        return os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode
        )

    def write(self, fd: int, data: memoryview) -> int:
        """Append; returns how many bytes were taken."""
        return os.write(fd, data)

    def pwrite(self, fd: int, data: memoryview, offset: int) -> int:
        """Overwrite at `offset`; returns how many bytes were taken."""
        return os.pwrite(fd, data, offset)

    def copy(self, source: Path, fd: int) -> int:
        """Copy a whole file into the empty file `fd`, sharing blocks where possible; its size."""
        with source.open("rb", buffering=0) as file:
            return copy_data(file.fileno(), fd)

    def link(self, source: Path, target: Path) -> None:
        """Give the file a second name."""
        os.link(source, target, follow_symlinks=False)

    def writeback(self, fd: int) -> None:
        """Let the kernel begin to write the file's data, and wait for nothing; `fsync` still must.

        The advice also drops pages that are on the disk already, which no one needs again.
        """
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def fsync(self, fd: int) -> None:
        """Return when the file's data is on the disk."""
        os.fsync(fd)

    def rename(self, source: Path, target: Path) -> None:
        """Rename atomically into `target`'s folder, which must not be a symbolic link."""
        folder = os.open(target.parent, OPEN_FOLDER)
        try:
            os.rename(source, target.name, dst_dir_fd=folder)
        finally:
            os.close(folder)

    def fsync_dir(self, path: Path) -> None:
        """Return when the folder's names are on the disk."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def rmdir(self, path: Path) -> None:
        """Remove an empty folder."""
        path.rmdir()

    def touch(self, path: Path) -> None:
        """Set the modification time to now."""
        os.utime(path, follow_symlinks=False)


OS: Final = Filesystem()


def write_all(fs: Filesystem, fd: int, data: BytesLike) -> None:
    """Append all of `data`, however little each call takes."""
    view = byte_view(data)
    done = 0
    while done < view.nbytes:
        done += _progress(fs.write(fd, view[done : done + CHUNK]))


def pwrite_all(fs: Filesystem, fd: int, data: BytesLike, offset: int) -> None:
    """Overwrite `data.nbytes` bytes at `offset`, however little each call takes."""
    view = byte_view(data)
    done = 0
    while done < view.nbytes:
        done += _progress(fs.pwrite(fd, view[done : done + CHUNK], offset + done))


def copy_data(source: int, target: int) -> int:
    """Copy between descriptors by reflink, else in the kernel, else through memory.

    Returns: bytes copied.
    """
    size = os.fstat(source).st_size
    if _attempt(lambda: fcntl.ioctl(target, _FICLONE, source)):
        return size
    if _attempt(lambda: _copy_in_kernel(source, target)):
        return os.fstat(target).st_size
    os.lseek(source, 0, os.SEEK_SET)
    os.lseek(target, 0, os.SEEK_SET)
    while chunk := os.read(source, CHUNK):
        write_all(OS, target, chunk)
    return os.fstat(target).st_size


def _copy_in_kernel(source: int, target: int) -> None:
    if not hasattr(os, "copy_file_range"):
        raise OSError(errno.ENOSYS, "copy_file_range is not available")
    while os.copy_file_range(source, target, CHUNK):
        pass


def _attempt(call: Callable[[], object]) -> bool:
    """False when this way of copying is not available here; real faults are raised."""
    try:
        call()
    except OSError as error:
        if error.errno in _NO_FAST_COPY:
            return False
        raise
    return True


def _progress(taken: int) -> int:
    if taken <= 0:
        raise OSError(errno.EIO, "the file system took no bytes")
    return taken
