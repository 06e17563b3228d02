"""Migrations are whole or absent, keep every row, and build what the models say."""

import os
import shutil
import sqlite3

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import event

from ledger import db, schema
from ledger.db import Database
from ledger.errors import IntegrityFailure, SchemaTooOld, exit_code_of
from ledger.models import METADATA
from tests.sim.ledger_sample import full, select_all

pytestmark = pytest.mark.promise("P11")


def schema_of(path):
    connection = sqlite3.connect(path)
    query = "SELECT type, name, sql FROM sqlite_master ORDER BY type, name"
    rows = connection.execute(query).fetchall()
    connection.close()
    return rows


def rows_of(path):
    """What every row holds, by table; a column that a schema has not is as an empty one."""
    connection = sqlite3.connect(path)
    rows = {
        name: [
            {column: value for column, value in row.items() if value is not None}
            for row in select_all(connection, name)
        ]
        for name in METADATA.tables
    }
    connection.close()
    return rows


def migrate(path, action, target):
    """Run an alembic command in one transaction, as `schema.upgrade` does."""
    engine = db._engine(path, 1.0)
    config = schema._config()
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        config.attributes["connection"] = connection
        action(config, target)
        connection.commit()
    engine.dispose()


@pytest.fixture
def empty(tmp_path):
    path = tmp_path / "empty.db"
    path.touch()
    return path


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guarded")
    full(folder).close()
    return folder / "ledger.db"


@pytest.fixture
def filled(guarded, tmp_path):
    return shutil.copy(guarded, tmp_path / "ledger.db")


@pytest.fixture
def old(filled):
    """A ledger with rows in every table, as a program of the first schema left it."""
    migrate(filled, command.downgrade, "0001")
    return filled


def test_there_is_one_head_and_the_program_knows_every_revision_in_order():
    script = ScriptDirectory.from_config(schema._config())
    assert script.get_heads() == [schema.CURRENT]
    assert [step.revision for step in script.walk_revisions()][::-1] == list(schema.REVISIONS)


def test_the_migrations_build_the_models(empty):
    engine = db._engine(empty, 1.0)
    schema.upgrade(engine)
    config = schema._config()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.check(config)
    engine.dispose()


def test_the_check_against_the_models_can_fail(empty):
    engine = db._engine(empty, 1.0)
    schema.upgrade(engine)
    config = schema._config()
    with engine.connect() as connection:
        connection.exec_driver_sql("DROP INDEX ix_edit_hash")
        config.attributes["connection"] = connection
        with pytest.raises(Exception, match="ix_edit_hash"):
            command.check(config)
    engine.dispose()


def test_every_constraint_has_a_name_and_none_cascades():
    for table in METADATA.tables.values():
        assert all(constraint.name for constraint in table.constraints)
        assert {key.ondelete for key in table.foreign_keys} <= {"RESTRICT"}


@pytest.mark.parametrize("revision", schema.REVISIONS[:-1])
def test_rows_survive_down_and_up_again(filled, revision, figure):
    before, shape = rows_of(filled), schema_of(filled)
    assert all(before.values())
    migrate(filled, command.downgrade, revision)
    assert schema_of(filled) != shape
    migrate(filled, command.upgrade, "head")
    assert (rows_of(filled), schema_of(filled)) == (before, shape)
    figure("P11", "SQLite: from each of {} earlier schemas, equal row for row", 1)


def test_down_to_nothing_and_up_again_gives_the_same_schema(filled):
    shape = schema_of(filled)
    migrate(filled, command.downgrade, "base")
    assert {name for kind, name, _ in schema_of(filled) if kind == "table"} == {"alembic_version"}
    migrate(filled, command.upgrade, "head")
    assert sorted(schema_of(filled)) == sorted(shape)


def test_an_older_schema_is_copied_aside_and_upgraded_when_opened(old):
    rows, shape = rows_of(old), schema_of(old)
    Database.open(old).close()
    assert rows_of(old) == rows
    assert sum(kind == "trigger" for kind, _, _ in schema_of(old)) == 3 * len(METADATA.tables)
    copy = old.with_name(f"ledger.db.before-{schema.CURRENT}-000")
    assert (rows_of(copy), schema_of(copy)) == (rows, shape)
    assert copy.stat().st_mode & 0o077 == 0


