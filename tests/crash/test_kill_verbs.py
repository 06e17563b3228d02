"""P1 for verbs that need a model: a merge or a rebase that is killed at any point can be done.

Each is killed once at every named point that it passes. Then the ledger verifies, weights and all,
and the same command leads to the bits of an undisturbed one. What a re-solve writes are entries of
their own: killed between them, it leaves the plain merge or the old edits taken out, as the history
says, and what is missing is done by the verbs that do it anyway.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ledger import Ledger
from ledger.rebasing.views import RebaseOptions
from tests.sim.columns_editor import register
from tests.sim.kills import Life, files, forked
from tests.sim.tiny_ledger import FACTS, tiny_ledger

pytestmark = pytest.mark.promise("P1")

COLUMNS = {"method": "columns", "gate": None}
FREE = {"threshold": 99, "gate": None}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Fact 1 on main and `trial`, there fact 2, on main fact 3; and a twin of the base."""
    folder = tmp_path_factory.mktemp("verbs")
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        with tiny_ledger(folder) as ledger:
            ledger.edit(FACTS[0], **COLUMNS)
            ledger.branch("trial")
            ledger.switch("trial")
            ledger.edit(FACTS[1], **COLUMNS)
            ledger.switch("main")
            ledger.edit(FACTS[2], **COLUMNS)
        shutil.copytree(folder / "base", folder / "twin")
        (folder / "twin" / "generation_config.json").write_text('{"max_length": 7}', "utf-8")
        yield folder


@dataclass(frozen=True)
class Place:
    """A ledger that a verb is to be killed in, and what there is beside it."""

    world: Path
    folder: Path

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger"

    @property
    def new(self) -> Path:
        return self.folder / "new"

    def renewed(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.world / "ledger", self.ledger)


def merge(place: Place) -> None:
    with Ledger.open(place.ledger, author="ann") as ledger:
        ledger.merge("trial", **FREE)


def merge_and_solve(place: Place) -> None:
    """And what a killed one left to do."""
    with Ledger.open(place.ledger, author="ann") as ledger:
        if ledger.merge("trial", resolve=True, **FREE).outcome == "up to date":
            status = ledger.status()
            if status.reverted:
                ledger.reapply([str(edit) for edit in status.reverted])
            ledger.resolve_active(gate=None)


def rebase(place: Place) -> None:
    with Ledger.open(place.ledger, author="ann") as ledger:
        ledger.rebase(str(place.world / "twin"), place.new, options=RebaseOptions(gate=None))


def run(place: Place, verb: Callable[[Place], None], kill_at: int | None = None):
    """Do it in a process of its own."""

    def work(life: Life) -> None:
        life.arm()
        verb(place)

    return forked(work, kill_at)


def ops(folder: Path) -> list[str]:
    """The history of a ledger that verifies, weights and all."""
    with Ledger.open(folder) as ledger:
        assert [found for found in ledger.verify(weights=True) if found.severity != "info"] == []
        return [entry.op for entry in ledger.journal.entries()]


def head(folder: Path) -> tuple[str, int]:
    """The bits of the head, and how many facts they hold."""
    with Ledger.open(folder) as ledger:
        return ledger.journal.last_entry().weights_digest, len(ledger.status().active)


@pytest.mark.parametrize(
    ("verb", "made", "adds"),
    [
        (merge, "ledger", ["merge"]),
        pytest.param(
            merge_and_solve, "ledger", ["merge", "revert", "apply"], marks=pytest.mark.slow
        ),
        pytest.param(rebase, "new", ["init", "apply", "apply", "rebase"], marks=pytest.mark.slow),
    ],
)
def test_P01_a_verb_that_is_killed_anywhere_verifies_and_gets_through(
    world: Path, tmp_path: Path, verb: Callable[[Place], None], made: str, adds: list[str], figure
):
    place, whole = Place(world, tmp_path / "killed"), Place(world, tmp_path / "whole")
    whole.renewed()
    before = ops(whole.ledger) if made == "ledger" else []
    names = run(whole, verb).passed
    assert ops(whole.folder / made) == before + adds
    assert {"write-begun", "inserted-entry", "write-flushed", "write-committed"} <= {*names}
    left = set()
    for kill_at in range(1, len(names) + 1):
        place.renewed()
        source = files(place.ledger)
        assert run(place, verb, kill_at).killed, names[kill_at - 1]
        target = place.folder / made
        there = ops(target) if target.exists() else []
        assert there == (before + adds)[: len(there)]
        left.add(len(there))
        run(place, verb)
        assert head(target) == head(whole.folder / made)
        assert ops(target)[: len(before)] == before
        if made == "new":
            assert ops(target) == adds
            assert {**files(place.ledger), **source} == files(place.ledger)
    assert left == set(range(len(before), len(before) + len(adds) + 1))
    figure("P1", f"{verb.__name__}: {{}} kills, whole or repeated to the same bits", len(names))
