"""Earlier edits that are measured again while another one is made, told one by one.

Promise: an edit is told once, right after it was measured; whoever is told cannot change a number.

    ledger.edit(request, retested=lambda found: print(found.edit, found.verdict, found.done))
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Final

from ledger.inspection import fact_line
from ledger.records import EditRecord

HOLDS: Final = 1.0  # an edit holds while every token of its target is the argmax
Told = Callable[[EditRecord, float], None]


@dataclass(frozen=True)
class Retest:
    """One earlier edit, number `done` of `total`; `before` and `now` are its reliability.

    verdict: `holds`; `lost` by the new edit; `missing` if it did not hold before either;
    `superseded` if its fact is stated anew, so that it is meant to stop holding.
    """

    edit: int
    fact: str
    before: float
    now: float
    verdict: str
    done: int
    total: int

    @property
    def share(self) -> float:
        """How much of the re-test is done."""
        return self.done / self.total


Retested = Callable[[Retest], None] | None


def telling(
    retested: Retested, held: Mapping[int, float], standing: Collection[int]
) -> Told | None:
    """What is told of each edit of `held` (edit -> reliability before) to `retested`.

    `standing`: those whose fact nothing states anew.
    """
    if retested is None:
        return None
    numbers, kept = count(1), frozenset(standing)

    def told(edit: EditRecord, now: float) -> None:
        before = held[edit.id]
        word = _verdict(before, now, edit.id in kept)
        retested(Retest(edit.id, fact_line(edit), before, now, word, next(numbers), len(held)))

    return told


def _verdict(before: float, now: float, standing: bool) -> str:
    if now >= HOLDS:
        return "holds"
    if not standing:
        return "superseded"
    return "lost" if before >= HOLDS else "missing"
