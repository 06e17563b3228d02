"""The database file: opening it, and the two ways to a session on it.

Promise: a write is there whole or not at all, also after a power cut; a reader sees one state.

Rules: WAL and synchronous=FULL; a write begins with BEGIN IMMEDIATE, so a read that is followed by
a write cannot lose a race; waiting for the lock is bounded; a new database appears whole, under its
final name; errors of SQLite leave this module as errors of the ledger.

    database = Database.open(folder / "ledger.db")
    with database.write() as session:
        session.connection().execute(insert(table("tag")), rows)
    database.close()
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote

from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from ledger import schema
from ledger.errors import (
    Busy,
    Conflict,
    IntegrityFailure,
    InvalidInput,
    LedgerError,
    NoLedger,
    SchemaTooOld,
)

BUSY_SECONDS: Final = 30.0
_FILE_URL: Final = "sqlite:///"


def _point(name: str) -> None:
    """A place where the process may die; tests replace it."""


class Database:
    """One ledger database. Make it with `create` or `open`; `close` when done."""

    def __init__(self, path: Path, busy_seconds: float = BUSY_SECONDS) -> None:
        self._path = path
        self._engine = _engine(path, busy_seconds)

    @classmethod
    def create(cls, place: str | Path, *, busy_seconds: float = BUSY_SECONDS) -> Self:
        """Make an empty database with the current schema at a path or `sqlite:///` URL.

        Raises: Conflict if a file is there already; LedgerError if it cannot be written.
        """
        path = _path_of(place)
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
        cls, place: str | Path, *, upgrade: bool = True, busy_seconds: float = BUSY_SECONDS
    ) -> Self:
        """Open a database; an older schema is copied aside and upgraded unless told otherwise.

        Raises: NoLedger, IntegrityFailure (damaged or not a ledger), SchemaTooNew, SchemaTooOld.
        """
        path = _path_of(place)
        if not path.is_file():
            raise NoLedger(f"there is no ledger database at {path}; initialise one first.")
        database = cls(path, busy_seconds)
        try:
            database._bring_up_to_date(allowed=upgrade)
        except BaseException:
            database.close()
            raise
        return database

    @property
    def path(self) -> Path:
        """The database file."""
        return self._path

    @property
    def engine(self) -> Engine:
        """The engine, for maintenance and tests."""
        return self._engine

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session on one consistent state; nothing it does is kept."""
        with _translated(self._path), self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            with Session(bind=connection) as session:
                yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that holds the write lock; kept if the block ends without an exception.

        Raises: Busy if another process keeps the lock; LedgerError if the disk refuses.
        """
        with _translated(self._path), self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            _point("write-begun")
            with Session(bind=connection) as session:
                yield session
                session.flush()
                _point("write-flushed")
                connection.commit()
        _point("write-committed")

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def _bring_up_to_date(self, *, allowed: bool) -> None:
        with _translated(self._path):
            with self._engine.connect() as connection:
                if schema.check(schema.revision(connection), self._path):
                    return
            if not allowed:
                raise SchemaTooOld(
                    f"{self._path} has an older schema; run the database upgrade first."
                )
            schema.backup(self._engine, self._path)
            schema.upgrade(self._engine)


def _path_of(place: str | Path) -> Path:
    """The file that `place` names. Raises: InvalidInput for a database server."""
    text = str(place)
    if "://" in text and not text.startswith(_FILE_URL):
        raise InvalidInput(
            f"{text.partition('://')[0]!r} databases are not supported; "
            "give a path or sqlite:///path."
        )
    return Path(text.removeprefix(_FILE_URL))


def _engine(path: Path, busy_seconds: float) -> Engine:
    """Connections in autocommit mode: every BEGIN is written out where it is meant."""
    # mode=rw: a file that vanished is an error, never a new empty database.
    uri = f"file:{quote(str(path.absolute()))}?mode=rw"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            uri, uri=True, timeout=busy_seconds, isolation_level=None, check_same_thread=False
        )
        try:
            _prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    return create_engine("sqlite:///ledger", creator=connect)


def _prepare(connection: sqlite3.Connection) -> None:
    mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != ("wal",):
        raise sqlite3.OperationalError(f"journal mode is {mode[0]}; WAL needs a local file system")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA trusted_schema=OFF")
    # Without this, INSERT OR REPLACE removes a row and no DELETE trigger sees it.
    connection.execute("PRAGMA recursive_triggers=ON")


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
    """Turn errors of SQLite into those of the ledger."""
    try:
        yield
    except DBAPIError as error:
        raise _translate(error.orig, path) from error
    except sqlite3.Error as error:
        raise _translate(error, path) from error


def _translate(error: BaseException | None, path: Path) -> LedgerError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Busy(f"{path} is locked by another process; nothing was recorded. Try again.")
    undecodable = "decode to UTF-8" in str(error)
    if undecodable or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return IntegrityFailure(f"{path} is damaged ({error}); restore a backup.")
    if code == sqlite3.SQLITE_FULL:
        return LedgerError(f"the disk of {path} is full; nothing was recorded. Make room, repeat.")
    if code == sqlite3.SQLITE_READONLY:
        return LedgerError(f"{path} cannot be written: it is read-only.")
    return LedgerError(f"the database {path} refused: {error}")
