"""Checking that what is stored is what was recorded: chain, rows, links and objects.

Promise: any changed, removed, added or moved row of any table, and any lost or altered object,
gives at least one error. Nothing is repaired or deleted.

Rules: everything is read on one consistent state; rows are hashed as they are stored and never
parsed before their hash agreed; what a crash may leave behind (objects and files that nothing
refers to) is only mentioned. Codes are stable:

    error    database, chain.gap, chain.link, chain.hash, chain.version, chain.truncated,
             rows.digest, rows.homeless, row.link, edit.gap, edit.hash, tag.version,
             object.missing, object.corrupt, object.size
    warning  trigger.missing, trigger.altered, trigger.unknown
    info     object.garbage, temp.garbage

Cutting entries off the end leaves a shorter, valid ledger. Only a hash kept elsewhere shows it:

    for finding in verify_structure(journal, store, anchor=(41, "9f3c...")):
        report(finding.severity, finding.code, finding.subject, finding.text)
"""

import heapq
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, Protocol

from ledger import chain
from ledger.db import Database
from ledger.errors import IntegrityFailure, LedgerError
from ledger.history import History
from ledger.reader import Reader
from ledger.sqlite import Inspected, Row
from ledger.steps import change_of
from store.errors import CanonicalError, ObjectCorrupt, ObjectMissing, StoreError

Severity = Literal["error", "warning", "info"]

# Every table but `entry`, its rows in the order of the entries they were written with.
BY_ENTRY: Final = MappingProxyType(
    {
        "base_tensor": "SELECT * FROM base_tensor ORDER BY entry_seq",
        "batch": "SELECT * FROM batch ORDER BY entry_seq",
        "edit": "SELECT * FROM edit ORDER BY entry_seq",
        "measurement": "SELECT * FROM measurement ORDER BY entry_seq",
        "model": "SELECT * FROM model ORDER BY entry_seq",
        "object": "SELECT * FROM object ORDER BY entry_seq",
        "prediction": "SELECT * FROM prediction ORDER BY entry_seq",
        "release": 'SELECT * FROM "release" ORDER BY entry_seq',
        "stats": "SELECT * FROM stats ORDER BY entry_seq",
        "tag": "SELECT * FROM tag ORDER BY entry_seq",
        "user": 'SELECT * FROM "user" ORDER BY entry_seq',
    }
)
ROW_TABLES: Final = tuple(BY_ENTRY)


class Objects(Protocol):
    """What verification asks of an object store."""

    def opened(self) -> AbstractContextManager[Callable[[str], bytes]]: ...
    def oids(self) -> Iterator[str]: ...
    def temps(self) -> Iterator[Path]: ...


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be; `subject` says what it is about."""

    severity: Severity
    code: str
    subject: str
    text: str


def verify_structure(
    journal: Reader, store: Objects, *, anchor: tuple[int, str] | None = None
) -> list[Finding]:
    """Everything wrong with the ledger apart from weights; empty if all is well.

    `anchor` is the number and hash of an entry noted outside the ledger (an export, a release);
    without it, entries cut off the end cannot be noticed.
    """
    findings: list[Finding] = []
    try:
        with journal.database.read() as snapshot:
            findings.extend(_database(snapshot))
            if not findings:
                findings.extend(_all(snapshot, store, anchor))
    except IntegrityFailure as error:
        findings.append(_error("database", "file", str(error)))
    return findings


def verify_database(database: Database) -> list[Finding]:
    """Everything wrong with the database alone, whatever lies in the object store."""
    with database.read() as snapshot:
        return list(_database(snapshot)) or list(_recorded(snapshot, None))


def _all(snapshot: Inspected, store: Objects, anchor: tuple[int, str] | None) -> Iterator[Finding]:
    yield from _recorded(snapshot, anchor)
    yield from _objects(snapshot, store)


def _recorded(snapshot: Inspected, anchor: tuple[int, str] | None) -> Iterator[Finding]:
    rows = snapshot.query("SELECT * FROM entry ORDER BY seq")
    yield from _entries(rows)
    yield from _anchor(rows, anchor)
    yield from _digests(snapshot, rows)
    yield from _links(snapshot)
    yield from _edits(snapshot)
    yield from _meaning(snapshot, rows)
    yield from _triggers(snapshot)


def _database(snapshot: Inspected) -> Iterator[Finding]:
    """The database's own check."""
    for text in snapshot.damage():
        yield _error("database", "file", text)


def _entries(rows: list[Row]) -> Iterator[Finding]:
    previous, number = chain.ZERO, 0
    for row in rows:
        number += 1
        name = f"entry {row['seq']}"
        if row["seq"] != number:
            yield _error("chain.gap", name, f"entry {number} should stand here.")
            number = row["seq"] if isinstance(row["seq"], int) else number
        if row["prev_hash"] != previous:
            yield _error("chain.link", name, "it does not follow the entry before it.")
        if _hash(row) != row["hash"]:
            yield _error("chain.hash", name, "its content is not what was hashed.")
        previous = row["hash"]
    if not rows:
        yield _error("chain.gap", "entry 1", "the ledger has no entries.")


def _anchor(rows: list[Row], anchor: tuple[int, str] | None) -> Iterator[Finding]:
    if anchor is None:
        return
    seq, expected = anchor
    if not any(row["seq"] == seq and row["hash"] == expected for row in rows):
        text = "the entry noted elsewhere is not here: history was cut off or replaced."
        yield _error("chain.truncated", f"entry {seq}", text)


