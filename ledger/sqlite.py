"""SQLite by the standard library alone: a connection as the ledger wants it, and asking on one.

Promise: what is asked within one snapshot is answered from one state; asking changes nothing;
errors of SQLite become errors of the ledger.

Rules: SQLAlchemy is not imported here, because reading commands must start at once; a statement is
a literal with named parameters, never text made from input.

    snapshots = Snapshots(path, busy_seconds=30.0)
    with translated(path), snapshots.taken() as snapshot:
        snapshot.query("SELECT subject FROM edit WHERE id = :id", id=3)    # [{'subject': 'Rome'}]
    snapshots.close()
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, LiteralString, Protocol
from urllib.parse import quote

from ledger.errors import Busy, IntegrityFailure, LedgerError
from ledger.guards import guards

Value = str | int | float | None
Row = dict[str, Any]

_ADVICE: Final = MappingProxyType(
    {
        sqlite3.SQLITE_IOERR: "nothing was recorded: check the disk and its messages, then run "
        "`kel verify`",
        sqlite3.SQLITE_CANTOPEN: "check that the file and its folder can be read and written",
        sqlite3.SQLITE_PERM: "check that the file and its folder can be read and written",
    }
)


class Reading(Protocol):
    """One consistent state of the ledger that can be asked."""

    def query(self, sql: LiteralString, /, **parameters: Value) -> list[Row]:
        """The rows of a literal statement; `:name` in it is the parameter of that name."""
        ...


class Inspected(Reading, Protocol):
    """A state that can be asked about the database itself, too."""

    def guards(self, tables: Iterable[str]) -> Mapping[str, str]:
        """The triggers that these tables should have: name -> text."""
        ...

    def stream(self, sql: LiteralString, /, **parameters: Value) -> Iterator[Row]:
        """The same, read little by little."""
        ...

    def tables(self) -> set[str]:
        """Names of the tables."""
        ...

    def triggers(self) -> Mapping[str, str]:
        """The triggers that are there and switched on: name -> text."""
        ...

    def damage(self) -> Iterator[str]:
        """What the database says is wrong with itself."""
        ...

    def dangling(self) -> Iterator[tuple[str, str]]:
        """Rows that refer to nothing: the row, and the table it refers to."""
        ...


@dataclass(frozen=True)
class Snapshot:
    """One state, on a connection of the standard library."""

    connection: sqlite3.Connection

    def guards(self, tables: Iterable[str]) -> Mapping[str, str]:
        """Three triggers a table: INSERT OR REPLACE removes a row without a DELETE."""
        return guards(tables)

    def query(self, sql: LiteralString, /, **parameters: Value) -> list[Row]:
        """All rows of the answer, column -> value."""
        return list(self.stream(sql, **parameters))

    def stream(self, sql: LiteralString, /, **parameters: Value) -> Iterator[Row]:
        """The same, read little by little."""
        cursor = self.connection.execute(sql, parameters)
        names = [column[0] for column in cursor.description]
        for row in cursor:
            yield dict(zip(names, row, strict=True))

    def tables(self) -> set[str]:
        """Names of the tables."""
        found = self.stream("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {row["name"] for row in found}

    def triggers(self) -> Mapping[str, str]:
        """Name -> text of the triggers; SQLite knows no way to switch one off."""
        found = self.stream("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        return {row["name"]: row["sql"] for row in found}

    def damage(self) -> Iterator[str]:
        """What SQLite's own check finds; it stops at the first ten faults."""
        for row in self.stream("PRAGMA integrity_check(10)"):
            if row["integrity_check"] != "ok":
                yield f"SQLite reports: {row['integrity_check']}. Restore a backup."

    def dangling(self) -> Iterator[tuple[str, str]]:
        """Rows that refer to nothing: SQLite lets them be while foreign keys are off."""
        for row in self.stream("PRAGMA foreign_key_check"):
            yield f"{row['table']} {row['rowid']}", row["parent"]


class Snapshots:
    """Takes snapshots of one database; keeps their connections for the next ones."""

    def __init__(self, path: Path, busy_seconds: float) -> None:
        self._path, self._busy_seconds = path, busy_seconds
        self._idle: list[sqlite3.Connection] = []

    @contextmanager
    def taken(self) -> Iterator[Snapshot]:
        """The state of now, until the block ends."""
        connection = self._connection()
        try:
            connection.execute("BEGIN")
            yield Snapshot(connection)
        finally:
            self._give_back(connection)

    def close(self) -> None:
        """Close what waits; a later snapshot connects again."""
        while self._idle:
            self._idle.pop().close()

    def _connection(self) -> sqlite3.Connection:
        try:
            return self._idle.pop()
        except IndexError:
            connection = connect(self._path, self._busy_seconds)
        # Not mode=ro: such a connection cannot clear the write-ahead log away when it is the last.
        connection.execute("PRAGMA query_only=ON")
        return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        try:
            connection.rollback()
        except sqlite3.Error:
            connection.close()
        else:
            self._idle.append(connection)


def connect(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """A connection to an existing file in autocommit mode: every BEGIN stands where it is meant.

    Raises: sqlite3.Error.
    """
    # mode=rw: a file that vanished is an error, never a new empty database.
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode=rw",
        uri=True,
        timeout=busy_seconds,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        _prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != ("wal",):
        raise sqlite3.OperationalError(f"journal mode is {mode[0]}; WAL needs a local file system")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA trusted_schema=OFF")
    # Without this, INSERT OR REPLACE removes a row and no DELETE trigger sees it.
    connection.execute("PRAGMA recursive_triggers=ON")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn errors of SQLite into those of the ledger."""
    try:
        yield
    except sqlite3.Error as error:
        raise translation(error, path) from error


def translation(error: BaseException | None, path: Path) -> LedgerError:
    """The ledger's error for one of SQLite; it never carries the text of a fact."""
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
    advice = _ADVICE.get(code, "run `kel verify`, and repeat with --debug if it finds nothing")
    return LedgerError(f"the database {path} refused ({error}); {advice}.")
