"""P1: what was acknowledged survives SIGKILL at any point, and nothing worse than garbage is left.

Each scenario runs in a forked child that first tags (acknowledged), then does its own work and
kills itself at the k-th named point; every point of every scenario is hit twenty times or more.
SIGKILL leaves the page cache, so this proves nothing about power cuts: `test_power_loss.py` does.
"""

import gc as freezer
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command

from ledger import db, journal, queries, schema
from ledger.db import Database
from ledger.journal import Journal
from ledger.records import Rows, TagRecord
from ledger.verify import verify_structure
from store import atomic
from store.gc import collect
from store.objects import ObjectStore
from tests.sim.ledger_sample import Sample, measurement

pytestmark = pytest.mark.promise("P1")

MANY, SOME = 45, 20
RESET_EVERY = 13
POINTED = (atomic, db, journal, schema)


def apply(sample: Sample) -> None:
    sample.apply(f"city {time.monotonic_ns()}", "Rome", measurements=(measurement(edit_id=-1),))


def revert(sample: Sample) -> None:
    """Take the last edit out; when none is left, put the first back."""
    active = sample.journal.history().active()
    sample.change(*(("revert", active[-1]) if active else ("reapply", 1)))


def tag(sample: Sample) -> None:
    sample.journal.append("tag", rows=Rows(tags=(TagRecord(name="again", version=1),)))


def gc(sample: Sample) -> None:
    with sample.database.write() as session:
        collect(
            sample.store,
            lambda: queries.oids(session),
            grace_seconds=0,
            now=lambda: time.time() + 60,
        )


def upgrade(sample: Sample) -> None:
    Database.open(sample.database.path).close()


def create(sample: Sample) -> None:
    Database.create(sample.folder / "second.db").close()


WRITE = {"write-begun", "write-flushed", "write-committed"}
MIGRATE = {"upgrade-begun", "upgrade-written", "upgraded"}
# The points each scenario must pass: a point that is taken out of the code fails here.
SCENARIOS = {
    apply: WRITE
    | {"dirs-made", "tmp-open", "tmp-written", "tmp-fsynced", "renamed", "dir-fsynced"}
    | {f"inserted-{name}" for name in ("entry", "object", "batch", "edit", "measurement")},
    revert: WRITE | {"inserted-entry"},
    tag: WRITE | {"inserted-entry", "inserted-tag"},
    gc: WRITE | {"removed"},
    upgrade: MIGRATE | {"backup-written"},
    create: MIGRATE | {"draft-built", "draft-linked"},
}


@pytest.fixture(scope="module")
def ground() -> Iterator[Path]:
    """A folder in memory where there is one: no fsync is under test here."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def template(ground: Path) -> Path:
    folder = ground / "template"
    folder.mkdir()
    sample = Sample.create(folder)
    sample.apply("Rome")
    sample.apply("Oslo", "Lima", measurements=(measurement(),))
    sample.close()
    return folder


class Arena:
    """The ledger under fire, renewed now and then so that checking it stays quick."""

    def __init__(self, template: Path, folder: Path) -> None:
        self.template, self.folder = template, folder
        self.acknowledged: list[str] = []
        self.rounds = 0
        self.path = folder / "ledger.db"
        # One engine for all rounds: the children inherit its compiled statements.
        self.database = Database(self.path)

    def prepare(self, scenario) -> Sample:
        """The next ledger; no connection to it is open when this returns."""
        if self.rounds % RESET_EVERY == 0 or scenario is upgrade:
            shutil.rmtree(self.folder, ignore_errors=True)
            shutil.copytree(self.template, self.folder)
            self.acknowledged = []
            self.sample = self.reopened()
            if self.rounds == 0:
                self.warm_up(scenario)
        self.rounds += 1
        if scenario is gc:
            self.sample.put(f"orphan {self.rounds}".encode())
        self.sample.close()
        if scenario is upgrade:
            outdate(self.path)
        return self.sample

    def warm_up(self, scenario) -> None:
        """Let the engine compile what the children will run."""
        self.sample.journal.append("tag", note="before")
        if scenario in (apply, revert, tag):
            scenario(self.sample)

    def reopened(self) -> Sample:
        store = ObjectStore(self.folder)
        return Sample(self.folder, self.database, store, Journal(self.database, store))

    def check(self, scenario) -> None:
        """Reopen and compare: everything acknowledged is there, and nothing is broken."""
        if scenario is upgrade:
            Database.open(self.path).close()
        elif scenario is create:
            check_whole(self.folder / "second.db")
        found = verify_structure(self.sample.journal, self.sample.store)
        assert [item for item in found if item.severity != "info"] == []
        hashes = {entry.hash for entry in self.sample.journal.entries()}
        assert set(self.acknowledged) <= hashes
        self.sample.close()


def outdate(path: Path) -> None:
    """Take the schema back by one revision, as an older program left it."""
    engine = db._engine(path, 1.0)
    config = schema._config()
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
        connection.commit()
    engine.dispose()


def check_whole(path: Path) -> None:
    """After a killed creation the file is either absent or a whole ledger."""
    if path.exists():
        Database.open(path).close()
        path.unlink()


def rounds(scenario) -> int:
    """How often each point is hit: the scenarios that cost little more often."""
    return MANY if scenario in (revert, tag, gc) else SOME


@pytest.fixture(autouse=True, scope="module")
def _quick_forks() -> Iterator[None]:
    """Objects out of the collector's sight are not copied by every child."""
    freezer.collect()
    freezer.freeze()
    yield
    freezer.unfreeze()


