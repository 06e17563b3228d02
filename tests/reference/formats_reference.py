"""The formats of docs/formats.md written a second time, from that page alone: stdlib and numpy.

Nothing of `store`, `editors` or `ledger` is imported here; that is what makes it a check.

    tensors, meta = read_object(data)
    fold(raw, "BF16", (2, 3), [("low", u, v)], transposed=False)
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import sqlite3
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Row = dict[str, Any]

ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\f": "\\f",
    "\b": "\\b",
}
KEYS = {"base_tensor": ("model_id", "parameter"), "object": ("oid",)}
LATER = {"edit": ("valid_from", "valid_until", "source")}
NUMBERS = ("id", "batch_id", "model_id", "entry_seq", "hash")
STEPS = {"apply": set.union, "reapply": set.union, "revert": set.difference}
STEPS |= dict.fromkeys(("swap", "switch", "merge"), set.symmetric_difference)
MEANING = {
    *("config.json", "generation_config.json", "tokenizer.json", "tokenizer.model"),
    "tokenizer_config.json",
    *("vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json"),
}


def canonical(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str):
        return '"' + "".join(_character(char) for char in value) + '"'
    if isinstance(value, Mapping):
        pairs = (f"{canonical(key)}:{canonical(value[key])}" for key in sorted(value))
        return "{" + ",".join(pairs) + "}"
    return "[" + ",".join(canonical(item) for item in value) + "]"


def _character(char: str) -> str:
    return ESCAPES.get(char) or (f"\\u{ord(char):04x}" if char < " " else char)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def digest(value: Any) -> str:
    return sha(canonical(value).encode("utf-8"))


# --- safetensors --------------------------------------------------------------------------------


def read_file(data: bytes) -> tuple[dict[str, tuple[str, tuple[int, ...], bytes]], dict[str, str]]:
    """name -> (dtype, shape, raw bytes), and the metadata, of any safetensors file."""
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    meta = header.pop("__metadata__", {})
    return {
        name: (item["dtype"], tuple(item["shape"]), body[slice(*item["data_offsets"])])
        for name, item in header.items()
    }, meta


def read_object(data: bytes) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays and the metadata of an object that keeps every rule of the page."""
    tensors, meta = read_file(data)
    assert data == write_object(tensors, meta["kel"])
    assert meta["kel"] == canonical(json.loads(meta["kel"]))
    kinds = {"F32": "<f4", "F64": "<f8"}
    arrays = {
        name: np.frombuffer(raw, kinds[dtype]).reshape(shape)
        for name, (dtype, shape, raw) in tensors.items()
    }
    assert all(np.isfinite(array).all() for array in arrays.values())
    return arrays, json.loads(meta["kel"])


def write_object(tensors: Mapping[str, tuple[str, tuple[int, ...], bytes]], meta: str) -> bytes:
    names = sorted(tensors)
    parts, end = [f'"__metadata__":{{"kel":{canonical(meta)}}}'], 0
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9_.]{1,200}", name)
        dtype, shape, raw = tensors[name]
        assert len(raw) == math.prod(shape) * {"F32": 4, "F64": 8}[dtype]
        sizes, end = ",".join(map(str, shape)), end + len(raw)
        place = f'"data_offsets":[{end - len(raw)},{end}]'
        parts.append(f'"{name}":{{"dtype":"{dtype}","shape":[{sizes}],{place}}}')
    header = ("{" + ",".join(parts) + "}").encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + b"".join(tensors[n][2] for n in names)


# --- weights ------------------------------------------------------------------------------------


def tensor_digest(dtype: str, shape: Sequence[int], raw: bytes) -> str:
    return sha(f"{dtype} {'x'.join(map(str, shape))}\n".encode("ascii") + raw)


def widened(raw: bytes, dtype: str) -> Array:
    """Stored values as float64, exactly."""
    if dtype == "BF16":
        high = np.frombuffer(raw, "<u2").astype(np.uint32) << 16
        return high.view(np.float32).astype(np.float64)
    return np.frombuffer(raw, {"F32": "<f4", "F16": "<f2"}[dtype]).astype(np.float64)


