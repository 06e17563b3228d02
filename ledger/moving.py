"""The database of a ledger as a whole: looked at, upgraded, backed up, moved to another place.

Promise: a copy holds every row of the ledger and was compared with its source, row for row, before
it is called one; a source is never changed; what fails leaves no half-filled target.

Rules: a place is a file or an address `postgresql://...`; a target holds no ledger yet; a folder is
moved to a server only where the server's last entry is the one of its file; addresses never hold a
password. Sessions and tokens of the web page are no part of the ledger and are not copied.

    copy("ledgers/a/ledger.db", "postgresql://kel@db.example/facts").entries      # 120
    attach(Path("ledgers/a"), "postgresql://kel@db.example/facts")
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from ledger import schema
from ledger.address import checked_address, file_of, is_server
from ledger.db import Database
from ledger.errors import Conflict, IntegrityFailure, NoLedger
from ledger.layout import LedgerFolder
from ledger.queries import last_entry
from ledger.records import EntryRecord
from ledger.sqlite import Inspected, Row
from ledger.transfer import grouped
from ledger.verify import Finding, verify_database
from store.atomic import write_file
from store.canonical import canonical_json

Place = str | Path
_CHUNK: Final = 500
# Those that others point to come first.
_TABLES: Final = (
    *("model", "base_tensor", "object", "batch", "edit", "measurement", "prediction", "tag"),
    *("stats", "release", "user"),
)


@dataclass(frozen=True)
class DatabaseView:
    """What a database is: where, with which schema, and how far its history goes."""

    place: str
    schema: str
    newest_schema: str
    entries: int
    head: str


@dataclass(frozen=True)
class CopyView:
    """A copy that was compared with its source; `digest` is the sha256 of all rows of either."""

    source: str
    target: str
    entries: int
    rows: int
    head: str
    digest: str


def look(place: Place) -> DatabaseView:
    """Which schema the database has and how far it goes; nothing is upgraded.

    Raises: NoLedger, IntegrityFailure, LedgerError.
    """
    database = Database.reachable(place)
    try:
        with database.read() as snapshot:
            found = schema.revision(snapshot)
            if found is None:
                raise NoLedger(f"there is no ledger at {database.place}; initialise one first.")
            last = last_entry(snapshot)
    finally:
        database.close()
    return DatabaseView(
        place=database.place,
        schema=found,
        newest_schema=schema.CURRENT,
        entries=last.seq if last else 0,
        head=last.hash if last else "",
    )


def upgrade(place: Place) -> DatabaseView:
    """Bring the schema up to date; a file is copied aside first. Raises: SchemaTooNew, Busy."""
    Database.open(place, upgrade=True).close()
    return look(place)


def check(place: Place) -> list[Finding]:
    """What is wrong with the rows, the chain, the schema and its guards; objects are not read."""
    database = Database.open(place, upgrade=False)
    try:
        return verify_database(database)
    finally:
        database.close()


def copy(source: Place, target: Place) -> CopyView:
    """Copy every row of a ledger into a new database.

    Raises: NoLedger, Conflict if the target holds a ledger, IntegrityFailure if the copy is not
    equal to its source; then a file made here is removed and a server's tables are left empty.
    """
    giving = Database.open(source, upgrade=False)
    try:
        return _copied(giving, target)
    finally:
        giving.close()


def attach(folder: Path, url: str) -> DatabaseView:
    """Make `folder` one of the ledger on a server; a file of the same ledger is set aside.

    Raises: Conflict if the folder's own ledger is another one or goes further, NoLedger.
    """
    place = LedgerFolder(Path(folder).expanduser().absolute())
    found = look(checked_address(url))
    if place.address.exists():
        raise Conflict(f"{place.root} has its ledger at {place.database} already.")
    if place.file.exists():
        here = look(place.file)
        if here.head != found.head:
            raise Conflict(
                f"{place.file} ends with entry {here.entries} ({here.head[:12]}), {found.place} "
                f"with entry {found.entries} ({found.head[:12]}): copy it there first "
                "(kel db copy)."
            )
    place.root.mkdir(parents=True, exist_ok=True)
    write_file(place.address, f"{found.place}\n".encode(), mode=0o600)
    if place.file.exists():
        place.file.rename(place.file.with_name(f"{place.file.name}.before-attach"))
    return found


def _copied(giving: Database, target: Place) -> CopyView:
    taking = Database.create(target)
    try:
        with giving.read() as snapshot:
            last, digest, rows = _fill(taking, snapshot)
        with taking.read() as snapshot:
            arrived = _digest(snapshot)
        if arrived != (digest, rows):
            raise IntegrityFailure(f"{taking.place} is not what {giving.place} holds; try again.")
    except BaseException:
        taking.close()
        if not is_server(target):
            for suffix in ("", "-wal", "-shm"):
                Path(f"{file_of(target)}{suffix}").unlink(missing_ok=True)
        raise
    taking.close()
    return CopyView(giving.place, taking.place, last.seq, rows, last.hash, digest)


def _fill(taking: Database, snapshot: Inspected) -> tuple[EntryRecord, str, int]:
    last = last_entry(snapshot)
    if last is None:
        raise NoLedger("the source has no entries yet; there is nothing to copy.")
    given = _Tally()
    with taking.write() as writing:
        for name, rows in _everything(snapshot):
            while some := list(islice(rows, _CHUNK)):
                writing.insert(name, some)
                given.add(name, some)
    return last, *given.found()


def _digest(snapshot: Inspected) -> tuple[str, int]:
    tally = _Tally()
    for name, rows in _everything(snapshot):
        tally.add(name, rows)
    return tally.found()


class _Tally:
    """sha256 of all rows, and their number."""

    def __init__(self) -> None:
        self._sha, self._rows = hashlib.sha256(), 0

    def add(self, name: str, rows: Iterable[Row]) -> None:
        """Take rows of a table, in order."""
        for row in rows:
            self._sha.update(canonical_json([name, row]) + b"\n")
            self._rows += 1

    def found(self) -> tuple[str, int]:
        return self._sha.hexdigest(), self._rows


def _everything(snapshot: Inspected) -> Iterator[tuple[str, Iterator[Row]]]:
    """The tables in an order in which they can be filled, each with its rows in order."""
    yield "entry", snapshot.stream("SELECT * FROM entry ORDER BY seq")
    for name in _TABLES:
        yield name, (row for _, rows in grouped(snapshot, name) for row in rows)
