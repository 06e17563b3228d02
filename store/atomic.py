"""The write protocol: the only place that writes objects.

Promise: after `put_object` returns, the object survives a power cut; before that, or after any
error, no object with wrong bytes is visible and no unfinished file of this call is left.
Rules: temp (O_EXCL) -> write -> fsync -> rename into `objects/ab/` -> fsync of every folder that
may have gained a name. A failed fsync is never repeated: the write counts as lost. Objects end
read-only. `_point` names the moments at which tests end the process; it does nothing here.

    put_object(layout, sha256(data).hexdigest(), data)
    refresh_object(layout, oid)                     # an existing object: young and durable again
    write_file(root / "config.json", b"{}")         # old content or new content, never a mixture
"""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from store.buffers import byte_view
from store.errors import ObjectRejected, writing
from store.filesystem import OS, Filesystem, write_all
from store.layout import Layout

if TYPE_CHECKING:
    from store.buffers import BytesLike

__all__ = [
    "OS",
    "POINTS",
    "Filesystem",
    "put_object",
    "refresh_object",
    "remove_object",
    "remove_temp",
    "write_file",
]

POINTS: Final = (
    "dirs-made",
    "tmp-open",
    "tmp-written",
    "tmp-fsynced",
    "renamed",
    "dir-fsynced",
    "refreshed",
    "removed",
)

_OBJECT_MODE: Final = 0o444


def _point(name: str) -> None:
    """Tests replace this function to stop at `name`."""


def put_object(layout: Layout, oid: str, data: BytesLike, fs: Filesystem = OS) -> None:
    """Store `data` durably under `oid`, replacing whatever file has that name.

    Raises: ObjectRejected (code "oid") when `oid` is not the sha256 of `data`; StoreWriteError
    when the disk refuses (the temporary file is gone, a retry is safe).
    """
    target = layout.path(oid)
    if hashlib.sha256(byte_view(data)).hexdigest() != oid:
        raise ObjectRejected(f"{oid} is not the sha256 of the bytes to store", code="oid", oid=oid)
    with writing("object", target):
        _make_folders(layout, target.parent, fs)
        _replace(fs, layout.new_temp(), target, data, _OBJECT_MODE)
        _sync_names(layout, oid, fs)


def refresh_object(layout: Layout, oid: str, fs: Filesystem = OS) -> bool:
    """Make an existing object young (gc spares it) and its name durable; False when it is absent.

    The name is synced again because whoever wrote it may not have come that far yet.
    Call it before verifying the bytes: then gc either sees a young object, or the verification
    sees that it is gone. Raises: StoreWriteError.
    """
    target = layout.path(oid)
    with writing("object", target):
        try:
            fs.touch(target)
        except (FileNotFoundError, NotADirectoryError):
            return False
        _sync_names(layout, oid, fs)
        _point("refreshed")
    return True


def remove_object(layout: Layout, oid: str, fs: Filesystem = OS) -> None:
    """Delete an object (only gc may). Raises: StoreWriteError, also when it is absent."""
    target = layout.path(oid)
    with writing("object", target):
        fs.unlink(target)
        _point("removed")


def remove_temp(path: Path, fs: Filesystem = OS) -> None:
    """Delete an abandoned temporary file (only gc may). Raises: StoreWriteError."""
    with writing("temporary file", path):
        fs.unlink(path)


def write_file(path: Path, data: BytesLike, fs: Filesystem = OS, *, mode: int = 0o644) -> None:
    """Replace a small file: after a crash it has its old content or the new one, whole.

    `mode` is the new file's permission, lowered by the umask. Raises: StoreWriteError.
    """
    with writing("file", path):
        path = path.parent.resolve() / path.name
        temp = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        _replace(fs, temp, path, data, mode)
        fs.fsync_dir(path.parent)
        _point("dir-fsynced")


def _make_folders(layout: Layout, fanout: Path, fs: Filesystem) -> None:
    # Only the root may be a symbolic link: it is the user's choice where a store lies.
    if not layout.root.is_dir():
        fs.mkdir(layout.root)
        fs.fsync_dir(layout.root.parent)
    for folder in (layout.objects, layout.tmp, fanout):
        fs.mkdir(folder)
    _point("dirs-made")


def _replace(fs: Filesystem, temp: Path, target: Path, data: BytesLike, mode: int) -> None:
    """Write `temp`, sync it, rename it to `target`; on any error `temp` is gone."""
    fd = fs.open_excl(temp, mode)
    try:
        try:
            _point("tmp-open")
            write_all(fs, fd, data)
            _point("tmp-written")
            fs.fsync(fd)
            _point("tmp-fsynced")
        finally:
            os.close(fd)
        fs.rename(temp, target)
        _point("renamed")
    except BaseException:
        with suppress(OSError):
            fs.unlink(temp)
        raise


def _sync_names(layout: Layout, oid: str, fs: Filesystem) -> None:
    """Sync the folders that hold the object's name, its folder's name, and that folder's name.

    All three every time: another process may have made a folder and not synced it yet.
    """
    for folder in (layout.fanout(oid), layout.objects, layout.root):
        fs.fsync_dir(folder)
    _point("dir-fsynced")
