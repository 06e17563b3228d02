"""P11: a ledger of each released schema, as the program of its time left it, keeps every row."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, MetaData, column, insert, select, table

from ledger import moving, schema
from ledger.access.tables import OPERATIONAL
from ledger.db import Database
from ledger.models import METADATA
from ledger.verify import verify_database
from tests.sim.ledger_sample import Sample
from tests.sim.postgres_server import Server

SCHEMAS = Path(__file__).parents[1] / "reference" / "schemas"
OLDER = schema.REVISIONS[:-1]

Content = dict[str, list[dict[str, Any]]]

pytestmark = pytest.mark.promise("P11")


@pytest.fixture(params=OLDER)
def revision(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def older(revision: str, tmp_path: Path) -> Path:
    """The file of a ledger that was written with an earlier schema."""
    path = tmp_path / "ledger.db"
    connection = sqlite3.connect(path)
    connection.executescript((SCHEMAS / f"{revision}.sql").read_text("utf-8"))
    connection.close()
    return path


def content(engine: Engine) -> Content:
    """Every row of every table, in the order of its keys."""
    with engine.connect() as connection:
        found = MetaData()
        found.reflect(connection)
        rows = {
            item.name: connection.execute(select(item).order_by(*item.primary_key)).mappings()
            for item in found.sorted_tables
        }
        return {name: [dict(row) for row in rows[name]] for name in rows if "alembic" not in name}


def content_of(database: Database) -> Content:
    found = content(database.engine)
    database.close()
    return found


def kept(before: Content, after: Content) -> None:
    """Every row is there with what it held, none came in addition, and new columns are empty."""
    for name, rows in before.items():
        assert len(after[name]) == len(rows), name
        for old, new in zip(rows, after[name], strict=True):
            assert {key: new[key] for key in old} == old
            assert {value for key, value in new.items() if key not in old} <= {None}
    assert not any(rows for name, rows in after.items() if name not in before)


def shape(path: Path) -> set[tuple[str, ...]]:
    connection = sqlite3.connect(path)
    rows = set(connection.execute("SELECT type, name, sql FROM sqlite_master"))
    connection.close()
    return rows


def test_each_schema_that_this_program_upgrades_has_its_ledger():
    assert tuple(sorted(path.stem for path in SCHEMAS.glob("*.sql"))) == OLDER


def test_a_file_of_a_released_schema_is_upgraded_row_for_row_and_verifies(
    older: Path, revision: str, tmp_path: Path, figure
):
    before, head = content_of(Database(older)), moving.look(older)
    assert head.schema == revision
    assert all(before.values())
    assert set(METADATA.tables) <= set(before)
    assert revision < "0004" or set(OPERATIONAL.tables) <= set(before)
    upgraded = Database.open(older)
    kept(before, content_of(upgraded))
    assert verify_database(upgraded) == []
    upgraded.close()
    now = moving.look(older)
    assert (now.schema, now.entries, now.head) == (schema.CURRENT, head.entries, head.head)
    Database.create(tmp_path / "new.db").close()
    assert shape(older) == shape(tmp_path / "new.db")
    assert content_of(Database(older.with_name(f"{older.name}.before-{schema.CURRENT}-000"))) == (
        before
    )
    goes_on(tmp_path)
    figure("P11", "SQLite: ledgers written with {} earlier schemas upgraded row for row", 1)


# The fast tier has the last one on a server; from each of them a file is upgraded there.
@pytest.mark.parametrize(
    "revision",
    [*(pytest.param(name, marks=pytest.mark.slow) for name in OLDER[:-1]), OLDER[-1]],
    indirect=True,
)
def test_a_server_with_a_released_schema_is_upgraded_row_for_row_and_verifies(
    older: Path, revision: str, server: Server, tmp_path: Path, figure
):
    before, url = content_of(Database(older)), server.new_database()
    made = Database.reachable(url)
    with made.engine.connect() as connection, connection.begin():
        schema.migrate(connection, revision)
        filled(connection, before)
    assert content_of(made) == before
    assert moving.upgrade(url).schema == schema.CURRENT
    upgraded = Database.open(url)
    kept(before, content_of(upgraded))
    assert verify_database(upgraded) == []
    upgraded.close()
    older.unlink()
    moving.attach(tmp_path, url)
    goes_on(tmp_path)
    figure("P11", "PostgreSQL: ledgers written with {} earlier schemas upgraded row for row", 1)


def filled(connection: Connection, rows: Content) -> None:
    """Insert the rows; tables come in the order of their foreign keys."""
    for name, some in rows.items():
        connection.execute(insert(table(name, *map(column, some[0]))), some)


def goes_on(folder: Path) -> None:
    """What could be done with it before can be done: an edit, and taking an older one out."""
    sample = Sample.open(folder)
    sample.apply("Quito")
    sample.change("revert", 1)
    assert sample.journal.history().active() == (2, 3, 5)
    assert verify_database(sample.database) == []
    sample.close()
