"""P7 and P11 on a server: whatever is changed is found, and a migration is whole or absent."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, LiteralString, cast
from urllib.parse import urlsplit

import psycopg
import pytest
from alembic import command
from psycopg import sql
from psycopg.rows import dict_row
from sqlalchemy import event

from ledger import schema
from ledger.db import Database
from ledger.models import METADATA
from ledger.verify import verify_structure
from tests.sim.ledger_sample import Sample, full
from tests.sim.postgres_server import Server

TABLES = sorted(METADATA.tables)


@pytest.fixture(scope="module")
def team(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    """A ledger with two rows or more in every table, on the server."""
    sample = full(tmp_path_factory.mktemp("team"), server.new_database)
    yield sample
    sample.close()


@pytest.fixture
def forging(server: Server, team: Sample) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the owner that no trigger and no foreign key holds back."""
    place = server.url(urlsplit(team.database.place).path[1:])
    with psycopg.connect(place, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        yield connection
    assert verify_structure(team.journal, team.store) == []


def found(sample: Sample) -> set[str]:
    return {item.code for item in verify_structure(sample.journal, sample.store)}


def rows(forging: psycopg.Connection[Any], name: str) -> list[dict[str, Any]]:
    """The rows of a table in a fixed order; `ctid` is their place in its file."""
    statement = sql.SQL("SELECT *, ctid::text FROM {} ORDER BY 1, 2").format(sql.Identifier(name))
    return forging.cursor(row_factory=dict_row).execute(statement).fetchall()


def other(value: Any) -> Any:
    """A value of the same type that is not `value`."""
    if value is None or isinstance(value, str):
        return "1" + (value or "")[1:] if (value or "")[:1] != "1" else "0" + value[1:]
    return value + 1000


def nullable(name: str, column: str, value: Any) -> Any:
    """`other`, of the column's own type where the value does not tell it."""
    kind = METADATA.tables[name].c[column].type.python_type
    return other(kind(0) if value is None and kind is not str else value)


def put(forging: psycopg.Connection[Any], name: str, column: str, value: Any, place: str) -> str:
    """Alter one field; the new place of the row."""
    statement = sql.SQL("UPDATE {} SET {} = %s WHERE ctid = %s RETURNING ctid::text").format(
        sql.Identifier(name), sql.Identifier(column)
    )
    ((moved,),) = forging.execute(statement, (value, place)).fetchall()
    return str(moved)


@pytest.mark.promise("P7")
@pytest.mark.parametrize("name", TABLES)
def test_every_altered_column_and_every_removed_row_is_found(
    team: Sample, forging: psycopg.Connection[Any], name: str, figure: Callable[..., None]
):
    row = rows(forging, name)[-1]
    place = row.pop("ctid")
    for column, value in row.items():
        place = put(forging, name, column, nullable(name, column, value), place)
        codes = found(team)
        place = put(forging, name, column, value, place)
        wanted = {"rows.digest"} if name != "entry" else {"chain.hash", "chain.gap", "chain.link"}
        assert codes & wanted, column
    figure("P7", "PostgreSQL: {} columns, each altered once, found under the right code", len(row))
    removed = rows(forging, name)
    for row in removed:
        remove(forging, name, row)
        assert found(team), row
        add(forging, name, row)
    figure("P7", "PostgreSQL: {} rows, each removed once, found", len(removed))


@pytest.mark.promise("P7")
@pytest.mark.parametrize("name", [name for name in TABLES if name != "model"])
def test_neighbours_that_change_places_are_found(
    team: Sample, forging: psycopg.Connection[Any], name: str
):
    keys = [column.name for column in METADATA.tables[name].primary_key]
    first, second = rows(forging, name)[:2]
    swapped = [
        mine | {key: place[key] for key in keys}
        for mine, place in ((first, second), (second, first))
    ]
    for row in (first, second):
        remove(forging, name, row)
    for row in swapped:
        add(forging, name, row)
    codes = found(team)
    taken = [{key: place[key] for key in keys} for place in (first, second)]
    for row in rows(forging, name):
        if {key: row[key] for key in keys} in taken:
            remove(forging, name, row)
    for row in (first, second):
        add(forging, name, row)
    assert codes & {"rows.digest", "chain.hash"}


def remove(forging: psycopg.Connection[Any], name: str, row: dict[str, Any]) -> None:
    """Take the row at a place out."""
    statement = sql.SQL("DELETE FROM {} WHERE ctid = %s").format(sql.Identifier(name))
    forging.execute(statement, (row["ctid"],))


def add(forging: psycopg.Connection[Any], name: str, row: dict[str, Any]) -> None:
    """Put a row in, wherever its place will be."""
    values = {column: value for column, value in row.items() if column != "ctid"}
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(name),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join([sql.Placeholder()] * len(values)),
    )
    forging.execute(statement, list(values.values()))


# --- migrations -----------------------------------------------------------------------------------

SHAPE = (
    "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns"
    " WHERE table_schema = 'public' ORDER BY 1, 2",
    "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint ORDER BY 1, 2",
    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
    "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1",
)


def shape(server: Server, name: str) -> list[Any]:
    """Everything that a schema consists of, and every row."""
    with psycopg.connect(server.url(name), autocommit=True) as connection:
        found = [connection.execute(cast(LiteralString, text)).fetchall() for text in SHAPE]
        tables = [row[0] for row in found[0]]
        for table in sorted({*tables}):
            select = sql.SQL("SELECT * FROM {}").format(sql.Identifier(table))
            found.append(sorted(connection.execute(select).fetchall(), key=repr))
    return found


@pytest.mark.promise("P11")
@pytest.mark.parametrize(
    "start",
    [
        *(pytest.param(start, marks=pytest.mark.slow) for start in (None, *schema.REVISIONS[:-2])),
        schema.REVISIONS[-2],
    ],
)
def test_a_migration_that_fails_at_any_statement_leaves_all_as_it_was(
    server: Server, team: Sample, start: str | None, figure: Callable[..., None]
):
    """From nothing, and from each earlier schema with rows in every table."""
    like = "template1" if start is None else urlsplit(team.database.place).path[1:]
    team.database.close()
    url = server.new_database(like)
    database = Database.reachable(url)
    if start is not None:
        with database.engine.connect() as connection, connection.begin():
            config = schema._config()
            config.attributes["connection"] = connection
            command.downgrade(config, start)
    name = urlsplit(url).path[1:]
    before, statements = shape(server, name), 0
    while True:
        statements += 1
        ran = list[str]()
        with contextlib.suppress(Injected), failing_at(database.engine, statements, ran):
            database.upgrade()
            break
        assert shape(server, name) == before, ran[-1]
    assert shape(server, name) != before
    database.close()
    text = "PostgreSQL: {} statements of migrations failed, schema and rows as before"
    figure("P11", text, statements - 1)


class Injected(Exception):
    """What is injected."""


@contextlib.contextmanager
def failing_at(engine: Any, number: int, ran: list[str]) -> Iterator[None]:
    """The `number`-th statement of the block raises."""

    def fail(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        ran.append(statement)
        if len(ran) == number:
            raise Injected

    event.listen(engine, "before_cursor_execute", fail)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", fail)
