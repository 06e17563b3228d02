"""`kel revert`, `kel reapply` and `kel undo`: take edits out and put them back.

Promise: a version without an edit has the bits of one that never had it; an edit that is put back
takes its old place, so the bits are those of before as well. What a revert means for the facts that
stay in a batch is said, measured and recorded.

    kel revert 2 5
    kel revert --resolve-batch 2
    kel undo
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from cli.commands.interference import told
from cli.invocation import Callback, Invocation, changing, common
from cli.layout import metrics, numbers, short
from cli.output import Item, Span
from cli.retested import differences, table

if TYPE_CHECKING:
    from ledger.views import ChangeOutcome, TestView

REJECTED = 3
_DONE = MappingProxyType({"revert": "reverted", "reapply": "reapplied"})


def note_option(function: Callback) -> Callback:
    return click.option(
        "-m", "--note", default="", metavar="NOTE", help="Why; kept in the history."
    )(function)


@click.command()
@click.argument("edits", metavar="ID...", nargs=-1, required=True)
@click.option(
    "--resolve-batch",
    is_flag=True,
    help="Solve what stays of their batch again, as if ID had never been in it.",
)
@click.option(
    "--ridge",
    metavar="X",
    type=click.FloatRange(min=0),
    help="With --resolve-batch: the ridge of the system, instead of the method's own.",
)
@click.option(
    "--no-gate", is_flag=True, help="With --resolve-batch: apply it whatever the measurements say."
)
@click.option("--dry-run", is_flag=True, help="Say which edits would move; take nothing out.")
@click.option("--no-retest", is_flag=True, help="Do not measure what stays of their batch again.")
@note_option
@common
def revert(
    invocation: Invocation,
    edits: tuple[str, ...],
    resolve_batch: bool,
    ridge: float | None,
    no_gate: bool,
    no_retest: bool,
    dry_run: bool,
    note: str,
) -> int:
    """Take the edits ID out of the model, exactly, in any order.

    Of a batch, the other facts keep the columns that were computed together with ID, and are
    measured again; --resolve-batch gives them new ones, and new numbers.
    """
    if resolve_batch:
        if no_retest:
            raise click.UsageError("--resolve-batch measures in any case: leave --no-retest out.")
        if dry_run:
            raise click.UsageError("--resolve-batch has no --dry-run.")
        return _resolve(invocation, edits, ridge, no_gate, note)
    if ridge is not None or no_gate:
        flag = "--no-gate" if no_gate else "--ridge"
        raise click.UsageError(f"{flag} goes with --resolve-batch.")
    with changing(invocation) as ledger:
        outcome = ledger.revert(edits, note=note, retest=not no_retest, dry_run=dry_run)
    return invocation.emit("revert", outcome, _layout(outcome))


def _resolve(
    invocation: Invocation, edits: tuple[str, ...], ridge: float | None, no_gate: bool, note: str
) -> int:
    options: dict[str, Any] = {"gate": None} if no_gate else {}
    with changing(invocation) as ledger:
        outcome = ledger.resolve_batch(edits, note=note, ridge=ridge, **options)
    refused = outcome.resolved is not None and outcome.resolved.outcome == "rejected"
    return invocation.emit("revert", outcome, _layout(outcome), REJECTED if refused else 0)


@click.command()
@click.argument("edits", metavar="ID...", nargs=-1, required=True)
@note_option
@common
def reapply(invocation: Invocation, edits: tuple[str, ...], note: str) -> int:
    """Put the reverted edits ID back in their old places."""
    with changing(invocation) as ledger:
        outcome = ledger.reapply(edits, note=note)
    return invocation.emit("reapply", outcome, _layout(outcome))


@click.command()
@note_option
@common
def undo(invocation: Invocation, note: str) -> int:
    """Take back the last change.

    An edit, a revert, a reapply, a resolve, a tag, a branch, a switch or a merge.
    """
    with changing(invocation) as ledger:
        outcome = ledger.undo(note=note)
    return invocation.emit("undo", outcome, _layout(outcome))


def _layout(outcome: ChangeOutcome) -> Iterator[Item]:
    if outcome.resolved is not None and outcome.resolved.outcome == "rejected":
        yield (Span("rejected", "red"), ": nothing was taken out")
        yield from ((Span("  why  ", "red"), reason) for reason in outcome.resolved.reasons)
        return
    if outcome.disturbs:
        yield (Span("  move without it ", "yellow"), told(outcome.disturbs))
    if outcome.dry_run:
        moved = "nothing was taken out" if outcome.disturbs else "no other edit would move"
        yield (Span("dry run", "yellow"), f": {moved}")
        return
    yield _line(outcome)
    yield from ((Span("  note ", "yellow"), text) for text in outcome.notes)
    if outcome.resolved is not None:
        yield (Span(f"  {metrics(outcome.resolved.metrics)}", "dim"),)
    if outcome.retest is not None:
        yield from _retested(outcome.retest, outcome.edits)
    elif outcome.notes and outcome.resolved is None:
        yield (Span(f"  {_hint(outcome.edits)}", "dim"),)


def _retested(view: TestView, reverted: tuple[int, ...]) -> Iterator[Item]:
    """The facts that stay: those that changed, and what can be done about it."""
    changed = [row for row in view.rows if differences(row)]
    alike = len(view.rows) - len(changed)
    yield (f"  tested again: {len(changed)} changed, {alike} as right after the edit",)
    if changed:
        yield table(changed)
    yield (Span(f"  {_hint(reverted)}", "dim"),)


def _hint(reverted: tuple[int, ...]) -> str:
    names = " ".join(str(edit) for edit in reverted)
    return f"kel revert --resolve-batch {names} solves the rest of the batch again"


def _done(outcome: ChangeOutcome) -> str:
    """'reverted 1-3'; of a swap 'reverted 4, 5 and reapplied 1-3'."""
    if outcome.op != "swap":
        return f"{_DONE[outcome.op]} {numbers(outcome.edits)}"
    gone = [edit for edit in outcome.edits if edit not in set(outcome.back)]
    done = (("reverted", gone), ("reapplied", outcome.back))
    return " and ".join(f"{word} {numbers(edits)}" for word, edits in done if edits)


def _line(outcome: ChangeOutcome) -> Item:
    if outcome.tag:
        return (
            "tag ",
            Span(outcome.tag, "green"),
            " is again what it was before",
        )
    if outcome.op == "branch":
        return ("branch ", Span(outcome.branch or "", "green"), " is again what it was before")
    return (
        f"{_what(outcome)}, now ",
        Span(f"v{outcome.version}", "bold"),
        Span(f"  weights {short(outcome.weights_digest)}", "dim"),
    )


def _what(outcome: ChangeOutcome) -> str:
    if outcome.op == "switch":
        return f"back on {outcome.branch}"
    if outcome.op == "merge":
        return f"as before the last merge of {outcome.branch}"
    return _done(outcome)
