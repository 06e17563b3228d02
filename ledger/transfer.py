"""The history of a ledger as lines of text, and lines of text as the history of a new ledger.

Promise: the same ledger gives the same bytes; only lines that this module could have written are
taken in, each after its place in the chain was checked.
Rules: one line an entry, in order: canonical JSON of the entry's row and the rows written with it,
as they are hashed, and a newline. Who had which role is history; a password's hash never leaves.

    with database.read() as snapshot:
        text = b"".join(lines(snapshot))
    restore(database, [line1, line2])
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from types import MappingProxyType
from typing import Any, Final

from ledger import chain
from ledger.db import Database, Writing
from ledger.errors import IntegrityFailure, InvalidInput
from ledger.fields import Record, loaded, stored
from ledger.records import (
    BaseTensorRecord,
    BatchRecord,
    EditRecord,
    EntryRecord,
    MeasurementRecord,
    ModelRecord,
    ObjectRecord,
    PredictionRecord,
    ReleaseRecord,
    StatsRecord,
    TagRecord,
    UserRecord,
)
from ledger.sqlite import Inspected, Row
from ledger.verify import rows_by_entry
from store.canonical import canonical_json, strict_json
from store.errors import CanonicalError

MOST_LINE: Final = 256_000_000
# Those that others point to come first.
_KINDS: Final[tuple[type[Record], ...]] = (
    *(ModelRecord, BaseTensorRecord, ObjectRecord, BatchRecord, EditRecord, MeasurementRecord),
    *(PredictionRecord, TagRecord, StatsRecord, ReleaseRecord, UserRecord),
)
_RECORDS: Final = MappingProxyType({kind.table: kind for kind in _KINDS})
_ORDER: Final = MappingProxyType({kind.table: place for place, kind in enumerate(_KINDS)})


def lines(snapshot: Inspected) -> Iterator[bytes]:
    """The history, entry by entry. Raises: InvalidInput for one with hashes of passwords."""
    if snapshot.query("""SELECT id FROM "user" WHERE password_hash <> '' LIMIT 1"""):
        raise InvalidInput(
            "the history holds hashes of passwords, and a bundle would give them out: export "
            "merged weights or an adapter"
        )
    streams = {name: grouped(snapshot, name) for name in _ORDER}
    waiting = {name: next(stream, None) for name, stream in streams.items()}
    for entry in snapshot.stream("SELECT * FROM entry ORDER BY seq"):
        rows: list[list[Any]] = []
        for name in _ORDER:
            group = waiting[name]
            if group is not None and group[0] == entry["seq"]:
                rows += [[name, chain.compact(name, row)] for row in group[1]]
                waiting[name] = next(streams[name], None)
        yield canonical_json({"entry": entry, "rows": rows}) + b"\n"


def grouped(snapshot: Inspected, name: str) -> Iterator[tuple[int, list[Row]]]:
    """The rows of a table by entry, each group in the order of its keys."""
    keys = chain.key_of(name)
    for seq, group in groupby(rows_by_entry(snapshot, name), key=lambda row: row["entry_seq"]):
        yield seq, sorted(group, key=lambda row: [row[key] for key in keys])


def restore(database: Database, given: Iterable[bytes]) -> None:
    """Fill an empty database with a history, in one transaction.

    Raises: IntegrityFailure for a line that is not as this module writes it, or does not follow
    from the one before; then nothing was written.
    """
    previous = chain.ZERO
    with database.write() as writing:
        for number, line in enumerate(given, start=1):
            entry, rows = _parsed(number, line)
            _check_chain(number, entry, rows, previous)
            _insert(writing, entry, rows)
            previous = str(entry["hash"])


def _parsed(number: int, line: bytes) -> tuple[Row, list[tuple[str, Row]]]:
    try:
        value = strict_json(line)
        if canonical_json(value) + b"\n" != line:
            raise _refused(number, "is not written in canonical form")
    except CanonicalError as error:
        raise _refused(number, f"is no JSON ({error})") from error
    if not isinstance(value, dict) or set(value) != {"entry", "rows"}:
        raise _refused(number, "has not exactly entry and rows")
    return _row(number, EntryRecord, value["entry"]), _rows(number, value["rows"])


def _rows(number: int, value: Any) -> list[tuple[str, Row]]:
    """The rows of an entry, each of a table of a bundle, in the order they are inserted in."""
    if not isinstance(value, list):
        raise _refused(number, "has no list of rows")
    rows: list[tuple[str, Row]] = []
    for item in value:
        if not isinstance(item, list) or len(item) != 2 or item[0] not in _ORDER:
            raise _refused(number, "holds a row of no table of a bundle")
        rows.append((item[0], _row(number, _RECORDS[item[0]], item[1])))
    places = [_ORDER[name] for name, _ in rows]
    if places != sorted(places):
        raise _refused(number, "holds its rows in another order")
    return rows


def _row(number: int, kind: type[Record], row: object) -> Row:
    """All columns of a row, which must be written exactly as a record of its table is."""
    if isinstance(row, Mapping):
        whole = stored(loaded(kind, chain.filled(kind.table, row)))
        if chain.compact(kind.table, whole) == row:
            return whole
    raise _refused(number, f"holds a row of {kind.table} that no ledger stores so")


def _check_chain(number: int, entry: Row, rows: list[tuple[str, Row]], previous: str) -> None:
    if entry["seq"] != number or entry["prev_hash"] != previous:
        raise _refused(number, "does not follow the entry before it")
    if any(row["entry_seq"] != number for _, row in rows):
        raise _refused(number, "holds a row of another entry")
    if chain.rows_digest(rows) != entry["rows_digest"] or chain.entry_hash(entry) != entry["hash"]:
        raise _refused(number, "is not what its hash was made of")


def _insert(writing: Writing, entry: Row, rows: list[tuple[str, Row]]) -> None:
    writing.insert("entry", [entry])
    for name, group in groupby(rows, key=lambda item: item[0]):
        writing.insert(name, [row for _, row in group])


def _refused(number: int, why: str) -> IntegrityFailure:
    return IntegrityFailure(f"entry {number} of the bundle {why}: get the bundle again")
