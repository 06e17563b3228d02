"""The hashes that tie the ledger together. Pure: values in, sha256 out.

Promise: no row of any table can be changed, removed, added or moved without one of these hashes
ceasing to agree.

Rules: every hash is sha256 over canonical JSON; a row is hashed as it is stored (JSON columns as
their canonical text), without the empty ones of the columns that its table had not from the
beginning; an entry covers the rows written with it (`rows_digest`) and the entry before it
(`prev_hash`); the first entry follows 64 zeros.

    digest = rows_digest([("tag", stored_tag)])
    entry = entry | {"rows_digest": digest, "prev_hash": last_hash}
    entry["hash"] = entry_hash(entry)
"""

import hashlib
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from store.canonical import canonical_json

Stored = str | int | float | None

ZERO = "0" * 64
# What a row is called in its own ledger; its content is the same under other numbers.
_LOCAL = frozenset({"id", "batch_id", "model_id", "entry_seq", "hash"})
_KEYS = {"base_tensor": ("model_id", "parameter"), "object": ("oid",)}
# Columns that a later schema added: the rows that were there before must keep their hashes.
_LATER = MappingProxyType({"edit": ("valid_from", "valid_until", "source")})


def digest(document: object) -> str:
    """sha256 (hex) of the canonical JSON of `document`."""
    return hashlib.sha256(canonical_json(document)).hexdigest()


def key_of(table: str) -> tuple[str, ...]:
    """Names of the primary key columns of a table that is not `entry`."""
    return _KEYS.get(table, ("id",))


def rows_digest(rows: Iterable[tuple[str, Mapping[str, Stored]]]) -> str:
    """sha256 over all rows of one transaction, whatever order they come in.

    Each row is its table's name and what `compact` keeps, ordered by (table, primary key).
    """
    ordered = sorted(rows, key=_place)
    return digest([[table, compact(table, row)] for table, row in ordered])


def compact(table: str, row: Mapping[str, Stored]) -> dict[str, Stored]:
    """A stored row as it is hashed: without the empty ones of the columns that came later."""
    later = _LATER.get(table, ())
    return {name: v for name, v in row.items() if v is not None or name not in later}


def filled(table: str, row: Mapping[str, Stored]) -> dict[str, Stored]:
    """A row that was written out by `compact`, with all columns again."""
    return {**dict.fromkeys(_LATER.get(table, ())), **row}


def entry_hash(entry: Mapping[str, Stored]) -> str:
    """sha256 over all columns of a stored entry except `hash` itself."""
    return digest({name: value for name, value in entry.items() if name != "hash"})


def edit_hash(edit: Mapping[str, Stored], batch: Mapping[str, Stored]) -> str:
    """sha256 over the content of a stored edit and of its batch, the object's name included.

    Row numbers are left out, so the hash names the same edit in an imported ledger too.
    """
    return digest({"edit": _content(compact("edit", edit)), "batch": _content(batch)})


def weights_digest(base_digest: str, tensors: Mapping[str, str]) -> str:
    """Digest of a version's weights.

    `tensors` maps each parameter with at least one *active* component to the sha256 of its tensor;
    a parameter whose edits are all reverted must be left out. So a history whose edits were taken
    back has the digest of one that never had them.
    """
    return digest({"base": base_digest, "tensors": dict(tensors)})


def _content(row: Mapping[str, Stored]) -> dict[str, Stored]:
    return {name: value for name, value in row.items() if name not in _LOCAL}


def _place(
    row: tuple[str, Mapping[str, Stored]],
) -> tuple[str, tuple[tuple[str, str | int | float], ...]]:
    """Sort key; the type's name keeps keys of altered rows comparable."""
    table, columns = row
    return table, tuple(_comparable(columns[name]) for name in key_of(table))


def _comparable(value: Stored) -> tuple[str, str | int | float]:
    return type(value).__name__, "" if value is None else value
