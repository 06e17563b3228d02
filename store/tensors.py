"""Canonical safetensors: one mapping of tensors, one sequence of bytes.

Promise: `encode` gives the same bytes whatever the order of the mapping or the memory layout of
the arrays, and the safetensors library can read them. `decode` accepts exactly the bytes that
`encode` can produce, in linear time and bounded memory; anything else is `ObjectRejected`.
Rules: tensors sorted by name and contiguous; little endian, C order, F32 or F64, finite, not
empty; at most one metadata entry "kel" holding canonical JSON; header padded with spaces to 8.

    data = encode({"w.u": u, "w.v": v}, {"method": "rome"})
    decode(data).tensors["w.u"]            # read-only view
    decode(data).meta["method"]

Codes of `ObjectRejected`:
    size      longer than the limit             fields    unknown, missing or mistyped field
    short     shorter than its header says      dtype     not F32 or F64
    header    header length out of bounds       shape     not 0 to 8 positive dimensions
    json      header is not strict JSON         rank      u or v with both dimensions too large
    metadata  not exactly {"kel": JSON object}  offsets   overlap, hole, wrong length
    count     too many tensors                  trailing  bytes after the last tensor
    name      not ^[A-Za-z0-9_.]{1,200}$        finite    NaN or infinity
    type      not a numpy array (encode only)   canonical right content, other bytes
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from store.buffers import byte_view
from store.canonical import canonical_json, outline_of, rewritten, strict_json
from store.errors import CanonicalError, ObjectRejected

if TYPE_CHECKING:
    from store.buffers import BytesLike

Array = np.ndarray[Any, np.dtype[Any]]

META_KEY: Final = "kel"
_METADATA: Final = "__metadata__"
DTYPES: Final[Mapping[str, str]] = {"F32": "<f4", "F64": "<f8"}
_NAME: Final = re.compile(r"[A-Za-z0-9_.]{1,200}")
_FINITE_STEP: Final = 1 << 20
_MAX_DIMENSIONS: Final = 8
_LENGTH: Final = struct.Struct("<Q")
# Colons and commas of one tensor: 4 fields' colons, and at most 11 commas with 8 dimensions.
_MARKS: Final = 16


@dataclass(frozen=True)
class Limits:
    """What one object may hold; each bound is inclusive."""

    tensors: int = 4096
    header_bytes: int = 1_000_000
    rank: int = 4096
    file_bytes: int = 2**31


LIMITS: Final = Limits()


@dataclass(frozen=True)
class Decoded:
    """Content of an object: read-only arrays by name, and the metadata or None."""

    tensors: dict[str, Array]
    meta: dict[str, Any] | None


class _Spec(NamedTuple):
    """One tensor of a header; `start` and `end` count from the first data byte."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def encode(tensors: Mapping[str, Array], meta: Mapping[str, object] | None = None) -> bytes:
    """The canonical bytes of `tensors` and `meta`.

    Shapes: any of 0 to 8 dimensions, none of size 0; for names ending in `u` or `v` (a component
    of the name) the smaller of two dimensions is the rank.
    Raises: ObjectRejected with the code of the broken rule; CanonicalError for `meta`.
    """
    names = sorted([_checked_name(name) for name in tensors])
    specs = _layout({name: _checked_array(name, tensors[name]) for name in names})
    _check_limits(specs, LIMITS)
    header = _header(specs, None if meta is None else canonical_json(dict(meta)).decode())
    if len(header) > LIMITS.header_bytes:
        raise _rejected("header", f"header of {len(header)} bytes; shorten the metadata")
    total = 8 + len(header) + (specs[-1].end if specs else 0)
    if total > LIMITS.file_bytes:
        raise _rejected("size", f"object of {total} bytes; store fewer edits in one batch")
    parts = (byte_view(_plain_array(name, tensors[name])) for name in names)
    return b"".join([_LENGTH.pack(len(header)), header, *parts])


def decode(data: BytesLike, limits: Limits = LIMITS) -> Decoded:
    """Read what `encode` wrote; verify the sha256 before calling this.

    Returns: arrays that share memory with `data` when it is `bytes`.
    Raises: ObjectRejected, and nothing else, for any bytes.
    """
    view = byte_view(data)
    if view.nbytes > limits.file_bytes:
        raise _rejected("size", f"{view.nbytes} bytes, at most {limits.file_bytes} are read")
    if not isinstance(data, bytes):
        view = byte_view(bytes(view))
    header, body = _split(view, limits)
    _check_amount(header, limits)
    specs, meta_text = _parse_header(header)
    _check_limits(specs, limits)
    _check_offsets(specs, body.nbytes)
    meta = None if meta_text is None else _parse_meta(meta_text)
    if _header(sorted(specs), meta_text) != header:
        raise _rejected("canonical", "the header is not written in canonical form")
    return Decoded({spec.name: _array(spec, body) for spec in specs}, meta)


def _checked_name(name: object) -> str:
    if isinstance(name, str) and _NAME.fullmatch(name) and name != _METADATA:
        return name
    raise _rejected("name", f"tensor name {repr(name)[:80]} is not 1 to 200 of A-Z a-z 0-9 _ .")


def _checked_array(name: str, array: object) -> Array:
    if not isinstance(array, np.ndarray):
        raise _rejected("type", f"{name} is {type(array).__name__}; give a numpy array")
    if array.dtype.kind != "f" or array.dtype.itemsize not in (4, 8):
        raise _rejected("dtype", f"{name} is {array.dtype}; store float32 or float64")
    return array


def _plain_array(name: str, array: Array) -> Array:
    """`array` as finite little-endian C-contiguous float32 or float64."""
    plain = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    _check_finite(name, plain)
    return plain