def child(scenario, sample: Sample, kill_at: int | None, pipe: int) -> None:
    """Runs in the fork: tag, tell, do the work, tell; or die at point number `kill_at`."""
    count = 0

    def point(name: str) -> None:
        nonlocal count
        count += 1
        if kill_at is None:
            os.write(pipe, f"point {name}\n".encode())
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    if scenario is not upgrade:
        entry = sample.journal.append("tag", note="before")
        os.write(pipe, f"ack {entry.hash}\n".encode())
    for module in POINTED:
        module._point = point
    scenario(sample)
    if scenario in (apply, revert, tag):
        os.write(pipe, f"ack {sample.journal.last_entry().hash}\n".encode())


def run(scenario, sample: Sample, kill_at: int | None) -> tuple[bool, list[list[str]]]:
    """Fork, wait; whether it was killed, and the lines it wrote."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 3
        try:
            child(scenario, sample, kill_at, writer)
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as lines:
        told = [line.split() for line in lines]
    _, status = os.waitpid(pid, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or status == 0, "the child failed; see its traceback above"
    return killed, told


def points(scenario, template: Path, folder: Path) -> list[str]:
    """The named points that an undisturbed run passes, in order."""
    arena = Arena(template, folder)
    killed, told = run(scenario, arena.prepare(scenario), None)
    assert not killed
    arena.acknowledged += [value for kind, value in told if kind == "ack"]
    arena.check(scenario)
    return [value for kind, value in told if kind == "point"]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_P01_an_acknowledged_entry_survives_a_kill_at_every_point(
    scenario, template, ground, figure
):
    names = points(scenario, template, ground / "dry")
    assert set(names) >= SCENARIOS[scenario]
    arena = Arena(template, ground / scenario.__name__)
    kills = 0
    for _ in range(rounds(scenario)):
        for kill_at in range(1, len(names) + 1):
            killed, told = run(scenario, arena.prepare(scenario), kill_at)
            kills += killed
            arena.acknowledged += [value for kind, value in told if kind == "ack"]
            arena.check(scenario)
    assert kills == rounds(scenario) * len(names)
    figure("P1", "{} kills at every named point of what writes, 0 acknowledged lost", kills)


def test_P01_the_scenarios_make_a_thousand_kills(template, ground):
    passed = {scenario: points(scenario, template, ground / "count") for scenario in SCENARIOS}
    assert min(map(rounds, SCENARIOS)) >= 20
    assert sum(len(names) * rounds(scenario) for scenario, names in passed.items()) >= 1000


def test_the_harness_notices_a_row_that_is_written_before_its_object(template, ground, monkeypatch):
    """A protocol with the wrong order must be caught, or the harness proves nothing."""
    arena = Arena(template, ground / "wrong")
    sample = arena.prepare(apply)
    monkeypatch.setattr(type(sample.store), "has", lambda *_: True)
    monkeypatch.setattr(type(sample.store), "size", lambda *_: 10)
    monkeypatch.setattr(type(sample.store), "put", lambda *_: "e" * 64)
    killed, told = run(lambda s: s.journal.append("reject", rows=s.batch("x" * 4)), sample, 7)
    assert killed, told
    with pytest.raises(AssertionError, match=r"object\.missing"):
        arena.check(apply)
