"""`kel lens`: what each layer would say if the model stopped there.

Promise: each layer's most probable token, and probability and rank of watched words; several
versions stand side by side.

    kel lens "Ada Lovelace was born in" --watch London --watch Paris --at base --at HEAD
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from cli.analysed import analysing, heading, stored, wanted, written
from cli.invocation import Invocation, changing, common
from cli.layout import Table
from cli.output import Item, Span

if TYPE_CHECKING:
    from ledger.views import AnalysisView


@click.command()
@click.argument("prompt", required=False)
@click.option("--watch", "words", metavar="WORD", multiple=True,
              help="A word to follow; any number of times. Else what the model says.")  # fmt: skip
@click.option("--at", metavar="V", multiple=True, default=("HEAD",), show_default=True,
              help="A version; any number of times.")  # fmt: skip
@analysing
@common
def command(invocation: Invocation, prompt: str | None, **options: Any) -> int:
    """Read the answer of every layer to PROMPT (logit lens)."""
    files = wanted(options)
    if (prompt is None) == (files.stored is None):
        raise click.UsageError("Give a PROMPT, or --stored ENTRY.")
    with changing(invocation) as ledger:
        view = stored(ledger, "lens", files) or ledger.lens(prompt or "", **options)
    written(invocation, view, files)
    return invocation.emit("lens", view, _layout(view))


def _layout(view: AnalysisView) -> Iterator[Item]:
    yield heading(view, view.content["prompt"])
    for reading in view.content["readings"]:
        yield (Span(f"version {reading['version']}", "bold"),)
        words = reading["words"]
        names = [name for word in words for name in (word["word"], "rank", "gap")]
        rows = [
            (
                str(layer),
                token,
                f"{chance:.3f}",
                *(
                    cell
                    for word in words
                    for cell in (
                        f"{word['chance'][layer]:.3f}",
                        str(word["rank"][layer]),
                        f"{word['gap'][layer]:.3f}",
                    )
                ),
            )
            for layer, (token, chance) in enumerate(
                zip(reading["tokens"], reading["chance"], strict=True)
            )
        ]
        right = (0, *range(2, 3 + 3 * len(words)))
        yield Table(("layer", "says", "p", *names), rows, right=right, indent=2)
