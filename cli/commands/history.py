"""`kel history`: how reliability, locality and drift moved from version to version.

Promise: shows what was measured and recorded; only --measure computes.

    kel history
    kel history --measure --csv history.csv
    kel history plot --out history.svg
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.invocation import Invocation, changing, common
from cli.layout import Table, numbers
from cli.output import Item

if TYPE_CHECKING:
    from ledger.ageing import HistoryView

_MEASURE = click.option(
    "--measure", is_flag=True, help="Test the versions that have no numbers, and record them."
)
_NUMBERS = ("reliability", "locality", "drift")


@click.group(invoke_without_command=True)
@_MEASURE
@click.option("--csv", metavar="FILE.csv", type=click.Path(dir_okay=False, path_type=Path),
              help="Write the numbers.")  # fmt: skip
@common
def command(invocation: Invocation, measure: bool, csv: Path | None) -> int:
    """Show how the edits fared from version to version."""
    if click.get_current_context().invoked_subcommand is not None:
        if measure or csv is not None:
            raise click.UsageError("Give --measure after plot; --csv goes without it.")
        return 0
    view = _view(invocation, measure)
    if csv is not None:
        from ledger.ageing_plot import write_csv

        write_csv(view, csv)
        invocation.output.note(f"written: {csv}")
    return invocation.emit("history", view, _layout(view))


@command.command("plot")
@click.option("--out", metavar="FILE.svg|png|pdf", default="history.svg", show_default=True,
              type=click.Path(dir_okay=False, path_type=Path), help="The picture.")  # fmt: skip
@_MEASURE
@common
def plot(invocation: Invocation, out: Path, measure: bool) -> int:
    """Draw it, reverts marked; the numbers are written beside the picture (FILE.csv)."""
    from ledger.ageing_plot import draw, write_csv

    view = _view(invocation, measure)
    draw(view, out)
    written = out.with_suffix(".csv")
    write_csv(view, written)
    invocation.output.note(f"drawn: {out}, numbers: {written}")
    return invocation.emit("history.plot", {"picture": out, "numbers": written}, ())


def _view(invocation: Invocation, measure: bool) -> HistoryView:
    with changing(invocation) as ledger, invocation.output.progress("measure") as bar:
        return ledger.history(measure=measure, progress=bar.stage)


def _layout(view: HistoryView) -> Iterator[Item]:
    rows = [
        (
            f"v{row.version}",
            row.op,
            numbers(row.edits),
            str(row.active),
            *(_number(getattr(row, name)) for name in _NUMBERS),
            row.source or "-",
        )
        for row in view.versions
    ]
    headings = ("version", "change", "edits", "active", *_NUMBERS, "measured by")
    yield Table(headings, rows, right=(3, 4, 5, 6))
    if view.unmeasured:
        yield (f"{len(view.unmeasured)} versions have no numbers: kel history --measure",)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
