"""A ledger on a PostgreSQL server: its guards, its locks, its address, and moving it there."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from ledger import moving, postgres, schema
from ledger.access import Access
from ledger.access.passwords import Passwords
from ledger.access.tables import OPERATIONAL
from ledger.address import checked_address, public
from ledger.db import Database
from ledger.errors import (
    Busy,
    Conflict,
    IntegrityFailure,
    InvalidInput,
    LedgerError,
    NoLedger,
    NotAllowed,
    ProposalGone,
    SchemaTooNew,
    SchemaTooOld,
    TooManyAttempts,
)
from ledger.layout import LedgerFolder
from ledger.models import METADATA
from ledger.verify import verify_structure
from tests.sim.ledger_sample import Sample, full
from tests.sim.postgres_server import Server


@pytest.fixture
def team(server: Server, tmp_path: Path) -> Any:
    """A ledger with some of everything on the server."""
    sample = full(tmp_path / "team", server.new_database)
    yield sample
    sample.close()


def name_of(sample: Sample) -> str:
    return urlsplit(sample.database.place).path[1:]


def codes(sample: Sample) -> list[str]:
    return [finding.code for finding in verify_structure(sample.journal, sample.store)]


@pytest.mark.promise("P11")
def test_the_migrations_build_what_the_models_say(team: Sample):
    with team.database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, [METADATA, OPERATIONAL]) == []


def test_accounts_sessions_tokens_and_proposals_are_kept_as_in_a_file(team: Sample):
    cheap = Passwords({"time_cost": 1, "memory_cost": 8, "parallelism": 1})
    access = Access(team.journal, passwords=cheap)
    access.accounts.add("ed", "editor", "correct horse", author="root")
    assert access.sign_in("ed", "correct horse", address="::1") == "editor"
    for _ in range(5):
        with pytest.raises(NotAllowed, match="wrong"):
            access.sign_in("ed", "battery staple", address="::1")
    with pytest.raises(TooManyAttempts):
        access.sign_in("ed", "correct horse", address="::1")
    session, token = access.sessions.start("ed"), access.tokens.add("ed", "x", "chat")
    access.sessions.touch(session)
    assert (access.sessions.holder(session), access.tokens.holder(token).name) == ("ed", "ed")
    pending = access.proposals.open("edit", {"subject": "Ada"}, "ed")
    assert access.proposals.take(pending.id, pending.digest).body == {"subject": "Ada"}
    with pytest.raises(ProposalGone):
        access.proposals.take(pending.id, pending.digest)
    access.accounts.remove("ed", author="root")
    assert (access.sessions.holder(session), access.tokens.all()) == (None, [])
    assert codes(team) == []


@pytest.mark.promise("P7")
@pytest.mark.parametrize("name", sorted(METADATA.tables))
def test_the_server_refuses_to_change_what_is_recorded(server: Server, team: Sample, name: str):
    key = "seq" if name == "entry" else "entry_seq"
    for statement in (
        f'UPDATE "{name}" SET {key} = 1',
        f'DELETE FROM "{name}"',
        f'TRUNCATE "{name}" CASCADE',
    ):
        with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            server.execute(statement, name_of(team))
    assert codes(team) == []


@pytest.mark.promise("P7")
def test_a_guard_that_was_switched_off_is_told_and_what_was_changed_is_found(
    server: Server, team: Sample
):
    server.execute("ALTER TABLE edit DISABLE TRIGGER edit_no_update", name_of(team))
    assert codes(team) == ["trigger.missing"]
    server.execute("UPDATE edit SET target_new = 'Mars' WHERE id = 1", name_of(team))
    assert set(codes(team)) == {"trigger.missing", "edit.hash", "rows.digest"}


def test_a_role_that_may_only_add_can_work(server: Server, team: Sample):
    database = name_of(team)
    server.execute("DROP ROLE IF EXISTS writer")
    server.execute("CREATE ROLE writer LOGIN")
    server.execute("GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO writer", database)
    LedgerFolder(team.folder).address.write_text(server.url(database).replace("kel@", "writer@"))
    limited = Sample.open(team.folder)
    head = limited.journal.history().head
    limited.apply("Quito")
    assert limited.journal.history().head == head + 1
    with pytest.raises(LedgerError, match="this role may not"), limited.database.write() as writing:
        writing.query("DELETE FROM edit WHERE id = 1 RETURNING id")
    limited.close()
    server.execute("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM writer", database)
    server.execute("DROP ROLE writer")


def test_a_second_writer_waits_and_is_told_a_reader_does_not(team: Sample):
    impatient = Sample.open(team.folder, busy_seconds=0.2)
    before = team.journal.history().seq
    with team.database.write() as writing:
        writing.query("SELECT 1 AS one")
        assert impatient.journal.history().seq == before
        with pytest.raises(Busy, match="locked by another writer"):
            impatient.apply("Quito")
    impatient.apply("Quito")
    assert team.journal.history().seq == before + 1
    impatient.close()


def test_a_writer_that_waited_sees_what_came_meanwhile(team: Sample):
    other = Sample.open(team.folder)
    seen: list[int] = []

    def count() -> None:
        with other.database.write() as writing:
            seen.append(writing.query("SELECT count(*) AS n FROM entry")[0]["n"])

    waiting = threading.Thread(target=count)
    with team.database.write() as writing:
        before = writing.query("SELECT count(*) AS n FROM entry")[0]["n"]
        waiting.start()
    waiting.join(30)
    assert seen == [before]
    other.close()


def test_whoever_is_connected_goes_on_after_the_server_was_restarted(server: Server, team: Sample):
    with team.database.read(), team.database.read():
        team.apply("Before")
    ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = "
    ((cut,),) = server.execute(f"{ended}'{name_of(team)}'")
    assert int(str(cut)) >= 3
    team.apply("After")
    assert codes(team) == []


def test_a_snapshot_stays_one_state_and_takes_no_writes(team: Sample):
    with team.database.read() as snapshot:
        before = snapshot.query("SELECT count(*) AS n FROM entry")
        other = Sample.open(team.folder)
        other.apply("Quito")
        other.close()
        assert snapshot.query("SELECT count(*) AS n FROM entry") == before
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            snapshot.query("INSERT INTO entry (seq) VALUES (99) RETURNING seq")


def test_a_write_that_fails_leaves_nothing(team: Sample):
    before = moving.look(team.database.place)
    with pytest.raises(ZeroDivisionError), team.database.write() as writing:
        writing.query("SELECT 1 / 1 AS one")
        raise ZeroDivisionError
    with pytest.raises(LedgerError, match="refused"), team.database.write() as writing:
        writing.query("SELECT nothing FROM entry")
    assert moving.look(team.database.place) == before


def test_an_older_schema_is_upgraded_only_when_told(server: Server):
    url = server.new_database()
    database = Database.create(url)
    with database.engine.connect() as connection, connection.begin():
        config = schema._config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    database.close()
    with pytest.raises(SchemaTooOld, match="kel db upgrade"):
        Database.open(url)
    assert moving.look(url).schema == "0001"
    assert moving.upgrade(url).schema == schema.CURRENT
    Database.open(url).close()
    server.execute("UPDATE alembic_version SET version_num = '9999'", urlsplit(url).path[1:])
    with pytest.raises(SchemaTooNew):
        Database.open(url)


def test_a_schema_is_for_one_ledger_and_for_nothing_else(server: Server, team: Sample):
    with pytest.raises(Conflict, match="holds a ledger already"):
        Database.create(team.database.place)
    url = server.new_database()
    with pytest.raises(NoLedger):
        Database.open(url)
    server.execute("CREATE TABLE other (id int)", urlsplit(url).path[1:])
    with pytest.raises(Conflict, match="search_path"):
        Database.create(url)
    server.execute("CREATE SCHEMA facts", urlsplit(url).path[1:])
    apart = f"{url}&options=-csearch_path%3Dfacts"
    for _ in range(2):  # tables without a history are taken as they are
        Database.create(apart).close()
    assert moving.look(apart).entries == 0


def test_an_address_never_holds_a_password():
    secret = "postgresql://ann:s3cret@host:5432/db?sslpassword=s3cret&sslmode=require"
    assert public(secret) == "postgresql://ann@host:5432/db?sslmode=require"
    with pytest.raises(InvalidInput, match="PGPASSWORD") as caught:
        checked_address(secret)
    assert "s3cret" not in str(caught.value)
    with pytest.raises(InvalidInput, match="no address"):
        checked_address("mysql://host/db")
    with pytest.raises(InvalidInput, match="cannot be read"):
        public("postgresql://host:x/db")
    with pytest.raises(LedgerError, match="cannot reach") as unreachable:
        Database.open("postgresql://ann:s3cret@localhost:1/db")
    assert "s3cret" not in str(unreachable.value)


def test_a_ledger_moves_to_a_server_and_back(server: Server, tmp_path: Path):
    local = full(tmp_path / "local")
    local.close()
    url, back = server.new_database(), tmp_path / "back.db"
    there = moving.copy(local.folder / "ledger.db", url)
    again = moving.copy(url, back)
    assert (there.digest, there.rows, there.head) == (again.digest, again.rows, again.head)
    assert moving.check(url) == moving.check(back) == []
    with pytest.raises(Conflict):
        moving.copy(back, url)
    assert moving.attach(local.folder, url).head == there.head
    assert not (local.folder / "ledger.db").exists()
    moved = Sample.open(local.folder)
    moved.apply("Quito")
    assert codes(moved) == []
    moved.close()
    with pytest.raises(Conflict, match="already"):
        moving.attach(local.folder, url)
    late = Sample.create(tmp_path / "late")
    late.close()
    with pytest.raises(Conflict, match="copy it there first"):
        moving.attach(late.folder, url)
    assert (late.folder / "ledger.db").exists()


def test_a_copy_that_differs_is_no_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    local = full(tmp_path / "local")
    local.close()
    counted = iter(("a", "b"))
    monkeypatch.setattr(moving, "_digest", lambda _: (next(counted), 1))
    with pytest.raises(IntegrityFailure, match="is not what"):
        moving.copy(local.folder / "ledger.db", tmp_path / "copy.db")
    assert [path.name for path in tmp_path.iterdir()] == ["local"]


def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(InvalidInput, match=r"\[postgres\]"):
        postgres._driver()
