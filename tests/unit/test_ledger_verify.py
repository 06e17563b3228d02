"""Whatever is changed, removed, added or moved in a ledger or its store is found."""

import os
import shutil
import sqlite3

import pytest

from ledger import chain
from ledger.models import METADATA
from ledger.verify import ROW_TABLES
from tests.sim.ledger_sample import Sample, error_codes, findings, forged, full, select_all

pytestmark = pytest.mark.promise("P7")

TABLES = sorted(METADATA.tables)
COLUMNS = [(name, column.name) for name in TABLES for column in METADATA.tables[name].columns]
OF_ENTRY = {"seq": "chain.gap", "prev_hash": "chain.link"}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A closed ledger with rows in every table."""
    folder = tmp_path_factory.mktemp("original")
    full(folder).close()
    return folder


@pytest.fixture
def copy(original, tmp_path):
    """Its copy, with everything that guards it removed: (folder, connection)."""
    shutil.copytree(original / "objects", tmp_path / "objects", copy_function=shutil.copyfile)
    connection = forged(original / "ledger.db", tmp_path / "ledger.db")
    yield tmp_path, connection
    connection.close()


def other(value):
    """A value of the same type that is not `value`."""
    if value is None:
        return "1"
    if isinstance(value, str):
        flipped = {"0": "1", "1": "0"}.get(value[:1], "0")
        return flipped + value[1:]
    return value + 1000


def key_columns(name):
    return [column.name for column in METADATA.tables[name].primary_key]


def put(connection, name, rowid, column, value):
    connection.execute(f'UPDATE "{name}" SET "{column}" = ? WHERE rowid = ?', (value, rowid))


def insert_row(connection, name, row):
    columns = [column for column in row if column != "rowid"]
    marks = ", ".join("?" * len(columns))
    names = ", ".join(f'"{column}"' for column in columns)
    values = [row[column] for column in columns]
    connection.execute(f'INSERT INTO "{name}" ({names}) VALUES ({marks})', values)


def test_an_intact_ledger_has_no_findings(original):
    assert findings(original) == []


def test_every_table_is_verified():
    assert sorted((*ROW_TABLES, "entry")) == TABLES


def test_the_sample_has_two_rows_in_each_table(copy):
    _, connection = copy
    assert {n: len(select_all(connection, n)) > 1 for n in TABLES} == {
        name: name != "model" for name in TABLES
    }


def test_missing_triggers_are_a_warning(copy):
    folder, _ = copy
    found = findings(folder)
    assert {(item.severity, item.code) for item in found} == {("warning", "trigger.missing")}
    assert len(found) == 3 * len(TABLES)


def test_a_trigger_that_says_something_else_or_that_nobody_made_is_a_warning(original, tmp_path):
    shutil.copytree(original, tmp_path / "guarded")
    connection = sqlite3.connect(tmp_path / "guarded" / "ledger.db")
    connection.execute("DROP TRIGGER tag_no_update")
    connection.execute("CREATE TRIGGER tag_no_update BEFORE UPDATE ON tag BEGIN SELECT 1; END")
    connection.execute(
        "CREATE TRIGGER more AFTER INSERT ON tag BEGIN DELETE FROM tag WHERE id = 1; END"
    )
    connection.close()
    found = {(item.severity, item.code, item.subject) for item in findings(tmp_path / "guarded")}
    assert found == {
        ("warning", "trigger.altered", "tag_no_update"),
        ("warning", "trigger.unknown", "more"),
    }


@pytest.mark.parametrize(("name", "column"), COLUMNS)
def test_a_changed_column_is_found(copy, name, column, figure):
    folder, connection = copy
    row = select_all(connection, name)[-1]
    put(connection, name, row["rowid"], column, other(row[column]))
    expected = "rows.digest" if name != "entry" else OF_ENTRY.get(column, "chain.hash")
    assert expected in error_codes(folder)
    figure("P7", "SQLite: {} columns, each altered once, found under the right code", 1)


@pytest.mark.parametrize(("name", "column"), COLUMNS)
def test_a_column_of_another_type_is_found(copy, name, column):
    folder, connection = copy
    row = select_all(connection, name)[0]
    if METADATA.tables[name].c[column].type.python_type is not str:
        value = "many"
        if column in ("seq", "id") and name != "base_tensor":
            value = row[column] + 10**6  # a rowid can only be a number
    else:
        value = b"\xff\x00"
    put(connection, name, row["rowid"], column, value)
    assert error_codes(folder) & {"rows.digest", "rows.homeless", "chain.hash"}


def test_text_that_is_not_unicode_is_found(copy):
    folder, connection = copy
    connection.execute("UPDATE edit SET subject = CAST(x'ff41' AS TEXT) WHERE id = 1")
    assert error_codes(folder) == {"database"}


@pytest.mark.parametrize(
    ("name", "column"), [("edit", "probes"), ("batch", "hparams"), ("entry", "tensors")]
)
def test_the_same_json_written_differently_is_found(copy, name, column):
    folder, connection = copy
    put(connection, name, 2, column, select_all(connection, name)[1][column] + " ")
    assert error_codes(folder) & {"rows.digest", "chain.hash"}


@pytest.mark.parametrize("name", TABLES)
def test_a_removed_row_is_found_whichever_it_is(original, tmp_path, name, figure):
    path = tmp_path / "ledger.db"
    shutil.copytree(original / "objects", tmp_path / "objects", copy_function=shutil.copyfile)
    connection = forged(original / "ledger.db", path)
    rows = select_all(connection, name)
    connection.close()
    for row in rows:
        connection = forged(original / "ledger.db", path)
        connection.execute(f'DELETE FROM "{name}" WHERE rowid = ?', (row["rowid"],))
        connection.close()
        assert error_codes(tmp_path), row
    figure("P7", "SQLite: {} rows, each removed once, found", len(rows))


@pytest.mark.parametrize("name", TABLES)
def test_an_added_row_is_found(copy, name):
    folder, connection = copy
    row = select_all(connection, name)[-1]
    for column in key_columns(name):
        row[column] = other(row[column])
    for column in ("hash", "prev_hash"):
        if column in row:
            row[column] = other(row[column])
    insert_row(connection, name, row)
    assert error_codes(folder) & {"rows.digest", "chain.gap"}


@pytest.mark.parametrize("name", [name for name in TABLES if name != "model"])
def test_neighbours_that_change_places_are_found(copy, name):
    folder, connection = copy
    first, second = select_all(connection, name)[:2]
    for row in (first, second):
        connection.execute(f'DELETE FROM "{name}" WHERE rowid = ?', (row["rowid"],))
    keys = key_columns(name)
    for row, place in ((first, second), (second, first)):
        insert_row(connection, name, row | {key: place[key] for key in keys})
    assert error_codes(folder) & {"rows.digest", "chain.hash"}


@pytest.mark.parametrize("name", ROW_TABLES)
def test_a_row_that_moves_to_another_entry_is_found(copy, name):
    folder, connection = copy
    row = select_all(connection, name)[0]
    put(connection, name, row["rowid"], "entry_seq", 6 if row["entry_seq"] != 6 else 7)
    assert "rows.digest" in error_codes(folder)


def test_an_entry_that_was_hashed_again_breaks_the_link_of_the_next(copy):
    folder, connection = copy
    row = select_all(connection, "entry")[3]
    row.pop("rowid")
    row["note"] = "forged"
    row["hash"] = chain.entry_hash(row)
    connection.execute(
        "UPDATE entry SET note = ?, hash = ? WHERE seq = 4", (row["note"], row["hash"])
    )
    assert error_codes(folder) == {"chain.link"}


def test_a_fact_with_all_its_hashes_made_anew_still_breaks_the_chain(copy):
    folder, connection = copy
    connection.execute("UPDATE edit SET target_new = 'Spain' WHERE id = 1")
    edit = select_all(connection, "edit")[0]
    batch = select_all(connection, "batch")[0]
    for row in (edit, batch):
        row.pop("rowid")
    connection.execute("UPDATE edit SET hash = ? WHERE id = 1", (chain.edit_hash(edit, batch),))
    rows = [
        (name, {key: value for key, value in row.items() if key != "rowid"})
        for name in ROW_TABLES
        for row in select_all(connection, name)
        if row["entry_seq"] == 2
    ]
    entry = select_all(connection, "entry")[1]
    entry.pop("rowid")
    entry["rows_digest"] = chain.rows_digest(rows)
    connection.execute(
        "UPDATE entry SET rows_digest = ?, hash = ? WHERE seq = 2",
        (entry["rows_digest"], chain.entry_hash(entry)),
    )
    assert error_codes(folder) == {"chain.link"}


def last_entry_without_rows(folder):
    sample = Sample.open(folder)
    entry = sample.change("revert", 2)
    sample.close()
    connection = forged(folder / "ledger.db", folder / "cut.db")
    connection.execute("DELETE FROM entry WHERE seq = ?", (entry.seq,))
    connection.close()
    os.replace(folder / "cut.db", folder / "ledger.db")
    return entry


def test_an_end_that_was_cut_off_is_found_with_a_hash_kept_elsewhere(copy):
    folder, connection = copy
    connection.close()
    entry = last_entry_without_rows(folder)
    assert error_codes(folder) == set()
    assert error_codes(folder, anchor=(entry.seq, entry.hash)) == {"chain.truncated"}


def test_a_hash_kept_elsewhere_that_is_in_the_chain_is_no_finding(original):
    sample = Sample.open(original)
    third = sample.journal.entries()[2]
    sample.close()
    assert findings(original, anchor=(third.seq, third.hash)) == []
    assert error_codes(original, anchor=(third.seq, chain.ZERO)) == {"chain.truncated"}


def test_a_ledger_without_entries_is_not_intact(copy):
    folder, connection = copy
    for name in TABLES:
        connection.execute(f'DELETE FROM "{name}"')
    assert "chain.gap" in error_codes(folder)


def test_an_illegal_history_is_found_although_its_hashes_are_right(copy):
    """Entry 5 puts an edit back that is active already; all later entries are hashed again."""
    folder, connection = copy
    previous = None
    for entry in select_all(connection, "entry"):
        entry.pop("rowid")
        if entry["seq"] == 5:
            entry["edits"] = "[2]"
        if entry["seq"] > 5:
            entry["prev_hash"] = previous
        previous = entry["hash"] = chain.entry_hash(entry)
        connection.execute("DELETE FROM entry WHERE seq = ?", (entry["seq"],))
        insert_row(connection, "entry", entry)
    assert error_codes(folder) == {"chain.version"}


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE edit SET subject = 'x' WHERE id = 2", {"rows.digest", "edit.hash"}),
        ("UPDATE batch SET method = 'x' WHERE id = 1", {"rows.digest", "edit.hash"}),
        ("UPDATE edit SET id = 9 WHERE id = 4", {"rows.digest", "edit.gap", "row.link"}),
        ("DELETE FROM batch WHERE id = 2", {"rows.digest", "row.link"}),
        ("UPDATE tag SET version = 9 WHERE id = 3", {"rows.digest", "tag.version"}),
        (
            "UPDATE tag SET entry_seq = 99 WHERE id = 3",
            {"rows.digest", "rows.homeless", "row.link"},
        ),
        ("UPDATE object SET size = 1 WHERE kind = 'factor'", {"rows.digest", "object.size"}),
        ("UPDATE entry SET version = 9 WHERE seq = 3", {"chain.hash", "chain.version"}),
        ("UPDATE entry SET edits = '[9]' WHERE seq = 2", {"chain.hash", "chain.version"}),
        (
            "DELETE FROM entry WHERE seq = 11",
            {"chain.gap", "chain.link", "rows.homeless", "row.link"},
        ),
    ],
)
def test_what_was_done_can_be_read_from_the_codes(copy, statement, expected):
    folder, connection = copy
    connection.execute(statement)
    assert error_codes(folder) == expected
