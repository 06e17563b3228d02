"""P8: concurrent writers lose nothing and double nothing; readers never see a torn state."""

import itertools
import multiprocessing
from pathlib import Path

import pytest

from ledger import chain
from ledger.errors import StaleVersion
from ledger.fields import stored
from ledger.verify import verify_structure
from tests.sim.ledger_sample import Sample, measurement

pytestmark = pytest.mark.promise("P8")

WRITERS, EDITS, READERS = 8, 10, 2


def write(folder: Path, name: str, barrier, results) -> None:
    """Apply `EDITS` facts, each computed again whenever somebody else was faster."""
    sample = Sample.open(folder)
    done, stale = [], 0
    barrier.wait()
    while len(done) < EDITS:
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
    sample.close()
    results.put(("reader", wrong, heads))


def test_P08_every_edit_of_eight_writers_lands_once_and_the_chain_holds(tmp_path, new_place):
    Sample.create(tmp_path, new_place).close()
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(WRITERS + READERS)
    finished, written, seen = context.Event(), context.Queue(), context.Queue()
    writers = [
        context.Process(target=write, args=(tmp_path, f"w{n}", barrier, written))
        for n in range(WRITERS)
    ]
    readers = [
        context.Process(target=read, args=(tmp_path, barrier, finished, seen))
        for _ in range(READERS)
    ]
    for process in (*writers, *readers):
        process.start()
    results = [written.get(timeout=120) for _ in writers]
    finished.set()
    observed = [seen.get(timeout=60) for _ in readers]
    for process in (*writers, *readers):
        process.join(timeout=60)
        assert process.exitcode == 0
    check_ledger(tmp_path, [item for _, done, _ in results for item in done])
    for _, wrong, heads in observed:
        assert wrong == []
        assert heads == sorted(heads)
        assert heads


def check_ledger(folder: Path, acknowledged: list[str]) -> None:
    """Looks at the database only: numbers without gaps, each edit once, every hash right."""
    sample = Sample.open(folder)
    entries = sample.journal.entries()
    total = WRITERS * EDITS
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
