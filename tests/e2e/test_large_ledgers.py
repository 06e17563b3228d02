"""P34: what is paid for one answer or one edit stays what it was, however long the history is."""

from __future__ import annotations

import hashlib
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest

from bench.ledgers import again, made, pico
from ledger import Ledger, chain
from ledger.fields import stored
from ledger.records import ObjectRecord, Rows
from ledger.verify import verify_structure
from tests.e2e.harness import ROOT
from tests.sim.columns_editor import register
from tests.sim.ledger_sample import Sample
from tests.sim.tiny_ledger import FACTS, tiny_ledger

pytestmark = [pytest.mark.slow, pytest.mark.promise("P34")]

ENTRIES, EDITS = 100_000, 1_000
OBJECTS, OBJECT_BYTES = 10_000, 32_768
Figure = Callable[[str, str], None]


def lengthened(ledger: Ledger, count: int) -> None:
    """Tests without rows, one after the other, up to entry `count`."""
    last, rows = ledger.journal.last_entry(), []
    bare = {"op": "test", "edits": (), "rows_digest": chain.rows_digest([]), "note": ""}
    while last.seq < count:
        following = replace(last, **bare, seq=last.seq + 1, prev_hash=last.hash, hash="")
        following = replace(following, payload={"version": last.version, "means": {}})
        last = replace(following, hash=chain.entry_hash(stored(following)))
        rows.append(stored(last))
    with ledger.journal.database.write() as writing:
        for start in range(0, len(rows), 1000):
            writing.insert("entry", rows[start : start + 1000])


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with 500 edits and 100,000 entries."""
    folder = tmp_path_factory.mktemp("long")
    made(folder / "ledger", 500, base=pico(folder / "base"))
    with Ledger.open(folder / "ledger") as ledger:
        lengthened(ledger, ENTRIES)
    return folder / "ledger"


def processor_seconds(ledger: Path, *words: str) -> float:
    """Of a command in a process of its own, which other programs disturb less than the clock."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "cli.main", "--ledger", str(ledger), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_reading_a_ledger_of_a_hundred_thousand_entries_takes_less_than_a_second(
    long: Path, figure: Figure
) -> None:
    search = ("facts", "--search", "Person 7 ")
    asked = (("log", "-n", "20"), ("show", "40"), ("status",), ("diff", "HEAD~5", "HEAD"), search)
    taken = {words[0]: median(processor_seconds(long, *words) for _ in range(3)) for words in asked}
    assert max(taken.values()) < 1.0, taken
    told = ", ".join(f"{name} {value:.2f} s" for name, value in taken.items())
    figure("P34", f"100,000 entries: {told} (at most 1 s)")


def test_a_history_of_a_hundred_thousand_entries_verifies(long: Path) -> None:
    with Ledger.open(long) as ledger:
        assert verify_structure(ledger.journal, ledger.store) == []


def test_ten_thousand_objects_are_verified_in_less_than_half_a_minute(
    tmp_path: Path, figure: Figure
) -> None:
    sample, source = Sample.create(tmp_path), random.Random(1)
    records = []
    for _ in range(OBJECTS):
        data = source.randbytes(OBJECT_BYTES)
        oid = hashlib.sha256(data).hexdigest()
        path = sample.store.path(oid)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        records.append(ObjectRecord(oid=oid, kind="delta", size=len(data)))
    sample.journal.append("test", rows=Rows(objects=tuple(records)))
    start = time.process_time()
    assert verify_structure(sample.journal, sample.store) == []
    taken = time.process_time() - start
    sample.close()
    assert taken < 30
    figure("P34", f"verify of 10,000 objects of 32 KB {taken:.1f} s, at most 30 s")


def test_the_thousandth_append_costs_as_much_as_the_tenth(tmp_path: Path, figure: Figure) -> None:
    base, costs = pico(tmp_path / "base"), []
    for count in (10, EDITS):
        with Ledger.open(made(tmp_path / str(count), count, base=base)) as ledger:
            append, taken = again(ledger), []
            for _ in range(60):
                start = time.process_time()
                append()
                taken.append(time.process_time() - start)
            costs.append(median(taken))
    assert costs[1] < 2 * costs[0]
    figure("P34", f"append at edit 1,000 beside edit 10: {costs[1] / costs[0]:.2f}x, at most 2x")


def resident() -> int:
    """Bytes in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_a_thousand_edits_leave_no_memory_file_or_hook_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    register(monkeypatch)
    with tiny_ledger(tmp_path) as ledger:

        def edited(first: int, last: int) -> None:
            facts = [replace(FACTS[n % 3], subject=f"Ulm {n}") for n in range(first, last)]
            for _ in ledger.edit_many(facts, batch=10, method="columns", gate=None):
                pass

        edited(0, 100)
        before, files = resident(), len(os.listdir("/proc/self/fd"))
        edited(100, 100 + EDITS)
        grown = (resident() - before) / 2**20
        assert len(os.listdir("/proc/self/fd")) == files
        modules = ledger.workspace.live.model.model.modules()
        assert not [m for m in modules if m._forward_hooks or m._forward_pre_hooks]
    assert grown < 20
    figure("P34", f"1,000 edits, ten at a time: {grown:.1f} MB more in memory, at most 20 MB")
