"""The ledgers a run works in: one for each model, and one for each sequence of edits.

Promise: a ledger is there whole or not at all, whatever was killed while it was made; processes
that share a run make and measure nothing twice.

Rules: on a model's ledger nothing is recorded but second moments; a sequence begins with a copy of
it. One model is loaded at a time.

    with closing(Ledgers(config, folder)) as ledgers:
        Trials(ledgers.base(cell, settings))
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from editors.methods import get_editor
from ledger.layout import DATABASE
from ledger.ledger import Ledger
from ledger.placing import Placing
from ledger.runs.config import Cell, Config
from ledger.runs.facts import write_probes
from ledger.runs.rows import RunFolder
from ledger.settings import Settings

_AUTHOR: Final = "kel bench"
_LOCK: Final = "ledgers"


class Ledgers:
    """The ledgers in the folder of a run."""

    def __init__(self, config: Config, place: RunFolder) -> None:
        self._config, self._place = config, place
        self._root = place.root / "ledgers"
        self._open: tuple[str, Ledger] | None = None

    def close(self) -> None:
        """Close the model's ledger that is open."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def base(self, cell: Cell, settings: Settings | None) -> Ledger:
        """The ledger of a cell's model, with the second moments that the method asks for.

        It stays open until another is asked for. Raises: as `Ledger.init` and `Ledger.stats`.
        """
        name = _name(cell)
        if self._open is None or self._open[0] != name:
            self.close()
            self._open = name, Ledger.open(self._made(cell, name), author=_AUTHOR)
        ledger = self._open[1]
        if settings is not None:
            self._prepare(ledger, cell, settings)
        return ledger

    @contextlib.contextmanager
    def sequence(self, cell: Cell, settings: Settings) -> Iterator[Ledger]:
        """The ledger of a sequence, as far as it has come."""
        folder = self._root / cell.name.replace("/", "@")
        if not folder.exists():
            self.base(cell, settings)
            self.close()
            draft = self._draft(folder)
            with self._place.locked(_LOCK, wait=True):
                _copy(self._root / _name(cell), draft)
            draft.rename(folder)
        self.close()
        with Ledger.open(folder, author=_AUTHOR) as ledger:
            yield ledger

    def _made(self, cell: Cell, name: str) -> Path:
        model, folder = cell.model, self._root / name
        with self._place.locked(_LOCK, wait=True):
            if folder.exists():
                return folder
            draft = self._draft(folder)
            asked = self._place.root / f"probes-{cell.data.name}.jsonl"
            Ledger.init(
                draft,
                base=model.base,
                revision=model.revision,
                dtype=model.dtype,
                device=_device(model.device),
                probes=write_probes(cell.data, self._config.seed, asked),
                author=_AUTHOR,
                seed=self._config.seed,
            ).close()
            draft.rename(folder)
        return folder

    def _prepare(self, ledger: Ledger, cell: Cell, settings: Settings) -> None:
        """Measure the second moments that are missing, once for all processes.

        A rule for the layer may ask for any; without a corpus those are measured when asked for.
        """
        model, workspace = cell.model, ledger.workspace
        hparams, _ = Placing(workspace).hparams(settings, facts=cell.mode.size)
        needed = get_editor(settings.method).needs(hparams)
        given = model.corpus is not None or model.tokens is not None
        if settings.rule is not None and needed:
            needed = frozenset(range(workspace.live.model.n_layers) if given else ())
        with self._place.locked(_LOCK, wait=True):
            missing = [n for n in sorted(needed) if not workspace.statistics.used(n)]
            if missing and given:
                corpus = None if model.corpus is None else Path(model.corpus)
                ledger.stats(missing, corpus=corpus, tokens=model.tokens)
            elif missing:
                workspace.statistics.second_moments(missing)

    def _draft(self, folder: Path) -> Path:
        """An empty place beside a ledger's; what a killed run left there is gone."""
        draft = folder.with_name(f".{folder.name}.draft")
        if draft.exists():
            shutil.rmtree(draft)
        folder.parent.mkdir(parents=True, exist_ok=True)
        return draft


def _name(cell: Cell) -> str:
    """Of the ledger that all cells of a model share, as far as they ask the same probes."""
    name = cell.model.name
    return name if cell.data.probes is None else f"{name}@{cell.data.name}"


def _device(device: str) -> str:
    """Of several processes on one machine, each takes the device of its number."""
    local = os.environ.get("LOCAL_RANK", "")
    return f"cuda:{local}" if device == "cuda" and local.isdecimal() else device


def _copy(source: Path, target: Path) -> None:
    """A ledger's copy: objects are never written again, so they may be shared."""
    shutil.copytree(source, target, copy_function=_linked, ignore=_database)
    old, new = (sqlite3.connect(folder / DATABASE) for folder in (source, target))
    with contextlib.closing(old), contextlib.closing(new):
        old.backup(new)
        new.execute("PRAGMA journal_mode = WAL")


def _database(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(DATABASE)]


def _linked(source: str, target: str) -> str:
    if f"{os.sep}objects{os.sep}" in source:
        with contextlib.suppress(OSError):
            os.link(source, target)
            return target
    return str(shutil.copy2(source, target))
