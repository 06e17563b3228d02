"""Rebasing a ledger: a new ledger on another base, from the facts active in this one.

Promise: the old ledger is read and nothing else; the same command goes on where a killed one was.

    view = rebase(source, Target("models/new"), Path("patched-on-new"), RebaseOptions(), "ada")
    view.counts, view.survived
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from ledger.layout import LedgerFolder
from ledger.options import Progress
from ledger.rebasing.carrying import Carrying
from ledger.rebasing.conflicts import disputes
from ledger.rebasing.line import Target, line, make, opened
from ledger.rebasing.report import counts_of, report
from ledger.rebasing.source import Source
from ledger.rebasing.views import RebaseOptions, RebaseRow, RebaseView


def rebase(
    source: Source,
    target: Target,
    place: Path,
    options: RebaseOptions,
    author: str,
    *,
    progress: Progress = None,
    told: Callable[[RebaseRow], None] | None = None,
) -> RebaseView:
    """Carry the source's facts over into the ledger at `place`, made or gone on with.

    `told` is called with each fact that is settled. Raises: Conflict (another ledger is there),
    StoreWriteError (something else is there); as `init` and `edit`.
    """
    with line(place, source, target, options, author) as made:
        Carrying(source, made, options, author, progress).run(told)
        return report(made.journal, made.folder.root)


def foresee(
    source: Source, target: Target, place: Path, options: RebaseOptions, author: str
) -> RebaseView:
    """What `rebase` would try, told from the new base alone; nothing is left on the disk."""
    with TemporaryDirectory(prefix="kel-rebase-") as folder:
        root = make(Path(folder) / "line", source, target, options, author).root
        with opened(LedgerFolder(root), author) as made:
            rows = tuple(Carrying(source, made, options, author).foreseen())
            found = report(made.journal, place)
    return replace(found, rows=rows, counts=counts_of(rows), conflicts=disputes(rows), dry_run=True)
