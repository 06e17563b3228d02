"""What is read and computed for one answer does not grow with the history.

Counts, not times: they are the same on any machine, so a cost that grows shows at once.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.ledgers import again, grow, made, pico
from ledger import Ledger
from ledger.carried import MANY, Carried, Change
from ledger.history import History
from ledger.opened import OpenedLedger
from ledger.sqlite import Snapshot
from ledger.verify import verify_structure

pytestmark = pytest.mark.promise("P34")

SMALL, LARGE = 50, 500


@pytest.fixture(scope="module")
def ledgers(tmp_path_factory) -> dict[int, Path]:
    """Ledgers of different lengths on one base."""
    folder = tmp_path_factory.mktemp("scaling")
    base = pico(folder / "base")
    return {count: made(folder / str(count), count, base=base) for count in (SMALL, LARGE)}


@contextmanager
def counted(patch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How many statements are run and how many rows they give."""
    found: Counter[str] = Counter()
    stream = Snapshot.stream

    def counting(self, sql, /, **parameters):
        found["statements"] += 1
        for row in stream(self, sql, **parameters):
            found["rows"] += 1
            yield row

    with patch.context() as patched:
        patched.setattr(Snapshot, "stream", counting)
        yield found


def cost(ledger: Path, ask: Callable[[OpenedLedger], object], patch) -> dict[str, int]:
    """What one question costs on a ledger that was just opened."""
    with OpenedLedger.open(ledger) as opened, counted(patch) as found:
        ask(opened)
    return dict(found)


@pytest.mark.parametrize(
    "ask",
    [
        lambda ledger: ledger.log(20),
        lambda ledger: ledger.tips(),
        lambda ledger: ledger.journal.entry_of(40),
        lambda ledger: ledger.journal.edit("40"),
        lambda ledger: ledger.show("40"),
        lambda ledger: ledger.resolve("HEAD~2"),
        lambda ledger: ledger.diff("HEAD~2", "HEAD"),
        lambda ledger: ledger.diff("v30", "v20"),
        lambda ledger: ledger.facts(search="Person 7 "),
        lambda ledger: list(ledger.journal.entries_of_kind("test")),
        lambda ledger: ledger.journal.predictions("p1", ["a", "b"]),
    ],
    ids=[
        *("log", "tips", "entry", "edit", "show", "resolve", "diff"),
        *("diff back", "search", "kind", "predictions"),
    ],
)
def test_a_question_about_little_reads_as_much_of_a_long_history_as_of_a_short_one(
    ledgers, monkeypatch, ask
):
    small, large = (cost(ledgers[count], ask, monkeypatch) for count in (SMALL, LARGE))
    assert large["statements"] == small["statements"]
    # Tags and reverts are few.
    assert large.get("rows", 0) <= small.get("rows", 0) + LARGE // 10


def test_an_append_reads_as_much_of_a_long_history_as_of_a_short_one(
    ledgers, tmp_path, monkeypatch
):
    costs = []
    for count, folder in ledgers.items():
        shutil.copytree(folder, tmp_path / str(count))
        with Ledger.open(tmp_path / str(count)) as ledger:
            ledger.journal.history()
            append = again(ledger)
            with counted(monkeypatch) as found:
                append()
        costs.append(dict(found))
    assert costs[0]["statements"] == costs[1]["statements"] < 20
    assert costs[0]["rows"] == costs[1]["rows"] < 40


def test_a_process_that_stays_reads_how_all_edits_stand_once_for_each_entry(
    ledgers, tmp_path, monkeypatch
):
    shutil.copytree(ledgers[LARGE], tmp_path / "ledger")
    with Ledger.open(tmp_path / "ledger") as ledger:
        append, before = again(ledger), ledger.status()
        with counted(monkeypatch) as found:
            assert ledger.status() == before
        assert found["rows"] < LARGE // 10
        append()
        assert ledger.status().active == (*before.active, LARGE + 1)


def plan(ledger: OpenedLedger, sql: str) -> str:
    with ledger.journal.database.read() as snapshot:
        return " ".join(row["detail"] for row in snapshot.query(f"EXPLAIN QUERY PLAN {sql}"))


@pytest.mark.parametrize(
    ("sql", "index"),
    [
        ("SELECT * FROM entry WHERE version = 3 ORDER BY seq LIMIT 1", "ix_entry_version"),
        ("SELECT edits FROM entry WHERE op = 'reject' ORDER BY seq", "ix_entry_op"),
        ("SELECT id FROM edit WHERE valid_until < '2026-01-01'", "ix_edit_valid_until"),
        (
            "SELECT id FROM edit WHERE subject IN (SELECT value FROM json_each('[\"a\"]'))",
            "ix_edit_subject",
        ),
        (
            "SELECT * FROM prediction WHERE prompt IN (SELECT value FROM json_each('[\"a\"]'))"
            " AND +model_id = 1 AND protocol = 'p'",
            "ix_prediction_prompt",
        ),
    ],
)
def test_what_is_looked_for_is_found_by_its_index(ledgers, sql, index):
    with OpenedLedger.open(ledgers[SMALL]) as ledger:
        assert index in plan(ledger, sql)


def test_a_made_ledger_is_one_that_verification_accepts_down_to_the_weights(ledgers):
    with Ledger.open(ledgers[SMALL]) as ledger:
        assert ledger.verify(weights=True) == []
        ops = Counter(entry.op for entry in ledger.journal.entries())
        assert ops["apply"] == SMALL
        assert ops["revert"] and ops["reapply"]


def test_an_empty_ledger_is_grown_in_one_transaction(tmp_path):
    base = pico(tmp_path / "base")
    with Ledger.init(tmp_path / "ledger", base=str(base), author="bench") as ledger:
        with pytest.raises(ZeroDivisionError):
            grow(ledger, 5, told=lambda number: 1 // (number - 3))
        assert ledger.journal.last_entry().seq == 1
        assert verify_structure(ledger.journal, ledger.store)[0].code == "object.garbage"


def test_a_history_that_grows_entry_by_entry_is_the_history_of_all_of_them():
    entries = [Change(1, 0, "init", ())]
    for edit in range(1, 3 * MANY):
        entries.append(Change(edit + 1, edit, "apply", (edit,)))
    whole, grown, kept = History(entries), History(), []
    for place, entry in enumerate(entries):
        grown = grown.after([entry])
        if place % 400 == 399:
            kept.append((place, grown))
    assert grown.changes == whole.changes
    assert grown.active() == whole.active()
    for place, old in kept:
        assert (old.head, old.active()) == (place, tuple(range(1, place + 1)))


def test_what_is_added_is_kept_beside_what_is_settled(monkeypatch):
    carried = Carried()
    for edit in range(2 * MANY):
        carried = carried.copy()
        carried.add(Change(edit + 2, edit + 1, "apply", (edit,)))
        carried.settle()
        assert len(carried._late) < MANY
    assert carried.count == 2 * MANY
    assert carried.after(MANY) == frozenset(range(MANY))
    assert carried.after(MANY + 5) == frozenset(range(MANY + 5))
