"""What the commands that look into the model share: options, files and pictures.

Promise: a picture has its numbers beside it, in a file of the same name that ends in .csv.
Rules: `--stored` shows an analysis of the ledger again and computes nothing.

    view = stored(ledger, "trace", files) or ledger.trace(facts)
    written(invocation, view, files)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.invocation import Callback, Invocation
from cli.layout import Table, pairs
from cli.output import Span
from cli.requests import DATA_FILE

if TYPE_CHECKING:
    from ledger import Ledger
    from ledger.views import AnalysisView

_PATH = click.Path(dir_okay=False, path_type=Path)
FACTS = click.option(
    "--from",
    "source",
    metavar="FILE",
    type=DATA_FILE,
    help="Requests, as for kel edit.",
)
LIMIT = click.option(
    "--limit", metavar="N", type=click.IntRange(min=1), help="Only the first N of FILE."
)
AT = click.option("--at", metavar="V", default="HEAD", show_default=True, help="The version.")


@dataclass(frozen=True)
class Wanted:
    """Where the result is to go beside the terminal, and whether it is computed at all."""

    plot: Path | None
    csv: Path | None
    stored: int | None


def analysing(function: Callback) -> Callback:
    """The options of a command that looks into the model."""
    for option in (
        click.option("-m", "--note", metavar="NOTE", default="", help="Why; kept in the history."),
        click.option("--dry-run", is_flag=True, help="Show it; record nothing."),
        click.option("--stored", metavar="ENTRY", type=click.IntRange(min=0),
                     help="Show what entry ENTRY of kel log recorded; 0 is the newest of its "
                          "kind. Nothing is computed."),
        click.option("--csv", metavar="FILE.csv", type=_PATH, help="Write the numbers."),
        click.option("--plot", metavar="FILE.png|svg|pdf", type=_PATH,
                     help="Draw it, and write the numbers beside it (FILE.csv)."),
    ):  # fmt: skip
        function = option(function)
    return function


def wanted(options: dict[str, Any]) -> Wanted:
    """Take the options of `analysing` but note and dry run out of `options`."""
    return Wanted(options.pop("plot"), options.pop("csv"), options.pop("stored"))


def stored(ledger: Ledger, kind: str, files: Wanted) -> AnalysisView | None:
    """The stored analysis that is asked for, if one is."""
    return None if files.stored is None else ledger.analysis(kind, files.stored or None)


def requests(source: Path, limit: int | None) -> list[Any]:
    """The requests of a file, or the first of them."""
    from itertools import islice

    from ledger.evaluation.datasets import read_requests

    return list(islice(read_requests(source), limit))


def written(invocation: Invocation, view: AnalysisView, files: Wanted) -> None:
    """Write the files that are asked for: the numbers first, then the picture."""
    from ledger.analysis.tables import write_csv

    for path in dict.fromkeys([files.csv, files.plot and files.plot.with_suffix(".csv")]):
        if path is not None:
            write_csv(view, path)
            invocation.output.note(f"written: {path}")
    if files.plot is not None:
        from ledger.analysis.plots import draw

        draw(view, files.plot)
        invocation.output.note(f"drawn: {files.plot}")


def heading(view: AnalysisView, text: str) -> tuple[Span | str, ...]:
    """The first line: what it is, of which versions, and where it is kept."""
    versions = ", ".join(f"v{version}" for version in view.versions)
    kept = "not recorded" if view.entry is None else f"entry {view.entry}"
    return (Span(versions, "bold"), f"  {text}  ", Span(f"({kept})", "dim"))


def layer_table(first: str, rows: Iterable[tuple[str, list[str]]]) -> Table:
    """Rows with one column a layer."""
    found = [(name, *cells) for name, cells in rows]
    depth = max((len(row) for row in found), default=1) - 1
    headings = (first, *(str(layer) for layer in range(depth)))
    return Table(headings, found, right=tuple(range(1, depth + 1)), indent=2)


def figures(view: AnalysisView) -> Table:
    """The figures that are kept as measurements."""
    return pairs([(name, f"{value:.4g}") for name, value in view.metrics.items()], indent=2)