def narrowed(values: Array, dtype: str) -> bytes:
    """float64 -> float32 -> the stored dtype, to nearest even each time."""
    single = values.astype("<f4")
    if dtype == "F32":
        return single.tobytes()
    if dtype == "F16":
        return single.astype("<f2").tobytes()
    bits = single.view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (rounded >> np.uint32(16)).astype("<u2").tobytes()


def updates(tensors: Mapping[str, Array], parameter: str, column: int | None) -> list[Array]:
    """What one edit adds to a parameter, [d_out, d_in] each, in order; all columns for None."""
    if f"{parameter}.dense" in tensors:
        return [tensors[f"{parameter}.dense"].astype(np.float64)]
    u, v = (tensors[f"{parameter}.{part}"].astype(np.float64) for part in "uv")
    chosen = range(u.shape[1]) if column is None else [column]
    return [np.outer(u[:, k], v[k]) for k in chosen]


def fold(
    raw: bytes, dtype: str, shape: Sequence[int], added: Iterable[Array], *, conv1d: bool
) -> bytes:
    total = widened(raw, dtype).reshape(shape)
    for update in added:
        total = total + (update.T if conv1d else update)
    return narrowed(total, dtype)


def base_digest(folder: Path) -> str:
    weights, index = {"model.safetensors"}, "model.safetensors.index.json"
    if not (folder / "model.safetensors").exists():
        shards = json.loads((folder / index).read_text("utf-8"))["weight_map"].values()
        weights = {index, *shards}
    present = [name for name in weights | MEANING if (folder / name).is_file()]
    return digest({name: sha((folder / name).read_bytes()) for name in present})


def weights_digest(base: str, tensors: Mapping[str, str]) -> str:
    return digest({"base": base, "tensors": tensors})


NO_HISTORY = {"alembic_version", "credential", "session", "token", "proposal", "attempt"}

# --- history ------------------------------------------------------------------------------------


def read_tables(path: Path) -> dict[str, list[Row]]:
    """Every row of every table, as stored."""
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    query = "SELECT name FROM sqlite_master WHERE type = 'table'"
    try:
        names = [n for (n,) in connection.execute(query) if n not in NO_HISTORY]
        return {n: [dict(r) for r in connection.execute(f'SELECT * FROM "{n}"')] for n in names}
    finally:
        connection.close()


def kept(name: str, row: Row) -> Row:
    """The columns of a row that its hashes cover."""
    return {k: v for k, v in row.items() if v is not None or k not in LATER.get(name, ())}


def edit_hash(edit: Row, batch: Row) -> str:
    rows = {"edit": kept("edit", edit), "batch": batch}
    return digest({n: {k: v for k, v in r.items() if k not in NUMBERS} for n, r in rows.items()})


def rows_digest(tables: Mapping[str, list[Row]], seq: int) -> str:
    found = [
        (name, [row[key] for key in KEYS.get(name, ("id",))], row)
        for name, rows in tables.items()
        if name != "entry"
        for row in rows
        if row["entry_seq"] == seq
    ]
    found.sort(key=lambda item: item[:2])
    return digest([[name, kept(name, row)] for name, _, row in found])


def entry_hash(entry: Row) -> str:
    return digest({name: value for name, value in entry.items() if name != "hash"})


def active(entries: Iterable[Row], version: int) -> list[int]:
    """Edits of a version in ledger order: each at the place of its first application."""
    order: list[int] = []
    chosen: set[int] = set()
    for entry in sorted(entries, key=lambda row: row["seq"]):
        if entry["version"] > version or entry["op"] not in STEPS:
            continue
        edits = json.loads(entry["edits"])
        order += [edit for edit in edits if edit not in order]
        chosen = STEPS[entry["op"]](chosen, set(edits))
    return [edit for edit in order if edit in chosen]
