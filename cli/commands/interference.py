"""`kel interference`: which edits disturb which, from the stored factors.

Promise: no model is run; a share is the change that one edit makes at another's key, in units of
what that one made there itself.

    kel interference
    kel interference 3 --threshold 0.05
    kel interference --plot interference.svg
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.invocation import Invocation, common, opened
from cli.layout import Table, number
from cli.output import Item, Span

if TYPE_CHECKING:
    from ledger.shares import InterferenceView, Share


@click.command()
@click.argument("edit", metavar="[ID]", required=False)
@click.option("--at", metavar="V", default="HEAD", show_default=True, help="The version.")
@click.option(
    "--threshold",
    metavar="X",
    type=click.FloatRange(min=0),
    help="Show shares above X [default: 0.1].",
)
@click.option(
    "--plot",
    metavar="FILE.svg",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw a heat map of all active edits (needs matplotlib).",
)
@common
def command(
    invocation: Invocation, edit: str | None, at: str, threshold: float | None, plot: Path | None
) -> int:
    """Show how far edits have moved what earlier ones wrote; of ID, what it moved."""
    if plot is not None and plot.suffix.lower() != ".svg":
        raise click.UsageError(f"--plot writes SVG: name the file {plot.stem}.svg.")
    with opened(invocation) as ledger:
        view = ledger.interference(edit, at=at, threshold=threshold, plot=plot)
    if plot is not None:
        invocation.output.note(f"written to {plot}")
    return invocation.emit("interference", view, _layout(view))


def told(shares: Sequence[Share]) -> str:
    """'12 by 0.310, 40 by 0.121'."""
    return ", ".join(f"{item.edit} by {number(item.share)}" for item in shares)


def _layout(view: InterferenceView) -> Iterator[Item]:
    if view.edit is not None:
        yield from _of_one(view)
        return
    moved = [row for row in view.rows if row.drift is not None and row.drift > view.threshold]
    without = sum(row.drift is None for row in view.rows)
    yield (
        Span(f"v{view.version}", "bold"),
        f": {len(moved)} of {len(view.rows)} edits were moved by more than {view.threshold:g}",
        Span(f", {without} have no key and cannot be told" if without else "", "dim"),
    )
    if moved:
        rows = [
            (str(row.edit), number(row.drift), row.fact, told(row.by) or "many small ones")
            for row in moved
        ]
        yield Table(("edit", "moved", "fact", "most by"), rows, right=(0, 1))


def _of_one(view: InterferenceView) -> Iterator[Item]:
    own = next((row for row in view.rows if row.edit == view.edit), None)
    yield (Span(f"edit {view.edit}", "bold"), f" at v{view.version}{'' if own else ', not active'}")
    if own is not None:
        drift = "has no key" if own.drift is None else f"has moved by {number(own.drift)}"
        yield (f"  {own.fact}: {drift}", Span(f"  {told(own.by)}" if own.by else "", "dim"))
    none = f"none by more than {view.threshold:g}"
    yield (f"  edits it moved: {told(view.disturbs) or none}",)
    if own is not None:
        yield (f"  edits that a revert would move: {told(view.revert) or none}",)
