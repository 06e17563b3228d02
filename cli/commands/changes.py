"""`kel revert`, `kel reapply` and `kel undo`: take edits out and put them back.

Promise: a version without an edit has the bits of one that never had it; an edit that is put back
takes its old place, so the bits are those of before as well.

    kel revert 2 5
    kel undo
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import click

from cli.invocation import Callback, Invocation, changing, common
from cli.layout import numbers, short
from cli.output import Item, Span

if TYPE_CHECKING:
    from ledger.views import ChangeOutcome

_DONE = MappingProxyType({"revert": "reverted", "reapply": "reapplied"})


def _note(function: Callback) -> Callback:
    return click.option(
        "-m", "--note", default="", metavar="NOTE", help="Why; kept in the history."
    )(function)


@click.command()
@click.argument("edits", metavar="ID...", nargs=-1, required=True)
@_note
@common
def revert(invocation: Invocation, edits: tuple[str, ...], note: str) -> int:
    """Take the edits ID out of the model, exactly, in any order."""
    with changing(invocation) as ledger:
        outcome = ledger.revert(edits, note=note)
    return invocation.emit("revert", outcome, [_line(outcome)])


@click.command()
@click.argument("edits", metavar="ID...", nargs=-1, required=True)
@_note
@common
def reapply(invocation: Invocation, edits: tuple[str, ...], note: str) -> int:
    """Put the reverted edits ID back in their old places."""
    with changing(invocation) as ledger:
        outcome = ledger.reapply(edits, note=note)
    return invocation.emit("reapply", outcome, [_line(outcome)])


@click.command()
@_note
@common
def undo(invocation: Invocation, note: str) -> int:
    """Take back the last change (an edit, a revert, a reapply or a tag)."""
    with changing(invocation) as ledger:
        outcome = ledger.undo(note=note)
    return invocation.emit("undo", outcome, [_line(outcome)])


def _line(outcome: ChangeOutcome) -> Item:
    if outcome.tag:
        return (
            "tag ",
            Span(outcome.tag, "green"),
            " is again what it was before",
        )
    return (
        f"{_DONE[outcome.op]} {numbers(outcome.edits)}, now ",
        Span(f"v{outcome.version}", "bold"),
        Span(f"  weights {short(outcome.weights_digest)}", "dim"),
    )
