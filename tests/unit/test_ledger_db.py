"""A database file is whole or absent, a write is whole or not at all, failures are named."""

import os
import shutil
import sqlite3
import stat
import threading

import pytest
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from ledger import db, schema
from ledger.db import Database
from ledger.errors import (
    Busy,
    Conflict,
    IntegrityFailure,
    InvalidInput,
    LedgerError,
    NoLedger,
    SchemaTooNew,
    exit_code_of,
)
from ledger.models import table
from ledger.sqlite import translation


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    path = tmp_path_factory.mktemp("template") / "ledger.db"
    Database.create(path).close()
    return path


@pytest.fixture
def path(template, tmp_path):
    return shutil.copy(template, tmp_path / "ledger.db")


@pytest.fixture
def database(path):
    database = Database.open(path)
    yield database
    database.close()


def entry_row(seq=1, **columns):
    text = {c.name: f"{c.name}{seq}" for c in table("entry").columns}
    return text | {"seq": seq, "version": 0} | columns


def add(writing, seq=1, **columns):
    writing.insert("entry", [entry_row(seq, **columns)])


def numbers(reading):
    return [row["seq"] for row in reading.query("SELECT seq FROM entry ORDER BY seq")]


def count(database):
    with database.read() as snapshot:
        return len(numbers(snapshot))


def test_a_new_database_is_private_current_and_alone_in_its_folder(tmp_path):
    Database.create(tmp_path / "ledger.db").close()
    assert os.listdir(tmp_path) == ["ledger.db"]
    assert stat.S_IMODE((tmp_path / "ledger.db").stat().st_mode) == 0o600
    Database.open(f"sqlite:///{tmp_path}/ledger.db", upgrade=False).close()


def test_a_database_in_use_keeps_its_side_files_private(database):
    with database.write() as writing:
        add(writing)
        modes = {stat.S_IMODE(item.stat().st_mode) for item in database.path.parent.iterdir()}
        assert modes == {0o600}


@pytest.mark.parametrize("name", ["a b.db", "a%20b?c#d.db", "数据.db", "a'b.db"])
def test_the_name_of_the_file_is_taken_literally(tmp_path, name):
    Database.create(tmp_path / name).close()
    assert os.listdir(tmp_path) == [name]


def test_an_existing_file_is_never_replaced(path):
    before = path.read_bytes()
    with pytest.raises(Conflict):
        Database.create(path)
    assert path.read_bytes() == before


def test_of_two_creators_one_wins_and_the_other_is_told(tmp_path, monkeypatch):
    path = tmp_path / "ledger.db"
    monkeypatch.setattr(db, "_point", lambda name: name == "draft-built" and path.write_text("x"))
    with pytest.raises(Conflict, match="another process"):
        Database.create(path)
    assert path.read_text() == "x"
    assert os.listdir(tmp_path) == ["ledger.db"]


def test_a_creation_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(name):
        if name == "upgrade-written":
            raise KeyboardInterrupt

    monkeypatch.setattr(schema, "_point", fail)
    with pytest.raises(KeyboardInterrupt):
        Database.create(tmp_path / "ledger.db")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(LedgerError, match="nowhere"):
        Database.create(tmp_path / "nowhere" / "ledger.db")


def test_opening_never_creates(tmp_path):
    with pytest.raises(NoLedger):
        Database.open(tmp_path / "ledger.db")
    assert os.listdir(tmp_path) == []


def test_a_database_of_another_kind_is_refused():
    with pytest.raises(InvalidInput, match="mysql"):
        Database.open("mysql://localhost/ledger")


@pytest.mark.parametrize(
    "content", [b"", b"not a database" * 100, b"SQLite format 3\0" + b"x" * 200]
)
def test_a_file_that_is_no_database_is_refused(tmp_path, content):
    path = tmp_path / "ledger.db"
    path.write_bytes(content)
    with pytest.raises(IntegrityFailure, match=r"damaged \(.*restore a backup"):
        Database.open(path)
    assert (path.read_bytes(), os.listdir(tmp_path)) == (content, ["ledger.db"])


def test_a_database_of_something_else_is_refused(tmp_path):
    connection = sqlite3.connect(tmp_path / "other.db")
    connection.execute("CREATE TABLE songs (id INTEGER)")
    connection.close()
    with pytest.raises(IntegrityFailure, match="not a ledger"):
        Database.open(tmp_path / "other.db")


@pytest.mark.parametrize("revisions", [[], ["0001", "0002"]])
def test_a_database_without_exactly_one_revision_is_refused(path, revisions):
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("DELETE FROM alembic_version")
    connection.executemany("INSERT INTO alembic_version VALUES (?)", [(r,) for r in revisions])
    connection.close()
    with pytest.raises(IntegrityFailure, match="revision"):
        Database.open(path)


