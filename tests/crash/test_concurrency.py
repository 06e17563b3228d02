"""P8: concurrent writers lose nothing and double nothing; readers never see a torn state.

Eight writers with ten edits each and two readers in the fast tier, 25 edits and 16 readers nightly.
"""

import itertools
import multiprocessing
import time
from pathlib import Path

import pytest

from ledger import chain
from ledger.errors import StaleVersion
from ledger.fields import stored
from ledger.verify import verify_structure
from tests.sim.ledger_sample import Sample, measurement

pytestmark = pytest.mark.promise("P8")

WRITERS = 8
PAUSE = 0.2  # between two looks of a reader, so that many of them leave the writers some time


def write(folder: Path, name: str, edits: int, barrier, results) -> None:
    """Apply facts, each computed again whenever somebody else was faster."""
    sample = Sample.open(folder)
    done, stale = [], 0
    barrier.wait()
    while len(done) < edits:
        try:
            done.append(sample.apply(f"{name}-{len(done)}", measurements=(measurement(),)).hash)
        except StaleVersion:
            stale += 1
    sample.close()
    results.put((name, done, stale))


def read(folder: Path, barrier, finished, results) -> None:
    """Verify snapshot after snapshot until the writers are done."""
    sample = Sample.open(folder)
    barrier.wait()
    wrong, heads = [], []
    while not finished.is_set():
        found = verify_structure(sample.journal, sample.store)
        wrong += [item for item in found if item.severity != "info"]
        heads.append(sample.journal.history().head)
        time.sleep(PAUSE)
    sample.close()
    results.put(("reader", wrong, heads))


@pytest.mark.parametrize(
    ("edits", "reading"), [(10, 2), pytest.param(25, 16, marks=pytest.mark.slow)]
)
def test_P08_every_edit_of_eight_writers_lands_once_and_the_chain_holds(
    tmp_path, new_place, edits, reading, figure
):
    Sample.create(tmp_path, new_place).close()
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(WRITERS + reading)
    finished, written, seen = context.Event(), context.Queue(), context.Queue()
    writers = [
        context.Process(target=write, args=(tmp_path, f"w{n}", edits, barrier, written))
        for n in range(WRITERS)
    ]
    readers = [
        context.Process(target=read, args=(tmp_path, barrier, finished, seen))
        for _ in range(reading)
    ]
    for process in (*writers, *readers):
        process.start()
    results = [written.get(timeout=300) for _ in writers]
    finished.set()
    observed = [seen.get(timeout=60) for _ in readers]
    for process in (*writers, *readers):
        process.join(timeout=60)
        assert process.exitcode == 0
    acknowledged = [item for _, done, _ in results for item in done]
    check_ledger(tmp_path, acknowledged, WRITERS * edits)
    for _, wrong, heads in observed:
        assert wrong == []
        assert heads == sorted(heads)
        assert heads
    kind = "SQLite" if new_place is None else "PostgreSQL"
    snapshots = sum(len(heads) for _, _, heads in observed)
    figure(
        "P8",
        f"{kind}, {WRITERS} writers x {edits} edits: {len(acknowledged)} of {WRITERS * edits}, "
        f"{sum(stale for *_, stale in results)} times told to compute again; {reading} readers "
        f"verified {snapshots} snapshots, 0 torn",
    )


def check_ledger(folder: Path, acknowledged: list[str], total: int) -> None:
    """Looks at the database only: numbers without gaps, each edit once, every hash right."""
    sample = Sample.open(folder)
    entries = sample.journal.entries()
    assert [entry.seq for entry in entries] == list(range(1, total + 2))
    assert [entry.version for entry in entries] == list(range(total + 1))
    for before, after in itertools.pairwise(entries):
        assert after.prev_hash == before.hash == chain.entry_hash(stored(before))
    assert sorted(acknowledged) == sorted(entry.hash for entry in entries[1:])
    edits = sample.journal.edits()
    assert [edit.id for edit in edits] == list(range(1, total + 1))
    assert len({edit.subject for edit in edits}) == total
    assert verify_structure(sample.journal, sample.store) == []
    sample.close()
