"""`kel stats`: the second moments that covariance-based methods need.

Promise: what is measured is stored with its corpus and count; edits use the newest.

    kel stats --layer 3 --tokens 100000
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.invocation import Invocation, changing, common
from cli.layout import Table, short
from cli.output import Item

if TYPE_CHECKING:
    from ledger.views import StatsView


@click.command()
@click.option(
    "--layer",
    metavar="N",
    type=click.IntRange(min=0),
    help="The layer (default: the one that rome edits).",
)
@click.option(
    "--corpus",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A text file; without it the embedded world, or texts sampled from the model.",
)
@click.option("--tokens", metavar="N", type=click.IntRange(min=1), help="Read N tokens of it.")
@common
def command(
    invocation: Invocation, layer: int | None, corpus: Path | None, tokens: int | None
) -> int:
    """Measure the second moment of a layer's keys; edits use the newest."""
    with changing(invocation) as ledger, invocation.output.progress("stats") as bar:
        views = ledger.stats(layer, corpus, tokens, progress=bar.stage)
    return invocation.emit("stats", {"stats": views}, _layout(views))


def _layout(views: Sequence[StatsView]) -> Iterator[Item]:
    rows = [
        (
            str(view.layer),
            view.parameter,
            str(view.count),
            short(view.moment),
            short(view.factor),
            view.corpus,
        )
        for view in views
    ]
    headings = ("layer", "parameter", "keys", "moment", "factor", "corpus")
    yield Table(headings, rows, right=(0, 2))
