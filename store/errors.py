"""Everything that `store` raises on purpose.

    StoreError
    ├── ObjectError               .oid: the object concerned, or None
    │   ├── ObjectMissing         no object has this name
    │   ├── ObjectCorrupt         the bytes are not what the name says
    │   └── ObjectRejected        the bytes break our limits or canonical form; .code says which
    ├── CanonicalError            a value has no canonical JSON (also a ValueError)
    ├── StoreReadError            the disk failed while reading; .errno
    ├── StoreWriteError           the disk failed while writing; .errno; nothing was changed
    └── CheckpointError           a model folder
        ├── CheckpointMissing     no such folder, file or tensor
        ├── CheckpointCorrupt     header, index or size contradict each other
        └── CheckpointUnsupported a form we never read (pickle) or never rewrite (quantised)

Rules: a message says what, where and what to do next; KeyboardInterrupt and MemoryError pass
through unchanged, after the same cleaning up.

    try:
        data = store.get(oid)
    except ObjectCorrupt as error:
        restore_from_backup(error.oid)
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class StoreError(Exception):
    """Root of everything this package raises on purpose."""


class ObjectError(StoreError):
    """Something is wrong with one object."""

    def __init__(self, message: str, *, oid: str | None = None) -> None:
        super().__init__(message)
        self.oid = oid


class ObjectMissing(ObjectError):
    """No object has this name."""


class ObjectCorrupt(ObjectError):
    """The bytes under this name are not the bytes that were stored."""


class ObjectRejected(ObjectError):
    """The bytes (or the name) are outside what this store accepts; `code` says which rule."""

    def __init__(self, message: str, *, code: str = "rejected", oid: str | None = None) -> None:
        super().__init__(message, oid=oid)
        self.code = code


class CanonicalError(StoreError, ValueError):
    """A value cannot be written as canonical JSON, or text is not strict JSON."""


class StoreReadError(StoreError):
    """The operating system refused to read; `errno` is its reason."""

    def __init__(self, message: str, *, errno: int = 0) -> None:
        super().__init__(message)
        self.errno = errno


class StoreWriteError(StoreError):
    """The operating system refused to write; `errno` is its reason."""

    def __init__(self, message: str, *, errno: int = 0) -> None:
        super().__init__(message)
        self.errno = errno


class CheckpointError(StoreError):
    """Something is wrong with a model folder, or with what was asked of it."""


class CheckpointMissing(CheckpointError):
    """The folder, the weight file or the tensor is not there."""


class CheckpointCorrupt(CheckpointError):
    """Header, index and file contradict each other."""


class CheckpointUnsupported(CheckpointError):
    """The folder holds a form of weights that is never read, or never rewritten."""


@contextmanager
def writing(what: str, path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a StoreWriteError that names `path`."""
    try:
        yield
    except OSError as error:
        raise StoreWriteError(_write_advice(what, path, error), errno=error.errno or 0) from error


@contextmanager
def reading(what: str, path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a StoreReadError that names `path`."""
    try:
        yield
    except OSError as error:
        text = (
            f"cannot read {what} {path}: {error.strerror or error}; check the disk and its rights"
        )
        raise StoreReadError(text, errno=error.errno or 0) from error


def _write_advice(what: str, path: Path, error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        reason = "the disk is full"
    return f"cannot write {what} {path}: {reason}; nothing was changed, repeat when it is solved"
