"""P9: gc deletes garbage, and never what is reachable or young."""

import hashlib
import itertools
import os
import time

import pytest

from store import atomic
from store.errors import StoreError, StoreReadError
from store.gc import collect
from store.objects import ObjectStore

pytestmark = pytest.mark.promise("P9")

NOW = time.time()
GRACE = 100.0
DATA = b"the object in question"
OID = hashlib.sha256(DATA).hexdigest()


def age(store, oid, seconds):
    os.utime(store.path(oid), (NOW - seconds, NOW - seconds))


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """What a sync is worth is proved by the power-loss model; here it would only cost time."""
    monkeypatch.setattr(os, "fsync", os.fstat)


@pytest.fixture
def store(tmp_path):
    return ObjectStore(tmp_path / "store")


def run(store, kept=frozenset(), **options):
    options = {"grace_seconds": GRACE, "now": lambda: NOW, **options}
    return collect(store, lambda: set(kept), **options)


def test_old_garbage_goes_and_the_rest_stays(store):
    kept, young, garbage = (store.put(data) for data in (b"kept", b"young", b"garbage"))
    age(store, kept, 1000)
    age(store, young, 99)
    age(store, garbage, 1000)
    done = run(store, {kept})
    assert done.objects == (garbage,)
    assert done.bytes == len(b"garbage")
    assert set(store.oids()) == {kept, young}


@pytest.mark.parametrize(("seconds", "goes"), [(99, 0), (100, 1), (101, 1), (-1, 0), (-1e9, 0)])
def test_age_is_counted_to_the_second_and_the_future_is_young(store, seconds, goes):
    store.put(DATA)
    age(store, OID, seconds)
    assert len(run(store).objects) == goes


def test_a_clock_that_jumps_back_makes_everything_young(store):
    store.put(DATA)
    age(store, OID, 1000)
    assert run(store, now=lambda: NOW - 10_000).objects == ()


def test_abandoned_temporary_files_go_after_the_grace_time(store):
    store.put(b"kept")
    for name, seconds in (("old.tmp", 1000), ("young.tmp", 1)):
        (store.layout.tmp / name).write_bytes(b"half")
        os.utime(store.layout.tmp / name, (NOW - seconds, NOW - seconds))
    done = run(store, set(store.oids()))
    assert [path.name for path in done.temps] == ["old.tmp"]
    assert done.bytes == 4
    assert [path.name for path in store.temps()] == ["young.tmp"]


def test_a_dry_run_tells_the_same_and_deletes_nothing(store):
    young = store.put(b"young")
    store.put(DATA)
    age(store, OID, 1000)
    planned = run(store, dry_run=True)
    assert set(store.oids()) == {OID, young}
    assert planned.objects == (OID,)
    assert run(store) == planned


def test_an_empty_store_has_no_garbage(store):
    assert run(store).objects == ()


@pytest.mark.parametrize("grace", [-1, float("nan"), -float("inf")])
def test_a_grace_time_that_is_none_is_refused(store, grace):
    store.put(DATA)
    with pytest.raises(StoreError, match="grace"):
        run(store, grace_seconds=grace)
    assert store.has(OID)


def test_a_link_goes_and_what_it_points_to_stays(store, tmp_path):
    (tmp_path / "victim").write_bytes(DATA)
    store.put(b"other")
    store.path(OID).parent.mkdir(exist_ok=True)
    store.path(OID).symlink_to(tmp_path / "victim")
    run(store, grace_seconds=0, now=lambda: 2.0**40)
    assert not store.path(OID).is_symlink()
    assert (tmp_path / "victim").read_bytes() == DATA


def test_a_folder_in_place_of_an_object_is_left_to_verify(store):
    store.path(OID).mkdir(parents=True)
    assert run(store, grace_seconds=0, now=lambda: 2.0**40).objects == ()
    assert store.path(OID).is_dir()


