"""`kel merge`: bring what a branch changed into the current one.

Promise: nothing is decided silently: facts that both sides changed, and edits that the other side
moves far, are shown, and refused (exit 5) until they are decided; the gate decides on the rest.

    kel merge trial --dry-run
    kel merge trial --take 7 --ours
    kel merge trial --resolve
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from cli.commands.changes import REJECTED, note_option
from cli.commands.interference import told
from cli.commands.resolve import outcomes_shown
from cli.invocation import Invocation, changing, common
from cli.layout import Table, metrics, number, numbers, short
from cli.output import Item, Span
from cli.retested import differences, table

if TYPE_CHECKING:
    from ledger.branches import Contradiction, MergeView

_CONFLICT = 5


@click.command()
@click.argument("name", metavar="NAME")
@click.option("--dry-run", is_flag=True, help="Say what would come and go, and measure it.")
@click.option("--ours", is_flag=True, help="Of facts that both changed, keep those of here.")
@click.option("--theirs", is_flag=True, help="Of facts that both changed, take those of NAME.")
@click.option(
    "--take", metavar="ID", multiple=True, help="Of the fact of edit ID, this edit. Repeatable."
)
@click.option(
    "--threshold",
    metavar="X",
    type=click.FloatRange(min=0),
    help="Ask about edits that the other side moves by more than X [default: 0.4].",
)
@click.option("--allow-interference", is_flag=True, help="Merge although edits are moved so far.")
@click.option("--resolve", is_flag=True, help="Solve all edits again at once, in the same command.")
@click.option(
    "--ridge",
    metavar="X",
    type=click.FloatRange(min=0),
    help="With --resolve: the ridge of the system [default: 0].",
)
@click.option("--no-gate", is_flag=True, help="Merge whatever the measurements say.")
@note_option
@common
def command(
    invocation: Invocation,
    name: str,
    dry_run: bool,
    ours: bool,
    theirs: bool,
    take: tuple[str, ...],
    threshold: float | None,
    allow_interference: bool,
    resolve: bool,
    ridge: float | None,
    no_gate: bool,
    note: str,
) -> int:
    """Bring into the current branch what NAME changed since both were one.

    Edits that only one side has are carried; an edit that one side took out stays out. A fact that
    both changed to different ends, and edits that the other side moves far, are shown and refused
    (exit 5) until they are decided. NAME stays as it is.
    """
    if ours and theirs:
        raise click.UsageError("--ours or --theirs, not both; --take ID decides one fact.")
    if ridge is not None and not resolve:
        raise click.UsageError("--ridge goes with --resolve.")
    options: dict[str, Any] = {"gate": None} if no_gate else {}
    with changing(invocation) as ledger:
        view = ledger.merge(
            name,
            take=take,
            rest="ours" if ours else "theirs" if theirs else None,
            allow_interference=allow_interference,
            threshold=threshold,
            resolve=resolve,
            ridge=ridge or 0.0,
            dry_run=dry_run,
            note=note,
            **options,
        )
    status = {"conflict": _CONFLICT, "rejected": REJECTED}.get(view.outcome, 0)
    return invocation.emit("merge", view, _layout(view), status)


def _layout(view: MergeView) -> Iterator[Item]:
    if view.outcome == "up to date":
        yield (f"{view.into} has all of {view.branch} (v{view.theirs}) already",)
        return
    yield _headline(view)
    yield from _comes_and_goes(view)
    yield from _contradictions(view)
    yield from _moved(view)
    yield from ((Span("  why  ", "red"), reason) for reason in view.reasons)
    yield from ((Span("  note ", "yellow"), text) for text in view.notes)
    if view.broken:
        yield (Span(f"  no longer hold: {numbers(view.broken)}", "yellow"),)
    changed = [row for row in view.rows if differences(row)]
    if changed:
        yield table(changed)
    yield from outcomes_shown(view.resolved)
    if view.metrics and not view.resolved:
        yield (Span(f"  {metrics(view.metrics)}", "dim"),)


def _headline(view: MergeView) -> Item:
    style = {"merged": "green", "dry-run": "yellow"}.get(view.outcome, "red")
    what = f" {view.branch} (v{view.theirs}) into {view.into}, common version v{view.common}"
    if view.outcome != "merged":
        left = "" if view.outcome == "dry-run" else "; nothing was merged"
        return (Span(view.outcome, style), f": {what.strip()}{left}")
    return (
        Span("merged", style),
        f"{what}, now ",
        Span(f"v{view.version}", "bold"),
        Span(f"  weights {short(view.weights_digest)}", "dim"),
    )


def _comes_and_goes(view: MergeView) -> Iterator[Item]:
    for label, edits in (
        ("comes", view.added),
        ("goes", view.removed),
        ("left out", view.left_out),
    ):
        if edits:
            yield (Span(f"  {label} ", "dim"), numbers(edits))


def _contradictions(view: MergeView) -> Iterator[Item]:
    if not view.conflicts:
        return
    yield (f"  facts that both sides changed since v{view.common}:",)
    rows = [
        (
            item.prompt.replace("{}", item.subject),
            item.before or "-",
            _stated(item.ours, item.ours_object),
            _stated(item.theirs, item.theirs_object),
            _decided(item),
        )
        for item in view.conflicts
    ]
    headings = ("fact", f"v{view.common}", f"here ({view.into})", view.branch, "")
    yield Table(headings, rows, indent=2)
    if any(item.chosen is None for item in view.conflicts):
        yield (Span("  decide with --take ID, --ours or --theirs", "yellow"),)


def _stated(edit: int | None, text: str | None) -> str:
    return "taken out" if edit is None else f"{edit}: {text}"


def _decided(item: Contradiction) -> Span:
    if item.chosen is None:
        return Span("undecided", "red")
    return Span({"ours": "here", "theirs": "theirs"}[item.chosen], "green")


def _moved(view: MergeView) -> Iterator[Item]:
    if not view.moved:
        return
    yield (f"  edits that the other side moves by more than {view.threshold:g}:",)
    rows = [(str(row.edit), number(row.drift), row.fact, told(row.by)) for row in view.moved]
    yield Table(("edit", "moved", "fact", "most by"), rows, right=(0, 1), indent=2)
    if view.outcome == "conflict":
        text = "--resolve solves all edits again; --allow-interference merges them as they are"
        yield (Span(f"  {text}", "yellow"),)