@pytest.mark.promise("P11")
def test_a_newer_schema_is_refused_with_exit_status_7_and_left_alone(path):
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(SchemaTooNew, match="9999") as caught:
        Database.open(path)
    assert exit_code_of(caught.value) == 7
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["ledger.db"]


def test_damage_inside_the_file_is_an_integrity_failure(path):
    database = Database.open(path)
    with database.write() as writing:
        for seq in range(1, 300):
            add(writing, seq)
    database.close()
    damaged = bytearray(path.read_bytes())
    for start in range(4096, len(damaged), 4096):
        damaged[start : start + 64] = b"\xff" * 64
    path.write_bytes(damaged)
    with pytest.raises(IntegrityFailure, match="restore a backup"):
        Database.open(path)


@pytest.mark.parametrize(
    ("pragma", "value"),
    [
        *[("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("trusted_schema", 0)],
        *[("recursive_triggers", 1), ("busy_timeout", 30000)],
    ],
)
def test_every_connection_is_set_up(database, pragma, value):
    for way in (database.read, database.write):
        with way() as opened:
            (row,) = opened.query(f"PRAGMA {pragma}")
            assert list(row.values()) == [value]


def test_what_is_written_is_there_for_the_next_to_read(database):
    with database.write() as writing:
        add(writing)
    assert count(database) == 1


@pytest.mark.promise("P10")
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError])
def test_a_write_that_is_interrupted_leaves_nothing_and_no_lock(database, error):
    with pytest.raises(error), database.write() as writing:
        add(writing)
        raise error
    assert count(database) == 0
    with database.write() as writing:
        add(writing)
    assert count(database) == 1


def test_a_reader_sees_one_state_while_others_write(database):
    with database.read() as snapshot:
        seen = numbers(snapshot)
        with database.write() as writing:
            add(writing)
            assert numbers(writing) == [1]
        assert numbers(snapshot) == seen == []
    assert count(database) == 1


def test_waiting_for_the_lock_ends(path):
    first, second = Database.open(path), Database.open(path, busy_seconds=0.05)
    with first.write() as writing:
        with pytest.raises(Busy, match="locked"), second.write():
            pass
        add(writing)
    with second.write() as writing:
        add(writing, 2)
    assert count(first) == 2
    first.close()
    second.close()


def test_a_writer_waits_for_its_turn(path):
    first, second = Database.open(path), Database.open(path)
    started = threading.Event()

    def write_second():
        started.set()
        with second.write() as writing:
            add(writing, 2)

    with first.write() as writing:
        waiting = threading.Thread(target=write_second)
        waiting.start()
        started.wait()
        add(writing)
    waiting.join()
    assert count(first) == 2
    first.close()
    second.close()


@pytest.mark.promise("P10")
def test_a_full_disk_is_named_and_changes_nothing(database):
    @event.listens_for(database.engine, "checkout")
    def limit(connection, _record, _proxy):
        connection.execute("PRAGMA max_page_count=60")

    with pytest.raises(LedgerError, match="full") as caught, database.write() as writing:
        for seq in range(1, 500):
            add(writing, seq, note="x" * 1000)
    assert exit_code_of(caught.value) == 1
    assert count(database) == 0


@pytest.mark.promise("P10")
def test_a_file_that_cannot_be_written_is_named(database):
    @event.listens_for(database.engine, "checkout")
    def limit(connection, _record, _proxy):
        connection.execute("PRAGMA query_only=ON")

    with pytest.raises(LedgerError, match="read-only"), database.write() as writing:
        add(writing)


@pytest.mark.promise("P10")
@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (sqlite3.SQLITE_IOERR, "check the disk"), (sqlite3.SQLITE_IOERR_FSYNC, "check the disk"),
        (sqlite3.SQLITE_CANTOPEN, "read and written"), (sqlite3.SQLITE_MISUSE, "kel verify"),
    ],
)  # fmt: skip
def test_what_sqlite_refuses_is_told_with_advice(tmp_path, code, advice):
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    told = str(translation(error, tmp_path / "ledger.db"))
    assert "disk I/O error" in told and advice in told and "ledger.db" in told


def test_messages_do_not_carry_the_text_of_facts(database):
    with pytest.raises(LedgerError) as caught, database.write() as writing:
        add(writing, note="secret fact")
        add(writing, note="secret fact")
    assert "secret" not in str(caught.value)
    assert isinstance(caught.value.__cause__, DBAPIError)


@pytest.mark.promise("P34")
def test_a_thousand_sessions_leave_no_file_open(database):
    for _ in range(5):
        count(database)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(1000):
        with database.read():
            pass
    assert len(os.listdir("/proc/self/fd")) == before
