"""P1: what was acknowledged survives SIGKILL at any point, and nothing worse than garbage is left.

Each scenario runs in a forked child that first tags (acknowledged), then does its own work and
kills itself at the k-th named point. The fast tier hits every point of the program twenty times or
more, the nightly one every point of every scenario. SIGKILL leaves the page cache, so this proves
nothing about power cuts: `test_power_loss.py` does. Verbs that need a model: `test_kill_verbs.py`.
"""

import gc as freezer
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from alembic import command
from safetensors.numpy import save_file

from ledger import db, queries, schema
from ledger.bundle import export_bundle
from ledger.db import Database
from ledger.importing import import_bundle
from ledger.journal import Journal
from ledger.records import Rows, TagRecord
from ledger.verify import verify_structure
from store.checkpoints import Checkpoint
from store.gc import collect
from store.objects import ObjectStore
from store.surgery import rewrite
from tests.sim.kills import POINTED, End, Life, files, forked
from tests.sim.ledger_sample import Sample, findings, measurement

pytestmark = pytest.mark.promise("P1")

RESET_EVERY = 13


def apply(sample: Sample) -> None:
    """Its object is there already the second time, as a repeated edit finds it."""
    subject = f"city {time.monotonic_ns()}"
    sample.batch(subject)
    sample.apply(subject, measurements=(measurement(edit_id=-1),))


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


def upgrade_all(sample: Sample) -> None:
    """From the first schema on."""
    upgrade(sample)


def create(sample: Sample) -> None:
    Database.create(sample.folder / "second.db").close()


def take_in(sample: Sample) -> None:
    """A ledger of its own from a bundle that lies beside."""
    import_bundle(sample.folder / "bundle", sample.folder / "taken", author="ann", replay=False)


def export(sample: Sample) -> None:
    rewrite(Checkpoint.open(sample.folder / "base"), sample.folder / "edited", [("b", bytes(64))])


PUT = {"dirs-made", "tmp-open", "tmp-written", "tmp-fsynced", "renamed", "dir-fsynced"}
STAGE = {"stage-made", "stage-synced", "stage-renamed"}
DRAFT = {"draft-built", "draft-linked"}
WRITE = {"write-begun", "write-flushed", "write-committed"}
MIGRATE = {"upgrade-begun", "upgrade-written", "upgraded"}
# The points each scenario must pass: a point that is taken out of the code fails here.
SCENARIOS = {
    apply: WRITE
    | PUT
    | {"refreshed"}
    | {f"inserted-{name}" for name in ("entry", "object", "batch", "edit", "measurement")},
    revert: WRITE | {"inserted-entry"},
    tag: WRITE | {"inserted-entry", "inserted-tag"},
    gc: WRITE | {"removed"},
    export: STAGE | {"files-copied", "tensor-patched"},
    upgrade: MIGRATE | {"backup-written"},
    upgrade_all: MIGRATE | {"backup-written"},
    create: MIGRATE | DRAFT,
    take_in: STAGE | MIGRATE | DRAFT | WRITE | PUT,
}
# How often the fast tier hits each point of a scenario: the quick ones more often. An import
# passes the points of most others and makes a schema each time.
MANY, SOME, FEW = 26, 20, 3
FAST = {
    **dict.fromkeys((apply, create, export, upgrade), SOME),
    **dict.fromkeys((revert, tag, gc), MANY),
    take_in: FEW,
}
SLOW = dict.fromkeys((take_in, upgrade_all), SOME)
OLD = {upgrade: schema.REVISIONS[-2], upgrade_all: schema.REVISIONS[0]}


