"""`kel resolve`: all active edits, solved again at once.

Promise: nothing is optimised again; the gate decides as for an edit, and a batch that it refuses
changes nothing (exit 3).

    kel resolve --dry-run
    kel resolve -m "before the release"
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from cli.commands.changes import REJECTED, note_option
from cli.invocation import Invocation, changing, common
from cli.layout import metrics, numbers
from cli.output import Item, Span

if TYPE_CHECKING:
    from ledger.views import ChangeOutcome


@click.command()
@click.option("--dry-run", is_flag=True, help="Solve and measure, and record nothing.")
@click.option(
    "--ridge",
    metavar="X",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Ridge of the system; above 0 keys are met less exactly.",
)
@click.option("--no-gate", is_flag=True, help="Apply it whatever the measurements say.")
@note_option
@common
def command(invocation: Invocation, dry_run: bool, ridge: float, no_gate: bool, note: str) -> int:
    """Solve all active edits again at once, from their stored keys and values.

    One batch takes the place of the edits of the same parameters; its facts get new numbers.
    """
    options: dict[str, Any] = {"gate": None} if no_gate else {}
    with changing(invocation) as ledger:
        outcomes = ledger.resolve_active(note=note, ridge=ridge, dry_run=dry_run, **options)
    refused = any(o.resolved is not None and o.resolved.outcome == "rejected" for o in outcomes)
    content = {"outcomes": outcomes}
    return invocation.emit("resolve", content, outcomes_shown(outcomes), REJECTED if refused else 0)


def outcomes_shown(outcomes: Sequence[ChangeOutcome]) -> Iterator[Item]:
    """What became of each batch."""
    for outcome in outcomes:
        batch = outcome.resolved
        if batch is None:
            continue
        colour = "red" if batch.outcome == "rejected" else "green"
        yield (Span(batch.outcome, colour), f"  {len(batch.edits)} facts in one batch, at ",
               Span(f"v{outcome.version}", "bold"),
               f", in place of {numbers(outcome.edits)}" if outcome.edits else "")  # fmt: skip
        yield from ((Span("  why  ", "red"), reason) for reason in batch.reasons)
        yield from ((Span("  note ", "yellow"), text) for text in outcome.notes)
        yield (Span(f"  {metrics(batch.metrics)}", "dim"),)
