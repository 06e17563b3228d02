"""`kel test`: measure the edits of a version again.

Promise: each edit beside what was measured right after it was made; exit 1 if one no longer holds.

    kel test
    kel test --at v3 1 2
    kel test --affected-by 7
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from cli.invocation import Invocation, changing, common
from cli.layout import metrics, pairs
from cli.output import Item, Span
from cli.retested import table

if TYPE_CHECKING:
    from ledger.views import TestView


@click.command()
@click.argument("edits", metavar="[ID]...", nargs=-1)
@click.option("--at", metavar="V", default="HEAD", show_default=True, help="The version.")
@click.option(
    "--affected-by",
    metavar="ID",
    help="Only the edits that ID moved by coming or going (kel interference ID).",
)
@click.option(
    "--threshold",
    metavar="X",
    type=click.FloatRange(min=0),
    help="With --affected-by: by more than X [default: 0.1].",
)
@common
def command(
    invocation: Invocation,
    edits: tuple[str, ...],
    at: str,
    affected_by: str | None,
    threshold: float | None,
) -> int:
    """Measure the edits ID (those that carry a fact) of a version again."""
    if threshold is not None and affected_by is None:
        raise click.UsageError("--threshold goes with --affected-by.")
    with changing(invocation) as ledger, invocation.output.progress("test") as bar:
        view = ledger.test(
            at, edits, progress=bar.stage, affected_by=affected_by, threshold=threshold
        )
    holds = all(row.holds or row.superseded_by is not None for row in view.rows)
    return invocation.emit("test", view, _layout(view), 0 if holds else 1)


def _layout(view: TestView) -> Iterator[Item]:
    held = sum(row.holds for row in view.rows)
    yield (Span(f"v{view.version}", "bold"), f": {held} of {len(view.rows)} edits hold")
    if not view.rows:
        return
    yield table(view.rows)
    since = f" since v{view.previous_version}" if view.previous_version is not None else ""
    yield pairs([("means", metrics(view.metrics)), (f"drift{since}", _signed(view))])


def _signed(view: TestView) -> str:
    return ", ".join(f"{name} {change:+.3f}" for name, change in view.drift.items())
