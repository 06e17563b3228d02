"""Reading the header of any safetensors file, with every bound checked.

Promise: an entry that is returned lies inside its file; entries of one file neither overlap nor
leave holes. No tensor data is read.
Rules: header at most 100 MB (the format's limit), strict JSON, sizes of known dtypes must agree
with their offsets; unknown dtypes are listed as they are.

    for entry in read_header(Path("model.safetensors")):
        entry.name, entry.dtype, entry.shape, entry.start, entry.end
"""

import math
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from store.canonical import strict_json
from store.errors import CanonicalError, CheckpointCorrupt, CheckpointMissing, reading

MAX_HEADER_BYTES: Final = 100_000_000
BITS: Final = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}
# O_NONBLOCK: a FIFO in place of a weight file must not block. Links are followed, because the
# Hub cache consists of them.
_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_LENGTH: Final = struct.Struct("<Q")


@dataclass(frozen=True)
class TensorEntry:
    """Where one tensor lies: bytes `start` to `end` of `file`, row-major, little endian."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    end: int

    @property
    def nbytes(self) -> int:
        """Length of the raw bytes."""
        return self.end - self.start


def read_header(path: Path) -> list[TensorEntry]:
    """All tensors of one safetensors file, in file order.

    Raises: CheckpointMissing, CheckpointCorrupt, StoreReadError.
    """
    header, start, size = _header(path)
    header.pop("__metadata__", None)
    entries = [_entry(path, start, name, value) for name, value in header.items()]
    entries.sort(key=lambda entry: (entry.start, entry.end))
    _check_tiling(path, entries, start, size)
    return entries


def read_metadata(path: Path) -> dict[str, str]:
    """The texts that a safetensors file holds beside its tensors. Raises: as `read_header`."""
    metadata = _header(path)[0].get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _corrupt(path, "its metadata are no texts")
    return metadata


def _header(path: Path) -> tuple[dict[str, Any], int, int]:
    """The header of a file, where its data begin, and its size."""
    with opened(path) as fd:
        size = os.fstat(fd).st_size
        length = _header_length(path, pread_exact(fd, 8, 0, path), size)
        return _parse(path, pread_exact(fd, length, 8, path)), 8 + length, size


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor of a regular file; symbolic links are followed.

    Raises: CheckpointMissing, CheckpointCorrupt (not a regular file), StoreReadError.
    """
    with reading("weight file", path):
        try:
            fd = os.open(path, _FLAGS)
        except FileNotFoundError as error:
            raise CheckpointMissing(f"no weight file {path}; download it again") from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise CheckpointCorrupt(f"{path} is not a regular file; download it again")
        yield fd
    finally:
        os.close(fd)


def pread_exact(fd: int, length: int, offset: int, path: Path) -> bytes:
    """Exactly `length` bytes at `offset`. Raises: CheckpointCorrupt, StoreReadError."""
    parts = []
    while length:
        with reading("weight file", path):
            part = os.pread(fd, length, offset)
        if not part:
            raise _corrupt(path, "it ends early")
        parts.append(part)
        length, offset = length - len(part), offset + len(part)
    return b"".join(parts)


def pread_into(fd: int, view: memoryview, offset: int, path: Path) -> None:
    """Fill the bytes of `view` from `offset`. Raises: CheckpointCorrupt, StoreReadError."""
    done = 0
    while done < view.nbytes:
        with reading("weight file", path):
            taken = os.preadv(fd, [view[done:]], offset + done)
        if not taken:
            raise _corrupt(path, "it ends early")
        done += taken


def _header_length(path: Path, prefix: bytes, size: int) -> int:
    length = int(_LENGTH.unpack(prefix)[0])
    if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
        raise _corrupt(path, f"a header of {length} bytes does not fit")
    return length


def _parse(path: Path, text: bytes) -> dict[str, Any]:
    try:
        header = strict_json(text)
    except CanonicalError as error:
        raise _corrupt(path, f"its header is unreadable: {error}") from error
    if not isinstance(header, dict):
        raise _corrupt(path, "its header is not a JSON object")
    return header


def _entry(path: Path, base: int, name: str, value: Any) -> TensorEntry:
    """One header item; `base` is the position of the first data byte in the file."""
    if not isinstance(value, dict) or not isinstance(value.get("dtype"), str):
        raise _corrupt(path, f"entry {name[:80]!r} has no dtype")
    shape, offsets = _naturals(value.get("shape"), 64), _naturals(value.get("data_offsets"), 2)
    if shape is None or offsets is None or len(offsets) != 2:
        raise _corrupt(path, f"entry {name[:80]!r} has no valid shape and data_offsets")
    start, end = offsets
    bits = BITS.get(value["dtype"])
    if bits is not None and math.prod(shape) * bits != 8 * (end - start):
        raise _corrupt(path, f"the size of {name[:80]!r} contradicts its shape")
    return TensorEntry(name, value["dtype"], tuple(shape), path, base + start, base + end)


def _naturals(value: Any, most: int) -> list[int] | None:
    """`value` when it is a list of at most `most` whole numbers from 0 up."""
    if not isinstance(value, list) or len(value) > most:
        return None
    return value if all(type(item) is int and item >= 0 for item in value) else None


def _check_tiling(path: Path, entries: list[TensorEntry], start: int, size: int) -> None:
    position = start
    for entry in entries:
        if entry.start != position or entry.end < entry.start:
            raise _corrupt(path, f"{entry.name[:80]!r} overlaps its neighbour or leaves a hole")
        position = entry.end
    if position != size:
        raise _corrupt(path, f"its tensors end at byte {position}, the file at byte {size}")


def _corrupt(path: Path, why: str) -> CheckpointCorrupt:
    return CheckpointCorrupt(f"weight file {path} is corrupt: {why}; download it again")
