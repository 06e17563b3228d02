"""`kel rebase`: the facts of this ledger as a new ledger on another base.

Promise: the old ledger stays as it is, to the byte; exit 0 when every fact is in the new model at
the end, 1 when some are not. What is settled stays settled: the same command goes on after a kill.

    kel rebase --onto models/new --dry-run
    kel rebase --onto models/new --into patched-on-new
    kel rebase --report --ledger patched-on-new
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.documents import plain
from cli.errors import Interrupted
from cli.invocation import Invocation, common, opened
from cli.layout import fact, metrics, numbers, pairs, short
from cli.output import Item, Span
from cli.requests import LAYER, assignments, gate_options, limits

if TYPE_CHECKING:
    from ledger import Ledger
    from ledger.rebasing.views import RebaseOptions, RebaseRow, RebaseView

_STYLE = {"known": "yellow", "kept": "green", "recomputed": "green", "failed": "red"}
_SHOWN = ("reliability", "generalization", "locality")


@click.command()
@click.option("--onto", metavar="BASE", help="The new base: a folder, a model of the Hub, or demo.")
@click.option("--revision", metavar="R", help="Commit, branch or tag of the new base on the Hub.")
@click.option(
    "--into",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the new ledger (default: beside this one, named from it and the base).",
)
@click.option(
    "--from",
    "at",
    metavar="V",
    default="HEAD",
    show_default=True,
    help="The version whose facts are carried over.",
)
@click.option("--method", metavar="M", help="For all facts, in place of the one each was made by.")
@click.option(
    "--batch",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    help="With --method: give it N facts at a time (without: the batches they were made in).",
)
@click.option("--layer", metavar="N|RULE", type=LAYER, help="The layer to edit, as of kel edit.")
@click.option(
    "--set",
    "assigned",
    metavar="NAME=VALUE",
    multiple=True,
    help="A hyper-parameter of the method; any number of times.",
)
@click.option("--keep-known", is_flag=True, help="Edit also what the new base states already.")
@click.option(
    "--corpus",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Texts to measure second moments of the new base on (default: those of the old base, "
    "where they can be made again, else as of kel stats).",
)
@click.option("--device", metavar="D", help="Where it is computed (default: as here).")
@click.option("--dtype", metavar="D", help="What the model computes in (default: as here).")
@gate_options
@click.option("--dry-run", is_flag=True, help="Ask the new base, say what would be tried.")
@click.option("--report", is_flag=True, help="What became of the facts, in a ledger made by this.")
@common
def command(
    invocation: Invocation,
    *,
    onto: str | None,
    into: Path | None,
    at: str,
    revision: str | None,
    device: str | None,
    dtype: str | None,
    dry_run: bool,
    report: bool,
    **given: Any,
) -> int:
    """Make a new ledger on another base from the facts of this one.

    What the new base states already is left to it, a stored change that fits is kept, the rest is
    computed again by its own method and has to pass the gate. The ledger here is only read.
    """
    if report == (onto is not None):
        raise click.UsageError("Give either --onto BASE or --report.")
    if report:
        with opened(invocation) as ledger:
            return _emit(invocation, ledger.rebase_report(), rows=True)
    options = _options(given)
    with opened(invocation) as ledger:
        place = into or ledger.rebase_place(str(onto), revision)
        wanted: dict[str, Any] = {"revision": revision, "device": device, "dtype": dtype}
        with _standing(place):
            view = _run(invocation, ledger, str(onto), place, at, options, dry_run, wanted)
    return _emit(invocation, view, rows=dry_run)


def _options(given: Mapping[str, Any]) -> RebaseOptions:
    gate, overrides = limits(given), assignments(given["assigned"])
    if given["batch"] > 1 and given["method"] is None:
        raise click.UsageError("--batch goes with --method.")
    from ledger.evaluation.gates import Gate
    from ledger.rebasing.views import RebaseOptions

    return RebaseOptions(
        method=given["method"],
        batch=given["batch"],
        layer=given["layer"],
        overrides=overrides,
        gate=None if gate is None else Gate(**gate),
        keep_known=given["keep_known"],
        corpus=given["corpus"],
    )


def _run(
    invocation: Invocation,
    ledger: Ledger,
    onto: str,
    place: Path,
    at: str,
    options: RebaseOptions,
    dry_run: bool,
    wanted: Mapping[str, Any],
) -> RebaseView:
    with invocation.output.progress("rebase") as bar:

        def told(row: RebaseRow) -> None:
            if not invocation.json:
                invocation.output.line(*_line(row))

        return ledger.rebase(
            onto, place, at, options=options, dry_run=dry_run, progress=bar.stage, told=told,
            **wanted,
        )  # fmt: skip


@contextlib.contextmanager
def _standing(place: Path) -> Iterator[None]:
    """After an interrupt the new ledger is asked how far it came."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise Interrupted(_how_far(place)) from interrupt


def _how_far(place: Path) -> str:
    from ledger import Ledger
    from ledger.errors import LedgerError

    try:
        with Ledger.open(place) as made:
            view = made.rebase_report()
    except LedgerError:
        return "no new ledger was made"
    return (
        f"{len(view.rows)} of {view.facts} facts are settled in {place}, which is at version "
        f"{view.version}; the same command goes on from there"
    )


def _emit(invocation: Invocation, view: RebaseView, *, rows: bool) -> int:
    """The result; with `rows` also the facts, which a rebase that ran has told one by one."""
    status = 0 if view.survived or view.dry_run else 1
    listed = map(_line, view.rows) if rows else ()
    return invocation.emit("rebase", view, (*listed, *_layout(view)), status)


def _line(row: RebaseRow) -> tuple[Span | str, ...]:
    edit = "-" if row.edit is None else str(row.edit)
    measured = {name: row.metrics[name] for name in _SHOWN if name in row.metrics}
    told = "; ".join(row.reasons) or metrics(measured)
    return (
        Span(f"{row.outcome:<10}", _STYLE[row.outcome]),
        f"{row.source:>5} -> {edit:<5} {fact(plain(row.request))}",
        Span(f"  {told}" if told else "", "dim"),
    )


def _layout(view: RebaseView) -> Iterator[Item]:
    yield (Span(_headline(view), "bold"),)
    entry, old = view.source["entry"], view.source["base"]
    yield pairs(
        [
            ("ledger", "" if view.dry_run else view.directory),
            ("from", f"version {view.source['version']} of {short(entry['hash'])} on {old['id']}"),
            ("onto", f"{view.base['id']} {view.base['revision'] or ''}"),
            ("facts", _counted(view)),
        ],
        indent=2,
    )
    yield from ((Span("  note      ", "yellow"), text) for text in view.notes)
    yield from (
        (Span("  conflict  ", "yellow"), f"edit {numbers(item.sources)}: {item.text}")
        for item in view.conflicts
    )
    yield from (
        (Span("  LOST      ", "red"), f"edit {row.source}: {fact(plain(row.request))}")
        for row in view.rows
        if row.holds is False and row.outcome != "failed"
    )


def _headline(view: RebaseView) -> str:
    if view.dry_run:
        return f"{view.facts} facts would be carried over; nothing was written"
    if not view.done:
        return f"{len(view.rows)} of {view.facts} facts are settled"
    missing = view.counts["failed"] + view.counts["lost"]
    return f"{view.facts - missing} of {view.facts} facts are in the new model"


def _counted(view: RebaseView) -> str:
    return ", ".join(f"{count} {name}" for name, count in view.counts.items() if count)