def test_a_failing_look_at_a_file_is_an_error_not_garbage(store, monkeypatch):
    store.put(DATA)

    def broken(path):
        raise PermissionError(13, "denied")

    monkeypatch.setattr("pathlib.Path.lstat", broken)
    with pytest.raises(StoreReadError):
        run(store, grace_seconds=0)


class World:
    """A ledger of one row and one garbage object; `events` run where the schedule says."""

    def __init__(self, root, *, orphan):
        self.store = ObjectStore(root)
        self.rows: set[str] = set()
        self.locked = False
        self.deferred: list = []
        if orphan:
            self.store.put(DATA)
            age(self.store, OID, 1000)

    def put(self):
        self.store.put(DATA)

    def commit(self):
        """As the ledger does it: under the lock, after a look whether the object is there."""
        if self.locked:
            self.deferred.append(self.commit)
            return
        if not self.store.has(OID):
            self.store.put(DATA)
        self.rows.add(OID)

    def gc(self, schedule):
        """Collect; `schedule[i]` lists the events that happen at the i-th look or deletion."""
        self.locked, counter = True, itertools.count()

        def happen():
            for event in schedule.get(next(counter), ()):
                event()

        def reachable():
            happen()
            return set(self.rows)

        def now():
            happen()
            return NOW

        collect(self.store, reachable, grace_seconds=GRACE, now=now)
        self.locked = False
        for event in self.deferred:
            event()


@pytest.mark.parametrize("orphan", [True, False])
@pytest.mark.parametrize(
    ("put_at", "commit_at"), list(itertools.combinations_with_replacement(range(-1, 6), 2))
)
def test_P09_put_and_commit_at_any_moment_of_gc_lose_nothing(
    tmp_path, orphan, put_at, commit_at, figure
):
    world = World(tmp_path / "store", orphan=orphan)
    schedule = {}
    for moment, event in ((put_at, world.put), (commit_at, world.commit)):
        if moment == -1:
            event()
        else:
            schedule.setdefault(moment, []).append(event)
    reached = {m for m in (put_at, commit_at) if m >= 0}
    world.gc(schedule)
    for moment, event in ((put_at, world.put), (commit_at, world.commit)):
        if moment in reached and OID not in world.rows:
            event()
    assert world.rows == {OID}
    assert world.store.get(OID) == DATA
    world.gc({})
    assert world.store.get(OID) == DATA
    figure("P9", "{} orders of put, commit and gc, 0 reachable objects deleted", 1)


@pytest.mark.parametrize("orphan", [True, False])
@pytest.mark.parametrize("point", [*atomic.POINTS[:7], "before", "after"])
def test_P09_gc_at_any_moment_of_a_put_loses_nothing(tmp_path, monkeypatch, orphan, point, figure):
    world = World(tmp_path / "store", orphan=orphan)

    def collect_at(name):
        if name == point:
            world.gc({})

    collect_at("before")
    monkeypatch.setattr(atomic, "_point", collect_at)
    world.put()
    monkeypatch.undo()
    collect_at("after")
    # A refreshed object is young, so here nothing needs a second put before the commit.
    assert world.store.has(OID)
    world.commit()
    world.gc({})
    assert world.store.get(OID) == DATA
    figure("P9", "{} orders of put, commit and gc, 0 reachable objects deleted", 1)


def test_P09_an_old_orphan_that_is_put_again_is_young_for_a_gc_that_marked_it(store):
    store.put(DATA)
    age(store, OID, 1000)
    looks = itertools.count()

    def reachable():
        if next(looks) == 1:
            store.put(DATA)
        return set()

    done = collect(store, reachable, grace_seconds=GRACE, now=lambda: NOW)
    assert done.objects == ()
    assert store.get(OID) == DATA


def test_P09_without_rows_and_writers_garbage_is_gone(tmp_path):
    world = World(tmp_path / "store", orphan=True)
    world.gc({})
    assert not world.store.has(OID)
