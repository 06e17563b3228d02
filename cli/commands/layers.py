"""`kel layers`: which layers the rules choose over a file of facts.

Promise: mean, standard deviation and histogram of every rule, and how often another wording moves
the choice; nothing is edited.

    kel layers --from facts.jsonl --plot layers.png
    kel layers --from facts.jsonl --rule layerwise:2-6 --rule wilke --limit 20
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.analysed import (
    AT,
    FACTS,
    LIMIT,
    analysing,
    heading,
    layer_table,
    requests,
    stored,
    wanted,
    written,
)
from cli.invocation import Invocation, changing, common
from cli.layout import Table
from cli.output import Item, Span

if TYPE_CHECKING:
    from ledger.views import AnalysisView


@click.command()
@FACTS
@LIMIT
@AT
@click.option("--rule", "rules", metavar="RULE", multiple=True, show_default=True,
              default=("static", "layerwise", "layerwise-raw"),
              help="A rule of kel edit --layer; any number of times.")  # fmt: skip
@analysing
@common
def command(invocation: Invocation, source: Path | None, limit: int | None, **options: Any) -> int:
    """Compare the layers that the rules choose over a file of facts."""
    files = wanted(options)
    if (source is None) == (files.stored is None):
        raise click.UsageError("Give --from FILE, or --stored ENTRY.")
    with changing(invocation) as ledger, invocation.output.progress("layers") as bar:
        view = stored(ledger, "layers", files)
        if view is None:
            facts = requests(source, limit) if source else []
            view = ledger.layers(facts, progress=bar.stage, **options)
    written(invocation, view, files)
    return invocation.emit("layers", view, _layout(view))


def _layout(view: AnalysisView) -> Iterator[Item]:
    rules = view.content["rules"]
    yield heading(view, f"{len(view.content['prompts'])} facts")
    rows = [
        (
            rule["rule"],
            f"{rule['mean']:.2f}",
            f"{rule['sd']:.2f}",
            str(rule["mode"]),
            *_wording(rule["wording"]),
        )
        for rule in rules
    ]
    headings = ("rule", "mean", "sd", "mode", "same in other words", "mean move")
    yield Table(headings, rows, right=(1, 2, 3, 4, 5), indent=2)
    yield (Span("facts by layer", "bold"),)
    yield layer_table("rule", ((r["rule"], [str(n) for n in r["histogram"]]) for r in rules))


def _wording(found: dict[str, Any] | None) -> tuple[str, str]:
    return ("", "") if found is None else (f"{found['same']:.2f}", f"{found['mean_move']:.2f}")
