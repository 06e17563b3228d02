"""The database of a ledger: opening it, reading it and writing to it.

Promise: a write is there whole or not at all, also after a power cut; a reader sees one state.

Rules: WAL and synchronous=FULL; a write begins with BEGIN IMMEDIATE, so a read that is followed by
a write cannot lose a race; waiting for the lock is bounded; a new database appears whole, under its
final name; errors of SQLite leave this module as errors of the ledger. Reading goes through the
standard library; SQLAlchemy is imported when something is written, made or upgraded.

    database = Database.open(folder / "ledger.db")
    with database.write() as writing:
        writing.insert("tag", [stored(tag)])
    database.close()
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, LiteralString

from ledger import schema, sqlite
from ledger.address import file_of, is_server
from ledger.errors import Conflict, IntegrityFailure, LedgerError, NoLedger, SchemaTooOld
from ledger.sqlite import Inspected, Row, Snapshot, Snapshots, Value

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

BUSY_SECONDS: Final = 30.0
_MAGIC: Final = b"SQLite format 3\0"


def _point(name: str) -> None:
    """A place where the process may die; tests replace it."""


@dataclass(frozen=True)
class Writing:
    """The ledger under the write lock: the state so far, and a way to add to it."""

    connection: Connection

    def query(self, sql: LiteralString, /, **parameters: Value) -> list[Row]:
        """All rows of the answer, column -> value; what was added is among them."""
        # Past SQLAlchemy, which takes longer over a statement than SQLite over its answer.
        driver: Any = self.connection.connection.driver_connection
        return Snapshot(driver).query(sql, **parameters)

    def insert(self, name: str, rows: Sequence[Mapping[str, Value]]) -> None:
        """Add rows to the table called `name`."""
        from sqlalchemy import insert

        from ledger.models import table

        self.connection.execute(insert(table(name)), rows)


class Database:
    """One ledger database, here in a SQLite file. Make it with `create` or `open`."""

    def __init__(self, path: Path, busy_seconds: float = BUSY_SECONDS) -> None:
        self._path, self._busy_seconds = path, busy_seconds
        self._snapshots = Snapshots(path, busy_seconds)

    @classmethod
    def create(cls, place: str | Path, *, busy_seconds: float = BUSY_SECONDS) -> Database:
        """Make an empty database with the current schema at a path, `sqlite:///` or server URL.

        Raises: Conflict if one is there already; LedgerError if it cannot be written.
        """
        if is_server(place):
            from ledger.postgres import PostgresDatabase

            return PostgresDatabase.made(str(place), busy_seconds=busy_seconds)
        path = file_of(place)
        if path.exists():
            raise Conflict(f"{path} exists already; open it, or choose another folder.")
        try:
            with _translated(path):
                _build(path, busy_seconds)
        except FileExistsError as error:
            raise Conflict(f"{path} was made by another process meanwhile; open it.") from error
        except OSError as error:
            raise LedgerError(f"cannot create {path}: {error.strerror or error}.") from error
        return cls.open(path, busy_seconds=busy_seconds)

    @classmethod
    def open(
        cls, place: str | Path, *, upgrade: bool | None = None, busy_seconds: float = BUSY_SECONDS
    ) -> Database:
        """Open a database; a file with an older schema is copied aside and upgraded, unless told
        otherwise, one on a server only if told so (`upgrade=True`).

        Raises: NoLedger, IntegrityFailure (damaged or not a ledger), SchemaTooNew, SchemaTooOld.
        """
        database = cls.reachable(place, busy_seconds=busy_seconds)
        try:
            database._bring_up_to_date(allowed=upgrade)
        except BaseException:
            database.close()
            raise
        return database

    @classmethod
    def reachable(cls, place: str | Path, *, busy_seconds: float = BUSY_SECONDS) -> Database:
        """The database as it is, with whatever schema. Raises: NoLedger if there is no file."""
        if is_server(place):
            from ledger.postgres import PostgresDatabase

            return PostgresDatabase(str(place), busy_seconds)
        path = file_of(place)
        if not path.is_file():
            raise NoLedger(f"there is no ledger database at {path}; initialise one first.")
        _check_begin(path)
        return cls(path, busy_seconds)

    @property
    def path(self) -> Path:
        """The database file."""
        return self._path

    @property
    def place(self) -> str:
        """Where the database is, for people; never with a password."""
        return str(self._path)

    @cached_property
    def engine(self) -> Engine:
        """The engine of all writing; for maintenance and tests too."""
        return _engine(self._path, self._busy_seconds)

    @contextmanager
    def read(self) -> Iterator[Inspected]:
        """One consistent state to ask; nothing can be changed through it."""
        with sqlite.translated(self._path), self._snapshots.taken() as snapshot:
            yield snapshot

    @contextmanager
    def write(self) -> Iterator[Writing]:
        """The write lock; what is added is kept if the block ends without an exception.

        Raises: Busy if another process keeps the lock; LedgerError if the disk refuses.
        """
        with _translated(self._path), self.engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            _point("write-begun")
            yield Writing(connection)
            _point("write-flushed")
            connection.commit()
        _point("write-committed")

    def close(self) -> None:
        """Close every connection."""
        self._snapshots.close()
        if "engine" in self.__dict__:
            self.engine.dispose()

    def _bring_up_to_date(self, *, allowed: bool | None) -> None:
        with self.read() as snapshot:
            if schema.check(schema.revision(snapshot), self._path):
                return
        if allowed is False:
            raise SchemaTooOld(f"{self._path} has an older schema; run the database upgrade first.")
        with _translated(self._path):
            schema.backup(self.engine, self._path)
            schema.upgrade(self.engine)


def _check_begin(path: Path) -> None:
    """Refuse a file that is no database before SQLite, which would make one of an empty file.

    Raises: IntegrityFailure, LedgerError.
    """
    try:
        with path.open("rb") as file:
            begin = file.read(len(_MAGIC))
    except OSError as error:
        raise LedgerError(f"cannot read {path}: {error.strerror}; check its rights.") from error
    if begin != _MAGIC:
        what = "it is no SQLite database" if begin else "it is empty"
        raise IntegrityFailure(f"{path} is damaged ({what}); restore a backup.")


def _engine(path: Path, busy_seconds: float) -> Engine:
    """Connections as `sqlite.connect` makes them."""
    from sqlalchemy import create_engine

    return create_engine("sqlite:///ledger", creator=lambda: sqlite.connect(path, busy_seconds))


def _build(path: Path, busy_seconds: float) -> None:
    """Make the database under a temporary name, then give it its own; a crash leaves no half."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        draft.unlink(missing_ok=True)
        # Before SQLite opens it, because its side files take over the rights.
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        engine = _engine(draft, busy_seconds)
        try:
            schema.upgrade(engine)
        finally:
            engine.dispose()
        _point("draft-built")
        os.link(draft, path)
        _point("draft-linked")
        _sync(path.parent)
    finally:
        for leftover in (draft, Path(f"{draft}-wal"), Path(f"{draft}-shm")):
            leftover.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn errors of SQLite into those of the ledger, also where SQLAlchemy has wrapped them."""
    from sqlalchemy.exc import DBAPIError

    with sqlite.translated(path):
        try:
            yield
        except DBAPIError as error:
            raise sqlite.translation(error.orig, path) from error
