"""Doing a run: every record of every cell that has no row yet.

Promise: a run that was cut short goes on where it was and ends with the rows it would have had,
times aside; parts of one run, done by several processes, make one run.

Rules: records of single edits and batches are dealt out step by step, sequences as a whole.

    run(load("thesis/fig2-5"), Path("runs/fig2-5"), shard=(1, 1)).rows
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from editors.methods import get_editor
from ledger.errors import InvalidInput
from ledger.evaluation.scoring import protocol
from ledger.runs.config import NONE, Cell, Config, settings_of
from ledger.runs.facts import Named, facts
from ledger.runs.ledgers import Ledgers
from ledger.runs.rows import RETENTION, Key, Row, Rows, RunFolder
from ledger.runs.sequences import Sequence as Edits
from ledger.runs.trials import Trial, Trials
from ledger.settings import Settings

Progress = Callable[[str, int, int], None] | None


@dataclass(frozen=True)
class RunView:
    """Where a run stands: rows that are there, of all parts, and rows that are to be there.

    `done`: rows that this call added; `skipped`: what is wrong with records that were left out.
    """

    folder: str
    rows: int
    wanted: int
    done: int
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """What is computed at once, and its row or rows are written at once."""

    cell: Cell
    places: tuple[int, ...]
    family: str | None = None  # of a sequence: one family at a time

    def keys(self, families: Sequence[str]) -> list[Key]:
        """The rows it makes."""
        cell = (self.cell.model.name, self.cell.data.name, self.cell.method.name)
        kinds = families if self.family is None else (self.family,)
        return [(*cell, str(self.cell.mode), n, kind) for n in self.places for kind in kinds]


def run(
    config: Config,
    folder: Path,
    *,
    shard: tuple[int, int] = (1, 1),
    progress: Progress = None,
) -> RunView:
    """Do what is left of a run (or of one part of it).

    `progress` is told the cell of every step that is done, how many are, and how many were left.
    Raises: Conflict for a folder of another run; InvalidInput, InvalidHparams, UnknownMethod and
    what `Ledger.init` raises for a configuration that cannot be run.
    """
    place = RunFolder(folder)
    for method in config.methods:
        if settings_of(method) is not None:
            get_editor(method.method)
    read = {data.name: facts(data, config.seed) for data in config.data}
    named = {name: found for name, (found, _) in read.items()}
    skipped = tuple(line for _, lines in read.values() for line in lines)
    steps = list(_steps(config, {name: len(found) for name, found in named.items()}))
    stored = {**config.to_json(), "protocol": protocol()}
    wanted = sum(len(step.keys(config.families)) for step in steps)
    with (
        place.opened(stored, shard, wanted) as rows,
        contextlib.closing(Ledgers(config, place)) as ledgers,
    ):
        before = len(rows.known)
        own = _share(steps, shard)
        left = [s for s in own if not rows.known.issuperset(s.keys(config.families))]
        work, done = _Work(config, rows, named, ledgers), 0
        for cell, part in groupby(left, key=lambda step: step.cell):
            with work.cell(cell) as do:
                for step in part:
                    do(step)
                    done += 1
                    if progress is not None:
                        progress(cell.name, done, len(left))
        new = len(rows.known) - before
        return RunView(str(place.root), len(rows.known), wanted, new, skipped)


def part_of_process() -> tuple[int, int] | None:
    """The part that `torchrun` gives this process, if it was started by it with others."""
    size = os.environ.get("WORLD_SIZE", "1")
    rank = os.environ.get("RANK", "0")
    if not (size.isdecimal() and rank.isdecimal() and int(rank) < int(size)):
        raise InvalidInput(f"RANK is {rank!r} and WORLD_SIZE {size!r}; torchrun sets both")
    return (int(rank) + 1, int(size)) if int(size) > 1 else None


# --- steps --------------------------------------------------------------------------------------


def _steps(config: Config, sizes: Mapping[str, int]) -> Iterator[Step]:
    for cell in config.cells():
        count = sizes[cell.data.name]
        if cell.mode.name != "sequential" or cell.method.method == NONE:
            size = cell.mode.size
            for start in range(0, count, size):
                yield Step(cell, tuple(range(start, min(start + size, count))))
            continue
        marks = {max(1, round(share * count)) for share in config.marks}
        for n in range(count):
            yield Step(cell, (n,), "answers")
            if n + 1 in marks:
                yield Step(cell, (n + 1,), RETENTION)


def _share(steps: Sequence[Step], shard: tuple[int, int]) -> list[Step]:
    """Part i of n: every n-th step, every n-th sequence."""
    cells = [cell for cell, _ in groupby(steps, key=lambda step: step.cell.name)]
    number = {name: place for place, name in enumerate(cells)}
    whole = {step.cell.name for step in steps if step.family is not None}
    chosen = []
    for place, step in enumerate(steps):
        turn = number[step.cell.name] if step.cell.name in whole else place
        if turn % shard[1] == shard[0] - 1:
            chosen.append(step)
    return chosen


# --- work ---------------------------------------------------------------------------------------


class _Work:
    """How steps become rows."""

    def __init__(
        self,
        config: Config,
        rows: Rows,
        facts: Mapping[str, Sequence[Named]],
        ledgers: Ledgers,
    ) -> None:
        self._config, self._rows, self._facts, self._ledgers = config, rows, facts, ledgers

    @contextlib.contextmanager
    def cell(self, cell: Cell) -> Iterator[Callable[[Step], None]]:
        """What does the steps of a cell."""
        settings = settings_of(cell.method)
        if cell.mode.name != "sequential" or settings is None:
            trials = Trials(self._ledgers.base(cell, settings), self._config.families)
            yield lambda step: self._tried(trials, settings, step)
            return
        with self._ledgers.sequence(cell, settings) as ledger:
            edits = Edits(ledger, settings)
            yield lambda step: self._edited(edits, step)

    def _tried(self, trials: Trials, settings: Settings | None, step: Step) -> None:
        requests = [self._facts[step.cell.data.name][n].request for n in step.places]
        found = trials.edited(requests, settings) if settings else trials.unedited(requests)
        rows = [
            self._row(step.cell, place, family, trial)
            for place, by_family in zip(step.places, found, strict=True)
            for family, trial in by_family.items()
        ]
        self._rows.append(rows)

    def _edited(self, edits: Edits, step: Step) -> None:
        facts, (place,) = self._facts[step.cell.data.name], step.places
        if step.family == RETENTION:
            metrics = edits.retention([record.request for record in facts[:place]])
            trial = Trial("retested", metrics)
        else:
            trial = edits.step(place, facts[place].request)
        self._rows.append([self._row(step.cell, place, step.family or "", trial)])

    def _row(self, cell: Cell, place: int, family: str, trial: Trial) -> Row:
        name = "" if family == RETENTION else self._facts[cell.data.name][place].name
        return Row(
            model=cell.model.name,
            data=cell.data.name,
            method=cell.method.name,
            mode=str(cell.mode),
            place=place,
            family=family,
            record=name,
            **vars(trial),
        )