@pytest.fixture(scope="module")
def ground() -> Iterator[Path]:
    """A folder in memory where there is one: no fsync is under test here."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def template(ground: Path) -> Path:
    """A ledger, its bundle, and a base of two tensors."""
    folder = ground / "template"
    (folder / "base").mkdir(parents=True)
    tensors = {name: np.ones((4, 4), np.float32) for name in "ab"}
    save_file(tensors, folder / "base" / "model.safetensors")
    (folder / "base" / "config.json").write_text('{"model_type":"tiny"}')
    sample = Sample.create(folder)
    sample.apply("Rome")
    sample.apply("Oslo", "Lima", measurements=(measurement(),))
    export_bundle(sample.journal, sample.store, 2, folder / "bundle")
    sample.close()
    return folder


class Arena:
    """The ledger under fire, renewed now and then so that checking it stays quick."""

    def __init__(self, scenario, template: Path, folder: Path) -> None:
        self.scenario, self.template, self.folder = scenario, template, folder
        self.acknowledged: list[str] = []
        self.rounds = 0
        self.path = folder / "ledger.db"
        # One engine for all rounds: the children inherit its compiled statements.
        self.database = Database(self.path)
        if scenario in OLD:
            self.template = folder.with_name(f"{folder.name} outdated")
            shutil.copytree(template, self.template)
            outdate(self.template / "ledger.db", OLD[scenario])

    def round(self, kill_at: int | None) -> End:
        """One process that does the work, killed or not, and a look at what it left."""
        self.prepare()
        end = forked(self.work, kill_at)
        self.acknowledged += end.acknowledged
        self.check()
        return end

    def prepare(self) -> None:
        """The next ledger; no connection to it is open when this returns."""
        if self.rounds % RESET_EVERY == 0 or self.scenario in OLD:
            shutil.rmtree(self.folder, ignore_errors=True)
            shutil.copytree(self.template, self.folder)
            self.acknowledged = []
            store = ObjectStore(self.folder)
            journal = Journal(self.database, store)
            self.sample = Sample(self.folder, self.database, store, journal)
            if self.rounds == 0:
                self.warm_up()
        self.rounds += 1
        if self.scenario is gc:
            self.sample.put(f"orphan {self.rounds}".encode())
        self.sample.close()

    def warm_up(self) -> None:
        """Let the engine compile what the children will run."""
        if self.scenario not in OLD:
            self.sample.journal.append("tag", note="before")
        if self.scenario in (apply, revert, tag):
            self.scenario(self.sample)

    def work(self, life: Life) -> None:
        """Runs in the fork: tag, tell, do the work, tell."""
        if self.scenario not in OLD:
            life.acknowledge(self.sample.journal.append("tag", note="before").hash)
        life.arm()
        self.scenario(self.sample)
        if self.scenario in (apply, revert, tag):
            life.acknowledge(self.sample.journal.last_entry().hash)

    def check(self) -> None:
        """Reopen and compare: everything acknowledged is there, and nothing is broken."""
        if look := LOOKS.get(self.scenario):
            look(self.folder, self.template)
        found = verify_structure(self.sample.journal, self.sample.store)
        worse = [item for item in found if item.severity != "info"]
        assert worse == [], worse
        with self.database.read() as snapshot:
            hashes = {row["hash"] for row in snapshot.stream("SELECT hash FROM entry")}
        assert set(self.acknowledged) <= hashes
        self.sample.close()


def outdate(path: Path, revision: str) -> None:
    """Take the schema back, as an older program left it."""
    engine = db._engine(path, 1.0)
    config = schema._config()
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
        connection.commit()
    engine.dispose()


def upgraded(folder: Path, template: Path) -> None:
    """The next program finishes what a killed one began."""
    Database.open(folder / "ledger.db").close()


def created(folder: Path, template: Path) -> None:
    """The file is either absent or a whole ledger."""
    path = folder / "second.db"
    if path.exists():
        Database.open(path).close()
        path.unlink()


def taken_in(folder: Path, template: Path) -> None:
    """The new ledger is absent or the one of the bundle, and the bundle is as it was."""
    taken, bundle = folder / "taken", folder / "bundle"
    assert files(bundle) == files(template / "bundle")
    if taken.exists():
        assert findings(taken) == []
        sample = Sample.open(taken)
        export_bundle(sample.journal, sample.store, 2, folder / "again")
        sample.close()
        assert files(folder / "again") == files(bundle)
        shutil.rmtree(folder / "again")
        shutil.rmtree(taken)


def exported(folder: Path, template: Path) -> None:
    """The new folder is absent or whole, and the base is as it was."""
    edited, base = folder / "edited", folder / "base"
    assert files(base) == files(template / "base")
    if edited.exists():
        assert files(edited).keys() == files(base).keys()
        raw = Checkpoint.open(edited).raw
        assert [bytes(raw(name)) for name in "ab"] == [np.ones(16, np.float32).tobytes(), bytes(64)]
        shutil.rmtree(edited)


LOOKS = {
    upgrade: upgraded,
    upgrade_all: upgraded,
    create: created,
    take_in: taken_in,
    export: exported,
}


def under_fire(scenario, rounds: int, template: Path, folder: Path) -> tuple[list[str], int]:
    """The named points of a scenario in order, and how many kills at them were survived."""
    names = Arena(scenario, template, folder / "undisturbed").round(None).passed
    arena = Arena(scenario, template, folder / "ledger")
    kills = 0
    for _ in range(rounds):
        for kill_at in range(1, len(names) + 1):
            kills += arena.round(kill_at).killed
    assert not rounds or not arena.round(None).killed
    return names, kills


def quick_forks() -> None:
    """Objects out of the collector's sight are not copied by every child."""
    freezer.collect()
    freezer.freeze()


