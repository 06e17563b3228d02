"""Lazy reading of a safetensors model folder, one tensor at a time.

Promise: opening reads headers only; `raw` and `digest` read only the bytes of their tensor, so a
70 GB model costs the memory of one tensor (`raw`) or of one chunk (`digest`).
Rules: `model.safetensors`, or the shards of `model.safetensors.index.json`; shard names stay in
the folder. Pickled weights are never opened. Symbolic links to files are followed, because the Hub
cache consists of them.

    checkpoint = Checkpoint.open(Path("gpt2"))
    entry = checkpoint.entry("h.0.mlp.c_proj.weight")     # BF16, (3072, 768), file, start, end
    checkpoint.digest(entry.name)                          # sha256 of dtype, shape, raw bytes
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from store.buffers import byte_view
from store.canonical import strict_json
from store.errors import (
    CanonicalError,
    CheckpointCorrupt,
    CheckpointMissing,
    CheckpointUnsupported,
    reading,
)
from store.filesystem import CHUNK
from store.headers import TensorEntry, opened, pread_exact, pread_into, read_header
from store.layout import is_oid

if TYPE_CHECKING:
    from store.buffers import BytesLike

__all__ = [
    "INDEX",
    "SINGLE",
    "Checkpoint",
    "TensorEntry",
    "chunked_digest",
    "read_rows",
    "read_tensor",
    "tensor_digest",
]

SINGLE: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
_SHARD: Final = re.compile(r"[^/\\\x00-\x1f]{1,250}\.safetensors")
_PICKLED: Final = (".bin", ".pt", ".pth", ".ckpt", ".msgpack", ".h5", ".npz", ".pkl")


@dataclass(frozen=True)
class Checkpoint:
    """An opened model folder: where each tensor lies. Holds no open files."""

    folder: Path
    entries: Mapping[str, TensorEntry]
    weight_files: tuple[Path, ...]
    index: Path | None

    @classmethod
    def open(cls, folder: Path) -> Checkpoint:
        """Read and check the headers of all weight files in `folder`.

        Raises: CheckpointMissing, CheckpointCorrupt, CheckpointUnsupported (pickled weights
        only), StoreReadError.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise CheckpointMissing(f"{folder} is not a folder; give the folder of a model")
        if (folder / SINGLE).exists():
            entries = _merge([read_header(folder / SINGLE)])
            return cls(folder, entries, (folder / SINGLE,), None)
        if not (folder / INDEX).exists():
            raise _no_weights(folder)
        weight_map = _weight_map(folder / INDEX)
        files = tuple(folder / name for name in sorted(set(weight_map.values())))
        entries = _merge(read_header(path) for path in files)
        _check_index(folder / INDEX, weight_map, entries)
        return cls(folder, entries, files, folder / INDEX)

    @property
    def quantised(self) -> bool:
        """Whether config.json declares a quantisation. Raises: CheckpointCorrupt."""
        path = self.folder / "config.json"
        return path.exists() and bool(_json_object(path).get("quantization_config"))

    def names(self) -> list[str]:
        """Names of all tensors, sorted."""
        return sorted(self.entries)

    def entry(self, name: str) -> TensorEntry:
        """Where `name` lies. Raises: CheckpointMissing."""
        if name not in self.entries:
            raise CheckpointMissing(f"no tensor {name!r} in {self.folder}; see names()")
        return self.entries[name]

    def raw(self, name: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The raw little-endian bytes of one tensor; reads nothing else.

        Shapes: uint8 `[entry.nbytes]`, read-only.
        Raises: CheckpointMissing, CheckpointCorrupt (the file changed), StoreReadError.
        """
        return read_tensor(self.entry(name))

    def own(self, name: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """As `raw`, in memory that is the caller's to change."""
        entry = self.entry(name)
        data = np.empty(entry.nbytes, np.uint8)
        with opened(entry.file) as fd:
            pread_into(fd, data.data, entry.start, entry.file)
        return data

    def digest(self, name: str) -> str:
        """`tensor_digest` of one tensor, read in chunks. Raises: as `raw`."""
        entry = self.entry(name)
        with opened(entry.file) as fd:
            return chunked_digest(
                entry.dtype, entry.shape, _chunks(fd, entry.start, entry.end, entry.file)
            )

    def files(self) -> list[Path]:
        """The weight files and the index, sorted by name."""
        return sorted([*self.weight_files, *([self.index] if self.index else [])])

    def file_digest(self, path: Path, *, trust_hub_cache: bool = False) -> str:
        """sha256 of a whole file, read in chunks.

        With `trust_hub_cache` a link into a Hub cache is not read: there the name of a blob in
        `blobs/` is its sha256. Raises: CheckpointMissing, CheckpointCorrupt, StoreReadError.
        """
        if trust_hub_cache and (known := _blob_name(path)):
            return known
        hasher = hashlib.sha256()
        with opened(path) as fd:
            for chunk in _chunks(fd, 0, os.fstat(fd).st_size, path):
                hasher.update(chunk)
        return hasher.hexdigest()


def read_tensor(entry: TensorEntry) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The raw bytes of one tensor. Shapes: uint8 `[entry.nbytes]`, read-only. Raises: as `raw`."""
    with opened(entry.file) as fd:
        data = pread_exact(fd, entry.nbytes, entry.start, entry.file)
    return np.frombuffer(data, np.uint8)


def read_rows(
    entry: TensorEntry, count: int, start: int, stop: int
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The raw bytes of rows `start` to `stop` of a tensor that has `count`, the caller's to change.

    Raises: as `raw`.
    """
    width = entry.nbytes // max(count, 1)
    data = np.empty((stop - start) * width, np.uint8)
    with opened(entry.file) as fd:
        pread_into(fd, data.data, entry.start + start * width, entry.file)
    return data


def tensor_digest(dtype: str, shape: Sequence[int], raw: BytesLike) -> str:
    """sha256 of the ASCII line `"{dtype} {d0}x{d1}...\\n"` and the raw little-endian bytes.

    Shapes: `raw` is the C-contiguous storage of a tensor of `shape`; a scalar has no dimensions
    in its line (`"F32 \\n"`). dtype is the safetensors name ("BF16", "F16", "F32", ...).
    """
    view = byte_view(raw)
    return chunked_digest(dtype, shape, (view[i : i + CHUNK] for i in range(0, view.nbytes, CHUNK)))


def chunked_digest(dtype: str, shape: Sequence[int], chunks: Iterable[bytes | memoryview]) -> str:
    """`tensor_digest` of raw bytes that come in pieces."""
    hasher = hashlib.sha256(f"{dtype} {'x'.join(map(str, shape))}\n".encode("ascii"))
    for chunk in chunks:
        hasher.update(chunk)
    return hasher.hexdigest()


def _chunks(fd: int, start: int, end: int, path: Path) -> Iterator[bytes]:
    for position in range(start, end, CHUNK):
        yield pread_exact(fd, min(CHUNK, end - position), position, path)


def _merge(headers: Iterable[list[TensorEntry]]) -> Mapping[str, TensorEntry]:
    entries: dict[str, TensorEntry] = {}
    for entry in (entry for header in headers for entry in header):
        if entry.name in entries:
            first = entries[entry.name].file.name
            raise CheckpointCorrupt(f"{entry.name!r} is both in {first} and in {entry.file}")
        entries[entry.name] = entry
    return MappingProxyType(entries)


def _json_object(path: Path) -> dict[str, Any]:
    with opened(path) as fd, reading("file", path):
        data = pread_exact(fd, os.fstat(fd).st_size, 0, path)
    try:
        value = strict_json(data)
    except CanonicalError as error:
        raise CheckpointCorrupt(f"{path} is unreadable: {error}; download it again") from error
    if not isinstance(value, dict):
        raise CheckpointCorrupt(f"{path} is not a JSON object; download it again")
    return value


def _weight_map(index: Path) -> dict[str, str]:
    """Tensor name -> shard name, every shard inside the folder."""
    weight_map = _json_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointCorrupt(f"{index} has no weight_map; download it again")
    for shard in weight_map.values():
        if not isinstance(shard, str) or not _SHARD.fullmatch(shard) or shard.startswith("."):
            raise CheckpointCorrupt(f"{index} names {repr(shard)[:80]}, not a shard of its folder")
    return weight_map


def _check_index(
    index: Path, weight_map: Mapping[str, str], entries: Mapping[str, TensorEntry]
) -> None:
    for name, shard in weight_map.items():
        if name not in entries or entries[name].file.name != shard:
            raise CheckpointCorrupt(f"{index} says {name!r} is in {shard}, and it is not")


def _no_weights(folder: Path) -> CheckpointMissing | CheckpointUnsupported:
    with reading("folder", folder):
        pickled = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLED)
    if pickled:
        return CheckpointUnsupported(
            f"{folder} has only {pickled[0]}; such files can run code and are never opened, "
            "convert the model to safetensors first"
        )
    return CheckpointMissing(f"{folder} has neither {SINGLE} nor {INDEX}")


def _blob_name(path: Path) -> str | None:
    """The sha256 that names the Hub cache blob behind a link, if it is one."""
    if not path.is_symlink():
        return None
    target = Path(os.readlink(path))
    return target.name if target.parent.name == "blobs" and is_oid(target.name) else None