def _digests(snapshot: Inspected, entries: list[Row]) -> Iterator[Finding]:
    """Recompute every entry's digest over its rows, in one pass over all tables."""
    wanted = {row["seq"]: row["rows_digest"] for row in entries}
    streams = [_placed(snapshot, name) for name in ROW_TABLES]
    merged = heapq.merge(*streams, key=lambda item: item[0])
    for place, group in groupby(merged, key=lambda item: item[0]):
        rows = [(name, row) for _, name, row in group]
        expected = wanted.pop(place[1], None)
        if expected is None:
            tables = ", ".join(sorted({name for name, _ in rows}))
            text = f"rows of {tables} belong to an entry that does not exist."
            yield _error("rows.homeless", f"entry {place[1]}", text)
        elif _rows_hash(rows) != expected:
            yield _altered(place[1])
    empty = chain.rows_digest([])
    yield from (_altered(seq) for seq, expected in wanted.items() if expected != empty)


def rows_by_entry(snapshot: Inspected, name: str) -> Iterator[Row]:
    """The rows of a table, in the order of the entries that recorded them."""
    return snapshot.stream(BY_ENTRY[name])


def _placed(snapshot: Inspected, name: str) -> Iterator[tuple[tuple[str, Any], str, Row]]:
    """((type of the entry's number, number), table, row): comparable even where altered."""
    for row in rows_by_entry(snapshot, name):
        number = row["entry_seq"]
        yield ("" if isinstance(number, int) else type(number).__name__, number), name, row


def _altered(seq: object) -> Finding:
    text = "a row that was written with it was changed, removed or added."
    return _error("rows.digest", f"entry {seq}", text)


def _links(snapshot: Inspected) -> Iterator[Finding]:
    for child, parent in snapshot.dangling():
        text = f"it refers to a row of {parent} that does not exist."
        yield _error("row.link", child, text)


def _edits(snapshot: Inspected) -> Iterator[Finding]:
    batches = {row["id"]: row for row in snapshot.stream("SELECT * FROM batch ORDER BY id")}
    edits = snapshot.stream("SELECT * FROM edit ORDER BY id")
    for number, row in enumerate(edits, start=1):
        name = f"edit {row['id']}"
        if row["id"] != number:
            yield _error("edit.gap", name, f"edit {number} should stand here.")
            return
        batch = batches.get(row["batch_id"])
        if batch is not None and _edit_hash(row, batch) != row["hash"]:
            yield _error("edit.hash", name, "the fact, its method or its delta was changed.")


def _meaning(snapshot: Inspected, entries: list[Row]) -> Iterator[Finding]:
    """Whether the entries fold into versions, and tags name some of them."""
    try:
        steps = [change_of(row) for row in entries]
        head = History(steps).head
    except (LedgerError, ValueError, TypeError) as error:
        yield _error("chain.version", "history", f"the entries make no history: {error}")
        return
    known = {row["id"] for row in snapshot.query("SELECT id FROM edit")}
    for step in steps:
        if missing := sorted(set(step.edits) - known):
            text = f"it names edit {missing[0]}, which does not exist."
            yield _error("row.link", f"entry {step.seq}", text)
    for row in snapshot.query("SELECT name, version FROM tag ORDER BY id"):
        version = row["version"]
        if version is not None and not (isinstance(version, int) and 0 <= version <= head):
            yield _error("tag.version", f"tag {row['name']}", f"there is no version {version}.")


def _triggers(snapshot: Inspected) -> Iterator[Finding]:
    found, wanted = snapshot.triggers(), snapshot.guards((*ROW_TABLES, "entry"))
    text = "rows of this table can be changed unnoticed until the next verification."
    for name in sorted(wanted):
        if name not in found:
            yield Finding("warning", "trigger.missing", name, text)
        elif found[name] != wanted[name]:
            yield Finding("warning", "trigger.altered", name, text)
    for name in sorted(set(found) - set(wanted)):
        text = "no migration made it: it may change what is recorded as it is written."
        yield Finding("warning", "trigger.unknown", name, text)


def _objects(snapshot: Inspected, store: Objects) -> Iterator[Finding]:
    known: set[str] = set()
    with store.opened() as get:
        for row in snapshot.stream("SELECT * FROM object ORDER BY oid"):
            known.add(row["oid"])
            yield from _object(row, get)
    for oid in store.oids():
        if oid not in known:
            text = "no row refers to it; garbage collection removes it after its grace time."
            yield Finding("info", "object.garbage", oid, text)
    for path in store.temps():
        text = "an unfinished write; garbage collection removes it after its grace time."
        yield Finding("info", "temp.garbage", path.name, text)


def _object(row: Row, get: Callable[[str], bytes]) -> Iterator[Finding]:
    name = str(row["oid"])
    try:
        size = len(get(name))
    except ObjectMissing as error:
        yield _error("object.missing", name, str(error))
    except ObjectCorrupt as error:
        yield _error("object.corrupt", name, str(error))
    except StoreError as error:
        yield _error("object.corrupt", name, f"it cannot be read: {error}")
    else:
        if size != row["size"]:
            yield _error("object.size", name, f"it has {size} bytes, recorded are {row['size']}.")


def _hash(row: Row) -> str | None:
    try:
        return chain.entry_hash(row)
    except CanonicalError:
        return None


def _edit_hash(edit: Row, batch: Row) -> str | None:
    try:
        return chain.edit_hash(edit, batch)
    except CanonicalError:
        return None


def _rows_hash(rows: list[tuple[str, Row]]) -> str | None:
    """None for rows that hold what the journal never writes, such as a BLOB."""
    try:
        return chain.rows_digest(rows)
    except (CanonicalError, TypeError):
        return None


def _error(code: str, subject: str, text: str) -> Finding:
    return Finding("error", code, subject, text)
