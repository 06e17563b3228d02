"""A copy of a checkpoint whose weight files are cut anew, none larger than a given size.

Promise: the same tensors under the same names, one tensor in memory at a time; the layout is a
function of the source's headers and the size alone. The new folder appears whole or not at all.
Rules: tensors are taken in the order of the source's files until the next one would exceed the
size; one that is larger has a file of its own. In a file they stand as safetensors writes them:
wide numbers first, then by name. One file needs no index; several have that of transformers.

    layout = layout_of(Checkpoint.open(base), most=5_000_000_000)
    reshard(Checkpoint.open(base), Path("copy"), layout, {"h.0.mlp.c_proj.weight": make_bytes})
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from store.buffers import byte_view
from store.checkpoints import INDEX, SINGLE, Checkpoint
from store.errors import CheckpointCorrupt, CheckpointError, CheckpointUnsupported, writing
from store.filesystem import CHUNK, OS, Filesystem, write_all
from store.headers import BITS, TensorEntry, opened, pread_into, read_metadata
from store.staging import Stage, staging
from store.surgery import Document, companions, refuse_quantised

if TYPE_CHECKING:
    from store.buffers import BytesLike

MOST_FILES: Final = 10_000
Make = Callable[[], "BytesLike"]


@dataclass(frozen=True)
class Shard:
    """One weight file: its header, and the source's tensors in the order of their data."""

    name: str
    header: bytes
    entries: tuple[TensorEntry, ...]


@dataclass(frozen=True)
class Layout:
    """The weight files, and the bytes of their index; None for a single file."""

    shards: tuple[Shard, ...]
    index: bytes | None


def layout_of(source: Checkpoint, most: int) -> Layout:
    """How a checkpoint is cut into files with at most `most` bytes of tensors.

    Raises: CheckpointUnsupported for a size below 1, or more than `MOST_FILES` files;
    CheckpointCorrupt, StoreReadError.
    """
    if most < 1:
        raise CheckpointUnsupported(
            f"a weight file cannot have {most} bytes; give a size from 1 up"
        )
    groups = list(_groups(source, most))
    if len(groups) > MOST_FILES:
        text = f"{most} bytes a file make {len(groups)} files; give a size that makes at most"
        raise CheckpointUnsupported(f"{text} {MOST_FILES}")
    metadata = read_metadata(source.weight_files[0])
    count = len(groups)
    names = [SINGLE] if count == 1 else [_name(place, count) for place in range(count)]
    shards = tuple(_shard(*found, metadata) for found in zip(names, groups, strict=True))
    return Layout(shards, _index(shards) if count > 1 else None)


def reshard(
    source: Checkpoint,
    target: Path,
    layout: Layout,
    replaced: Mapping[str, Make],
    *,
    documents: Mapping[str, Document] = MappingProxyType({}),
    fs: Filesystem = OS,
) -> Checkpoint:
    """Write `source` in the given layout into the new folder `target`.

    `replaced`: name -> a function that gives the raw bytes of that tensor, called when they are
    written. `documents`: as of `store.surgery.rewrite`.
    Raises: as `rewrite`.
    """
    refuse_quantised(source)
    for name in replaced:
        source.entry(name)
    beside = companions(source, documents)
    if source.index is not None:
        del beside[source.index.name]
    with staging(target, fs) as stage:
        for shard in layout.shards:
            with writing("weights", stage.folder / shard.name):
                _write(stage, shard, replaced)
        if layout.index is not None:
            stage.write(INDEX, layout.index)
        for name, path in beside.items():
            stage.copy(path, name)
        for name, document in documents.items():
            stage.write(name, document(stage.folder))
        _check_same_tensors(source, Checkpoint.open(stage.folder))
    return Checkpoint.open(target)


def _groups(source: Checkpoint, most: int) -> Iterator[list[TensorEntry]]:
    """The tensors of each file."""
    group: list[TensorEntry] = []
    size = 0
    for entry in sorted(source.entries.values(), key=lambda entry: (entry.file.name, entry.start)):
        if group and size + entry.nbytes > most:
            yield group
            group, size = [], 0
        group.append(entry)
        size += entry.nbytes
    yield group


def _shard(name: str, group: list[TensorEntry], metadata: Mapping[str, str]) -> Shard:
    entries = tuple(sorted(group, key=lambda entry: (-BITS.get(entry.dtype, 8), entry.name)))
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for entry in entries:
        place = [end, end := end + entry.nbytes]
        header[entry.name] = {"dtype": entry.dtype, "shape": entry.shape, "data_offsets": place}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return Shard(name, len(text).to_bytes(8, "little") + text, entries)


def _name(place: int, count: int) -> str:
    return f"model-{place + 1:05d}-of-{count:05d}.safetensors"


def _index(shards: tuple[Shard, ...]) -> bytes:
    total = sum(entry.nbytes for shard in shards for entry in shard.entries)
    places = {entry.name: shard.name for shard in shards for entry in shard.entries}
    index = {"metadata": {"total_size": total}, "weight_map": places}
    return f"{json.dumps(index, indent=2, sort_keys=True)}\n".encode()


def _write(stage: Stage, shard: Shard, replaced: Mapping[str, Make]) -> None:
    with stage.created(shard.name) as fd:
        write_all(stage.fs, fd, shard.header)
        for entry in shard.entries:
            make = replaced.get(entry.name)
            if make is None:
                _copy(stage.fs, fd, entry)
            else:
                write_all(stage.fs, fd, _checked(entry, make()))


def _copy(fs: Filesystem, target: int, entry: TensorEntry) -> None:
    # One buffer for all of a tensor: fresh memory for each chunk would cost more than the copying.
    buffer = memoryview(bytearray(min(CHUNK, entry.nbytes)))
    with opened(entry.file) as source:
        for place in range(entry.start, entry.end, CHUNK):
            part = buffer[: entry.end - place]
            pread_into(source, part, place, entry.file)
            write_all(fs, target, part)


def _checked(entry: TensorEntry, data: BytesLike) -> BytesLike:
    if (given := byte_view(data).nbytes) != entry.nbytes:
        text = f"{entry.name!r} has {entry.nbytes} bytes ({entry.dtype} {entry.shape})"
        raise CheckpointError(f"{text}, {given} given; keep dtype and shape")
    return data


def _check_same_tensors(source: Checkpoint, copy: Checkpoint) -> None:
    for name, entry in source.entries.items():
        found = copy.entry(name)
        if (found.dtype, found.shape) != (entry.dtype, entry.shape):
            raise CheckpointCorrupt(f"{entry.file} changed after it was opened; repeat the export")
