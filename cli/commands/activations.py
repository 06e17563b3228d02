"""`kel activations`: how many MLP units are active, layer by layer.

Promise: the counts, the layer that a rule chooses, and how suddenly they rise there (FDV, RDSP,
RMP); over a file, means and shares.

    kel activations "Ada Lovelace was born in" --plot active.png
    kel activations --from facts.jsonl
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
    figures,
    heading,
    layer_table,
    requests,
    stored,
    wanted,
    written,
)
from cli.invocation import Invocation, changing, common
from cli.output import Item

if TYPE_CHECKING:
    from ledger.views import AnalysisView


@click.command()
@click.argument("prompt", required=False)
@FACTS
@LIMIT
@AT
@click.option("--threshold", metavar="X", type=float, default=0.085, show_default=True,
              help="Above it a unit is active.")  # fmt: skip
@click.option("--layer", metavar="RULE", default="layerwise-raw", show_default=True,
              help="The rule for the layer: static, layerwise or layerwise-raw.")  # fmt: skip
@click.option("--jump", metavar="N", type=click.IntRange(min=1),
              help="A large rise, in units; else 500 of 14336.")  # fmt: skip
@analysing
@common
def command(
    invocation: Invocation,
    prompt: str | None,
    source: Path | None,
    limit: int | None,
    **options: Any,
) -> int:
    """Count the active MLP units of every layer at the end of PROMPT, or of each of a file."""
    files = wanted(options)
    given = sum(item is not None for item in (prompt, source, files.stored))
    if given != 1:
        raise click.UsageError("Give a PROMPT, --from FILE or --stored ENTRY.")
    with changing(invocation) as ledger:
        view = stored(ledger, "activations", files)
        if view is None:
            texts = [r.text for r in requests(source, limit)] if source else [prompt or ""]
            view = ledger.activations(texts, **options)
    written(invocation, view, files)
    return invocation.emit("activations", view, _layout(view))


def _layout(view: AnalysisView) -> Iterator[Item]:
    prompts = view.content["prompts"]
    what = prompts[0]["prompt"] if len(prompts) == 1 else f"{len(prompts)} prompts"
    yield heading(view, f"{what}, units above {view.settings['threshold']:g}")
    rows = [("mean" if len(prompts) > 1 else "units", [f"{x:.0f}" for x in view.content["mean"]])]
    if len(prompts) > 1:
        rows.append(("sd", [f"{x:.0f}" for x in view.content["sd"]]))
    yield layer_table("layer", rows)
    if len(prompts) == 1:
        yield (f"  {view.settings['layer']} chooses layer {prompts[0]['layer']}",)
    yield figures(view)
