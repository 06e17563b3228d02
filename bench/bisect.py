"""Bisecting 1,000 versions beside rebuilding one of them.

Every version adds an edit to one matrix of the embedded model; one of them makes the model answer
something else. Both sides open the ledger anew, so both read the objects of 1,000 edits.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.clock import in_turns
from bench.given import Growing, update
from bench.live import LAYER, edited
from bench.table import Row
from editors.delta import LowRank
from ledger import EditRequest, Ledger

VERSIONS, ODD = 1000, 617
FACT = EditRequest("Varle Gilval", "{} was born in", "Lumora")
TINY = 1e-4  # of an update's size: nothing that the model says changes


def measure(folder: Path) -> list[Row]:
    """Cold, as a command would run, and in an open ledger."""
    name, shape = edited()
    with Ledger.init(folder / "ledger", base="demo", author="bench") as ledger:
        growing = Growing(ledger, name)
        for number in range(1, VERSIONS + 1):
            if number == ODD:
                ledger.edit(FACT, gate=None, layer=LAYER)
                (part,) = ledger.workspace.versions.parts([number])
                growing.made(part.changes[name])
            else:
                change = update(shape, number)
                growing.add(LowRank(change.u * TINY, change.v))
        return [
            _row(folder, "opened anew", None),
            _row(folder, "in an open ledger", ledger),
        ]


def _row(folder: Path, how: str, ledger: Ledger | None) -> Row:
    tried: list[int] = []

    def bisect(opened: Ledger) -> None:
        found = opened.bisect(FACT.text, good="0", bad=str(VERSIONS))
        if found.first_bad != ODD or not found.monotone:
            raise RuntimeError(f"found {found}")
        tried[:] = [len(found.steps)]

    def replay(opened: Ledger) -> None:
        if not opened.replay().matches:
            raise RuntimeError("the head does not fold to its digests")

    def anew(work: Callable[[Ledger], None]) -> Callable[[], None]:
        if ledger is not None:
            return lambda: work(ledger)

        def run() -> None:
            with Ledger.open(folder / "ledger") as opened:
                work(opened)

        return run

    searched, replayed = in_turns([anew(bisect), anew(replay)], repeats=3)
    what = f"bisect of {VERSIONS:,} versions, {tried[0]} tried, {how}"
    return Row("bisect", what, searched, "s", "replay of one", replayed)