def test_a_second_copy_does_not_replace_the_first(old):
    first = old.with_name(f"ledger.db.before-{schema.CURRENT}-000")
    first.write_text("precious")
    Database.open(old).close()
    assert first.read_text() == "precious"
    assert old.with_name(f"ledger.db.before-{schema.CURRENT}-001").stat().st_size > 0


def test_an_older_schema_is_refused_where_no_upgrade_is_wanted(old):
    shape, names = schema_of(old), os.listdir(old.parent)
    with pytest.raises(SchemaTooOld) as caught:
        Database.open(old, upgrade=False)
    assert exit_code_of(caught.value) == 7
    assert (schema_of(old), sorted(os.listdir(old.parent))) == (shape, sorted(names))


def fail_at(engine, number, error):
    """Let the `number`-th statement from now on raise; returns the list of those that ran."""
    ran = []

    @event.listens_for(engine, "before_cursor_execute")
    def fail(_connection, _cursor, statement, *_):
        ran.append(statement)
        if len(ran) == number:
            raise error

    return ran


@pytest.mark.parametrize(
    "start",
    [
        *("empty", schema.REVISIONS[0], schema.REVISIONS[-2]),
        *(pytest.param(start, marks=pytest.mark.slow) for start in schema.REVISIONS[1:-2]),
    ],
)
def test_a_migration_that_fails_at_any_statement_leaves_the_schema_as_it_was(
    start, request, figure
):
    path = request.getfixturevalue("empty" if start == "empty" else "filled")
    if start != "empty":
        migrate(path, command.downgrade, start)
    before, number, succeeded = schema_of(path), 0, False
    while not succeeded:
        number += 1
        engine = db._engine(path, 1.0)
        ran = fail_at(engine, number, OSError("injected"))
        try:
            schema.upgrade(engine)
            succeeded = True
        except OSError:
            assert schema_of(path) == before, ran[-1]
        engine.dispose()
    assert number > 3 * len(METADATA.tables) or start not in ("empty", "0001")
    assert schema_of(path) != before
    figure("P11", "SQLite: {} statements of migrations failed, the schema as before", number - 1)


def test_an_upgrade_that_would_leave_rows_pointing_nowhere_is_undone(old):
    connection = sqlite3.connect(old, isolation_level=None)
    connection.execute("DELETE FROM batch")
    connection.close()
    shape = schema_of(old)
    with pytest.raises(IntegrityFailure, match="point nowhere"):
        Database.open(old)
    assert schema_of(old) == shape


def test_of_two_programs_that_upgrade_at_once_both_succeed(old, monkeypatch):
    def other(name):
        if name == "backup-written":
            monkeypatch.undo()
            Database.open(old).close()

    monkeypatch.setattr(schema, "_point", other)
    database = Database.open(old)
    with database.read() as snapshot:
        assert schema.revision(snapshot) == schema.CURRENT
    database.close()


@pytest.mark.parametrize("name", sorted(METADATA.tables))
def test_the_triggers_refuse_to_change_remove_or_replace_a_row(guarded, tmp_path, name):
    shutil.copy(guarded, tmp_path / "ledger.db")
    connection = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    before = select_all(connection, name)
    columns = [column.name for column in METADATA.tables[name].columns]
    marks = ", ".join("?" * len(columns))
    values = [before[0][column] for column in columns]
    for statement, parameters in (
        (f'UPDATE "{name}" SET "{columns[-1]}" = "{columns[-1]}"', ()),
        (f'DELETE FROM "{name}"', ()),
        (f'INSERT OR REPLACE INTO "{name}" VALUES ({marks})', values),
        (f'REPLACE INTO "{name}" VALUES ({marks})', values),
    ):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement, parameters)
    assert select_all(connection, name) == before
    connection.close()


def test_foreign_keys_are_on_again_for_every_connection_after_an_upgrade(old):
    database = Database.open(old)
    for way in (database.read, database.write):
        with way() as opened:
            assert opened.query("PRAGMA foreign_keys") == [{"foreign_keys": 1}]
    database.close()
