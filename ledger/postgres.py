"""A ledger's database on a PostgreSQL server (extra `postgres`), with the promises of `ledger.db`.

Promise: the same tables, rows, hashes and errors as in a file; writers come one after the other,
readers see one state and never wait for a writer.

Rules: one ledger is one schema, the first of the connection's search path; a writer holds the
schema's advisory lock from its first statement on, so what it reads is the newest state; a
statement is the same literal as for SQLite, its parameters bound by the driver; the address that is
shown or stored never holds a password.

    database = Database.open("postgresql://kel@db.example/facts")
    with database.read() as snapshot:
        snapshot.query("SELECT subject FROM edit WHERE id = :id", id=3)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, LiteralString, Self

from ledger import schema
from ledger.address import public
from ledger.db import BUSY_SECONDS, Database, Writing, _point
from ledger.errors import (
    Busy,
    Conflict,
    IntegrityFailure,
    InvalidInput,
    LedgerError,
    NoLedger,
    SchemaTooOld,
)
from ledger.guards import server_guards
from ledger.sqlite import Row, Value

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy import Engine

_PARAMETER: Final = re.compile(r"(?<![:\w]):([a-z_]+)")
# A list of keys is one parameter, a JSON array; SQLite and PostgreSQL unfold it differently.
_LISTED: Final = ("json_each(:keys)", "jsonb_array_elements_text(CAST(:keys AS jsonb)) AS t(value)")
_BUSY: Final = frozenset({"55P03", "40001", "40P01"})
_REFUSED: Final = frozenset({"25006", "42501"})
_DAMAGED: Final = frozenset({"XX001", "XX002"})
_FULL: Final = frozenset({"53100"})


@dataclass(frozen=True)
class PostgresSnapshot:
    """One state, on a connection of psycopg."""

    connection: psycopg.Connection[Any]

    def guards(self, tables: Iterable[str]) -> Mapping[str, str]:
        """Three triggers a table: TRUNCATE empties it without a DELETE."""
        return server_guards(tables)

    def query(self, sql: LiteralString, /, **parameters: Value) -> list[Row]:
        """All rows of the answer, column -> value."""
        return list(self.stream(sql, **parameters))

    def stream(self, sql: LiteralString, /, **parameters: Value) -> Iterator[Row]:
        """The same, row by row."""
        yield from _rows(self.connection, _translated_statement(sql), parameters)

    def tables(self) -> set[str]:
        """Names of the tables of the ledger's schema."""
        found = self.query("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        return {row["tablename"] for row in found}

    def triggers(self) -> Mapping[str, str]:
        """Name -> text and function of the triggers on the ledger's tables that are switched on."""
        found = self.query(
            "SELECT tgname, replace(pg_get_triggerdef(pg_trigger.oid, true), '\"', '') AS text,"
            " prosrc FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
            " JOIN pg_proc ON pg_proc.oid = tgfoid"
            " WHERE NOT tgisinternal AND tgenabled IN ('O', 'A')"
            " AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())"
        )
        return {row["tgname"]: row["text"] + row["prosrc"] for row in found}

    def damage(self) -> Iterator[str]:
        """Nothing: the server checks its own pages when it reads them."""
        yield from ()

    def dangling(self) -> Iterator[tuple[str, str]]:
        """Nothing: the server keeps foreign keys, and hashes tell what a superuser removes."""
        yield from ()


@dataclass(frozen=True)
class _Writing(Writing):
    def query(self, sql: LiteralString, /, **parameters: Value) -> list[Row]:
        driver = self.connection.connection.driver_connection
        return list(_rows(driver, _translated_statement(sql), parameters))


class PostgresDatabase(Database):
    """One ledger on a server. Make it with `Database.create` or `Database.open`."""

    def __init__(self, url: str, busy_seconds: float = BUSY_SECONDS) -> None:
        self._url, self._busy_seconds = url, busy_seconds
        self._idle: list[psycopg.Connection[Any]] = []

    @classmethod
    def made(cls, url: str, *, busy_seconds: float = BUSY_SECONDS) -> Self:
        """Make the tables in the schema of this address; what is empty is taken as it is.

        Raises: Conflict if it holds a history already; LedgerError if the server refuses.
        """
        database = cls(url, busy_seconds)
        try:
            with database._translated():
                database._build()
        except BaseException:
            database.close()
            raise
        return database

    @property
    def place(self) -> str:
        """The address, without a password."""
        return public(self._url)

    @cached_property
    def engine(self) -> Engine:
        """The engine of all writing; for maintenance and tests too."""
        from sqlalchemy import create_engine

        return create_engine("postgresql+psycopg://", creator=self._connect, pool_pre_ping=True)

    @contextmanager
    def read(self) -> Iterator[PostgresSnapshot]:
        """One consistent state to ask; nothing can be changed through it."""
        with self._translated():
            connection = self._asking()
            try:
                yield PostgresSnapshot(connection)
            finally:
                self._give_back(connection)

    @contextmanager
    def write(self) -> Iterator[Writing]:
        """The write lock; what is added is kept if the block ends without an exception.

        Raises: Busy if another writer keeps the lock; LedgerError if the server refuses.
        """
        with self._translated(), self.engine.connect() as connection:
            self._lock(connection)
            _point("write-begun")
            yield _Writing(connection)
            _point("write-flushed")
            connection.commit()
        _point("write-committed")

    def close(self) -> None:
        """Close every connection."""
        while self._idle:
            self._idle.pop().close()
        if "engine" in self.__dict__:
            self.engine.dispose()

    def upgrade(self) -> None:
        """Run the pending migrations, as one transaction."""
        with self._translated(), self.engine.connect() as connection:
            self._lock(connection)
            schema.migrate(connection)
            connection.commit()

    def _build(self) -> None:
        with self.read() as snapshot:
            found = schema.revision(snapshot)
            others = snapshot.tables()
            used = found is not None and snapshot.query("SELECT seq FROM entry LIMIT 1")
        if used:
            raise Conflict(f"{self.place} holds a ledger already; give another schema or database.")
        if found is None and others:
            raise Conflict(
                f"{self.place} holds other tables ({min(others)}); a ledger wants a schema of its "
                "own: add ?options=-csearch_path%3DNAME to the address."
            )
        self.upgrade()

    def _bring_up_to_date(self, *, allowed: bool | None) -> None:
        """An older schema is upgraded only when told so: other machines use it, too."""
        with self.read() as snapshot:
            found = schema.revision(snapshot)
            if found is None:
                raise NoLedger(f"there is no ledger at {self.place}; initialise one first.")
            if schema.check(found, self.place):
                return
        if not allowed:
            raise SchemaTooOld(
                f"{self.place} has an older schema; run `kel db upgrade` when nobody writes."
            )
        self.upgrade()

    def _lock(self, connection: Any) -> None:
        """Begin, and become the only writer of this schema; both end with the transaction."""
        milliseconds = max(1, round(self._busy_seconds * 1000))
        driver = connection.connection.driver_connection
        connection.begin()
        driver.execute("BEGIN")
        driver.execute("SELECT set_config('lock_timeout', %s, true)", (str(milliseconds),))
        driver.execute("SELECT pg_advisory_xact_lock(hashtextextended(current_schema(), 0))")

    def _connect(self) -> psycopg.Connection[Any]:
        """In autocommit mode: every BEGIN stands where it is meant."""
        driver = _driver()
        connection: psycopg.Connection[Any] = driver.connect(
            self._url, autocommit=True, cursor_factory=driver.ClientCursor
        )
        return connection

    def _asking(self) -> psycopg.Connection[Any]:
        """A connection that sees one state; those that the server has cut off are let go."""
        while self._idle:
            connection = self._idle.pop()
            try:
                return _begun(connection)
            except _driver().OperationalError:
                connection.close()
        return _begun(self._connect())

    def _give_back(self, connection: psycopg.Connection[Any]) -> None:
        try:
            connection.execute("ROLLBACK")
        except _driver().Error:
            connection.close()
        else:
            self._idle.append(connection)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn errors of the driver into those of the ledger, also wrapped by SQLAlchemy."""
        from sqlalchemy.exc import DBAPIError

        try:
            yield
        except DBAPIError as error:
            raise _translation(error.orig, self.place) from error
        except _driver().Error as error:
            raise _translation(error, self.place) from error


def _begun(connection: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    return connection


def _driver() -> Any:
    try:
        import psycopg
    except ImportError as error:
        raise InvalidInput(
            "a ledger on PostgreSQL needs the driver: pip install 'knowledge-edit-ledger[postgres]'"
        ) from error
    return psycopg


def _translated_statement(sql: str) -> str:
    """The statement with psycopg's names for parameters."""
    return _PARAMETER.sub(r"%(\1)s", sql.replace(*_LISTED).replace("%", "%%"))


def _rows(connection: Any, sql: LiteralString, parameters: dict[str, Value]) -> Iterator[Row]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        names = _names(cursor.description or ())
        for row in cursor:
            yield dict(zip(names, row, strict=True))


def _names(description: Sequence[Any]) -> list[str]:
    return [column.name for column in description]


def _translation(error: BaseException | None, place: str) -> LedgerError:
    """The ledger's error for one of the server; it never carries the text of a fact."""
    state = getattr(error, "sqlstate", None) or ""
    if state in _BUSY:
        return Busy(f"{place} is locked by another writer; nothing was recorded. Try again.")
    if state in _FULL:
        return LedgerError(f"the disk of {place} is full; nothing was recorded. Make room, repeat.")
    if state in _REFUSED:
        return LedgerError(f"{place} cannot be written: this role may not, or it is read-only.")
    if state in _DAMAGED:
        return IntegrityFailure(f"{place} is damaged ({state}); restore a backup.")
    first = str(getattr(getattr(error, "diag", None), "message_primary", None) or error)
    line = (first.splitlines() or ["no reason given"])[0]
    if not state:
        return LedgerError(f"cannot reach {place}: {line}. Start the server or mend the address.")
    return LedgerError(f"the database {place} refused: {line}")