@pytest.fixture(scope="module")
def small() -> Iterator[Executor]:
    """A process that has loaded little, and so forks in no time."""
    with ProcessPoolExecutor(1, get_context("spawn"), quick_forks) as pool:
        yield pool


@pytest.mark.parametrize(
    ("scenario", "rounds"),
    [
        *(pytest.param(item, rounds, id=item.__name__) for item, rounds in FAST.items()),
        *(
            pytest.param(item, rounds, id=f"{item.__name__}-{rounds}", marks=pytest.mark.slow)
            for item, rounds in SLOW.items()
        ),
    ],
)
def test_P01_an_acknowledged_entry_survives_a_kill_at_every_point(
    scenario, rounds, template, ground, small, figure
):
    folder = Path(tempfile.mkdtemp(dir=ground))
    names, kills = small.submit(under_fire, scenario, rounds, template, folder).result()
    assert set(names) >= SCENARIOS[scenario]
    assert kills == rounds * len(names)
    figure("P1", "{} kills at every named point of what writes, 0 acknowledged lost", kills)


def test_P01_a_thousand_kills_hit_every_named_point_twenty_times_or_more(template, ground, small):
    hits = Counter[str]()
    for scenario, rounds in FAST.items():
        folder = Path(tempfile.mkdtemp(dir=ground))
        names, _ = small.submit(under_fire, scenario, 0, template, folder).result()
        hits.update(names * rounds)
    assert {name for name, count in hits.items() if count < 20} == set()
    places = {Path(module.__file__).parent for module in POINTED}
    texts = [path.read_text("utf-8") for place in places for path in place.rglob("*.py")]
    named = {name for text in texts for name in re.findall(r"""\b_point\("([\w-]+)"\)""", text)}
    assert named <= set(hits)
    assert len(named) > 20
    assert hits.total() >= 1000


def test_the_harness_notices_a_row_that_is_written_before_its_object(template, ground, monkeypatch):
    """A protocol with the wrong order must be caught, or the harness proves nothing."""

    def wrong(sample: Sample) -> None:
        monkeypatch.setattr(type(sample.store), "put", lambda *_: "e" * 64)
        sample.journal.append("reject", rows=sample.batch("x" * 4))

    arena = Arena(wrong, template, ground / "wrong")
    monkeypatch.setattr(ObjectStore, "has", lambda *_: True)
    monkeypatch.setattr(ObjectStore, "size", lambda *_: 10)
    with pytest.raises(AssertionError, match=r"object\.missing"):
        arena.round(7)
