"""`kel trace`: causal tracing of one fact or of a file of facts.

Promise: which hidden states, MLP and attention outputs, restored, bring the answer of a corrupted
subject back; kept in the ledger, where `kel edit --layer traced` finds it.

    kel trace --subject "Ada Lovelace" --prompt "{} was born in"
    kel trace --from facts.jsonl --limit 100 --plot trace.png
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
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
    stored,
    wanted,
    written,
)
from cli.invocation import Invocation, changing, common
from cli.output import Item, Span

if TYPE_CHECKING:
    from ledger.views import AnalysisView


@click.command()
@click.option("--subject", metavar="S", help="What or whom the prompt is about.")
@click.option("--prompt", metavar="P", help="The text before the answer; {} is S.")
@click.option("--answer", metavar="A", help="The traced answer; else what the model says.")
@FACTS
@LIMIT
@AT
@click.option("--sigmas", metavar="X", type=float, default=3.0, show_default=True,
              help="Noise, in standard deviations of the subjects' embeddings.")  # fmt: skip
@click.option("--draws", metavar="N", type=click.IntRange(min=1), default=10, show_default=True,
              help="How often noise is drawn.")  # fmt: skip
@click.option("--window", metavar="N", type=click.IntRange(min=1),
              help="Layers of MLP and attention restored together; else 10 of 48.")  # fmt: skip
@click.option("--seed", metavar="N", type=int, default=0, show_default=True, help="Of the noise.")
@analysing
@common
def command(
    invocation: Invocation,
    source: Path | None,
    limit: int | None,
    subject: str | None,
    prompt: str | None,
    answer: str | None,
    **options: Any,
) -> int:
    """Find the states that carry a fact: corrupt its subject, restore states one by one."""
    files = wanted(options)
    with changing(invocation) as ledger, invocation.output.progress("trace") as bar:
        view = stored(ledger, "trace", files)
        if view is None:
            facts = _facts(source, limit, subject, prompt, answer)
            view = ledger.trace(facts, progress=bar.stage, **options)
    written(invocation, view, files)
    return invocation.emit("trace", view, _layout(view))


def _facts(
    source: Path | None,
    limit: int | None,
    subject: str | None,
    prompt: str | None,
    answer: str | None,
) -> list[Any]:
    from ledger.options import Asked

    if source is not None:
        if subject or prompt or answer:
            raise click.UsageError("--from and --subject, --prompt, --answer exclude each other.")
        return list(islice(_asked(source), limit))
    if subject is None or prompt is None:
        raise click.UsageError("Give --subject and --prompt, or --from FILE.")
    return [Asked(subject, prompt, answer)]


def _asked(source: Path) -> Iterator[Any]:
    """What a model is expected to say already: the answer that an edit replaces, or, of a file of
    known facts, their targets."""
    from ledger.evaluation.datasets import Record, read_records
    from ledger.options import Asked

    for record in read_records(source, strict=True):
        if isinstance(record, Record):
            for request in record.requests:
                asked = Asked.of(request)
                yield replace(asked, answer=request.target_new) if record.known else asked


def _layout(view: AnalysisView) -> Iterator[Item]:
    content = view.content
    facts, out = content["facts"], len(content["left_out"])
    what = facts[0]["prompt"] if len(facts) == 1 else f"{len(facts)} facts"
    yield heading(view, what + (f", {out} left out: the model does not say them" if out else ""))
    yield figures(view)
    for kind, grid in content["effects"].items():
        yield (Span(f"indirect effect, {kind}", "bold"),)
        rows = zip(content["rows"], grid, strict=True)
        yield layer_table(
            "", ((row, [f"{round(x, 2) + 0.0:.2f}" for x in line]) for row, line in rows)
        )