def _layout(arrays: Mapping[str, Array]) -> list[_Spec]:
    specs, end = [], 0
    for name, array in arrays.items():
        start, end = end, end + array.nbytes
        specs.append(_Spec(name, f"F{8 * array.itemsize}", array.shape, start, end))
    return specs


def _header(specs: Iterable[_Spec], meta_text: str | None) -> bytes:
    """The one way to write a header: metadata first, tensors in order, padded to 8 bytes."""
    entries: dict[str, object] = {}
    if meta_text is not None:
        entries[_METADATA] = {META_KEY: meta_text}
    for spec in specs:
        offsets = [spec.start, spec.end]
        entries[spec.name] = {"dtype": spec.dtype, "shape": spec.shape, "data_offsets": offsets}
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    return text.ljust(-(-len(text) // 8) * 8)


def _split(view: memoryview, limits: Limits) -> tuple[bytes, memoryview]:
    """Header and body, the header's length within its bounds."""
    if view.nbytes < 8:
        raise _rejected("short", f"{view.nbytes} bytes cannot hold a header length")
    (length,) = _LENGTH.unpack(view[:8])
    if not 2 <= length <= limits.header_bytes or length % 8:
        raise _rejected("header", f"header length {length} is not a multiple of 8 within limits")
    if length > view.nbytes - 8:
        raise _rejected("short", f"header length {length} goes beyond the end of the bytes")
    return bytes(view[8 : 8 + length]), view[8 + length :]


def _check_amount(header: bytes, limits: Limits) -> None:
    """Refuse a header of more structure than its tensors can need, before it costs a parse."""
    outline = outline_of(header)
    if outline.count(b":") + outline.count(b",") > _MARKS * limits.tensors + _MARKS:
        raise _rejected("count", f"the header holds more than {limits.tensors} tensors can need")


def _parse_header(header: bytes) -> tuple[list[_Spec], str | None]:
    try:
        entries = strict_json(header)
    except CanonicalError as error:
        raise _rejected("json", f"header: {error}") from error
    if not isinstance(entries, dict):
        raise _rejected("json", "the header is not a JSON object")
    meta_text = _meta_text(entries.pop(_METADATA)) if _METADATA in entries else None
    return [_parse_spec(name, entry) for name, entry in entries.items()], meta_text


def _meta_text(value: object) -> str:
    text = value.get(META_KEY) if isinstance(value, dict) and len(value) == 1 else None
    if not isinstance(text, str):
        raise _rejected("metadata", f"__metadata__ is not exactly one {META_KEY!r} string")
    return text


def _parse_meta(text: str) -> dict[str, Any]:
    try:
        meta = strict_json(text)
        canonical = rewritten(meta).decode()
    except CanonicalError as error:
        raise _rejected("metadata", f"metadata: {error}") from error
    if not isinstance(meta, dict):
        raise _rejected("metadata", "the metadata is not a JSON object")
    if canonical != text:
        raise _rejected("canonical", "the metadata is not canonical JSON")
    return meta


def _parse_spec(name: str, entry: object) -> _Spec:
    _checked_name(name)
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _rejected("fields", f"{name}: fields are not dtype, shape, data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise _rejected("dtype", f"{name}: dtype {repr(dtype)[:20]} is not F32 or F64")
    if not _naturals(shape):
        raise _rejected("shape", f"{name}: shape is not a list of sizes")
    if not _naturals(offsets) or len(offsets) != 2:
        raise _rejected("offsets", f"{name}: data_offsets are not two positions")
    return _Spec(name, dtype, tuple(shape), offsets[0], offsets[1])


def _naturals(value: object) -> bool:
    # `type` and not isinstance: JSON true is an int to Python.
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _check_limits(specs: list[_Spec], limits: Limits) -> None:
    if len(specs) > limits.tensors:
        raise _rejected("count", f"{len(specs)} tensors, at most {limits.tensors} are kept")
    for spec in specs:
        if len(spec.shape) > _MAX_DIMENSIONS or 0 in spec.shape:
            raise _rejected("shape", f"{spec.name}: shape is not 0 to 8 positive dimensions")
        factor = spec.name.rsplit(".", 1)[-1] in ("u", "v")
        if factor and len(spec.shape) > 1 and min(spec.shape) > limits.rank:
            raise _rejected("rank", f"{spec.name}: rank {min(spec.shape)} is above {limits.rank}")


def _check_offsets(specs: list[_Spec], body: int) -> None:
    """Each tensor starts where the one before ends, and the last ends with the bytes."""
    position = 0
    for spec in specs:
        length = math.prod(spec.shape) * int(DTYPES[spec.dtype][-1])
        if spec.start != position or spec.end - spec.start != length:
            raise _rejected("offsets", f"{spec.name}: overlap, hole or wrong length")
        position = spec.end
    if position > body:
        raise _rejected("short", f"tensors need {position} bytes, {body} are there")
    if position < body:
        raise _rejected("trailing", f"{body - position} bytes follow the last tensor")


def _array(spec: _Spec, body: memoryview) -> Array:
    array = np.frombuffer(body[spec.start : spec.end], DTYPES[spec.dtype]).reshape(spec.shape)
    _check_finite(spec.name, array)
    if not array.flags.aligned:
        array = array.copy()
        array.flags.writeable = False
    return array


def _check_finite(name: str, array: Array) -> None:
    # In steps, so that the mask never takes a quarter of a large tensor's memory.
    flat = array.reshape(-1)
    for start in range(0, flat.size, _FINITE_STEP):
        if not np.isfinite(flat[start : start + _FINITE_STEP]).all():
            raise _rejected("finite", f"{name} has NaN or infinite entries; nothing can be kept")


def _rejected(code: str, text: str) -> ObjectRejected:
    return ObjectRejected(f"not a canonical object ({code}): {text}", code=code)
