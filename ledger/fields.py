"""What a column may hold: the field kinds of the records, checked when a record is made.

Promise: `loaded(cls, stored(record)) == record`, on every database, for every record that exists.

Rules: text holds no NUL and no lone surrogate (PostgreSQL and UTF-8 refuse them); numbers are
finite and fit 64 bits; a field whose default is None may be None; JSON is stored as canonical text.

    @dataclass(frozen=True, kw_only=True)
    class NoteRecord(Record):
        table = "note"
        body: str = text()
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

from ledger.chain import Stored
from ledger.errors import IntegrityFailure, InvalidInput
from store.canonical import canonical_json

INT64 = 2**63
_HEX = re.compile(r"[0-9a-f]{64}")
R = TypeVar("R", bound="Record")


def text(default: str | None = "", *, shown: bool = True) -> Any:
    """Text; `shown=False` keeps a secret out of `repr`."""
    return field(default=default, repr=shown, metadata={"kind": "text"})


def whole(default: int | None = 0, low: int = 0) -> Any:
    """An integer from `low` up to 2**63 - 1."""
    return field(default=default, metadata={"kind": "int", "low": low})


def real(default: float | None = None) -> Any:
    """A finite float."""
    return field(default=default, metadata={"kind": "real"})


def sha(default: str | None = "") -> Any:
    """A sha256; the empty text means that the journal fills it in."""
    return field(default=default, metadata={"kind": "hash"})


def plain(factory: Any = dict) -> Any:
    """A value that canonical JSON can write."""
    return field(default_factory=factory, metadata={"kind": "json"})


@dataclass(frozen=True, kw_only=True)
class Record:
    """A row of `table`; every field is a column of the same name."""

    table: ClassVar[str]

    def __post_init__(self) -> None:
        for name, kind, low, optional in _columns(type(self)):
            value = getattr(self, name)
            if value is None and optional:
                continue
            checked = _CHECKS[kind](f"{self.table}.{name}", value, low)
            if checked is not value:
                object.__setattr__(self, name, checked)


def stored(record: Record) -> dict[str, Stored]:
    """The columns of `record` as they are stored and hashed; JSON as canonical text."""
    return {
        name: _written(getattr(record, name), kind) for name, kind, _, _ in _columns(type(record))
    }


def unfilled(record: Record) -> list[str]:
    """Names of the hashes that are still empty."""
    return [
        name
        for name, kind, _, _ in _columns(type(record))
        if kind == "hash" and getattr(record, name) == ""
    ]


def loaded(cls: type[R], row: Mapping[str, Any]) -> R:
    """The record of a stored row. Raises: IntegrityFailure if it is no valid record."""
    try:
        return cls(
            **{
                name: _parsed(row[name]) if kind == "json" else row[name]
                for name, kind, _, _ in _columns(cls)
            }
        )
    except (InvalidInput, KeyError, ValueError, TypeError, RecursionError) as error:
        raise IntegrityFailure(
            f"a row of table {cls.table} was altered ({error}); run verify."
        ) from error


def _columns(cls: Any) -> tuple[tuple[str, str, int, bool], ...]:
    """(name, kind, lowest value, may be None) of each field."""
    return _described(cls)


@cache
def _described(cls: Any) -> tuple[tuple[str, str, int, bool], ...]:
    return tuple(
        (item.name, item.metadata["kind"], item.metadata.get("low", 0), item.default is None)
        for item in fields(cls)
    )


def _written(value: Any, kind: str) -> Stored:
    return canonical_json(value).decode() if kind == "json" else value


def _parsed(written: str) -> Any:
    value = json.loads(written)
    return tuple(value) if isinstance(value, list) else value


def _check_text(where: str, value: object, _low: int) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"{where} must be text, got {type(value).__name__}.")
    if "\0" in value or not _is_unicode(value):
        raise InvalidInput(f"{where} holds a NUL or a lone surrogate, which cannot be stored.")
    return value


def _is_unicode(value: str) -> bool:
    return value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value)


def _check_int(where: str, value: object, low: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value < INT64:
        raise InvalidInput(f"{where} must be a whole number from {low} on, got {value!r:.80}.")
    return value


def _check_real(where: str, value: object, _low: int) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidInput(f"{where} must be a finite number, got {value!r:.80}.")
    # SQLite keeps no negative zero; adding zero removes it before the row is hashed.
    return float(value) + 0.0


def _check_hash(where: str, value: object, _low: int) -> str:
    if not isinstance(value, str) or not (value == "" or _HEX.fullmatch(value)):
        raise InvalidInput(f"{where} must be a sha256 in lower case, got {value!r:.80}.")
    return value


def _check_json(where: str, value: object, _low: int) -> object:
    """A private copy as it will be read back, so that nobody can change the record later."""
    try:
        return _parsed(canonical_json(value).decode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{where} cannot be written as JSON: {error}") from error


_CHECKS = MappingProxyType(
    {
        "text": _check_text,
        "int": _check_int,
        "real": _check_real,
        "hash": _check_hash,
        "json": _check_json,
    }
)
