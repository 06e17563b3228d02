"""`kel bisect`: after which edit did it break?

Promise: few versions are tried, and a change that came and went is told.

    kel bisect --probe "The capital of France is" --good base --bad HEAD
    kel bisect --run "python check.py" --good v3 --bad v40
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import TYPE_CHECKING

import click

from cli.invocation import Invocation, common, opened
from cli.layout import Table, numbers
from cli.output import Item, Span

if TYPE_CHECKING:
    from ledger.bisect import BisectView

_STYLE = MappingProxyType({"good": "green", "bad": "red", "skipped": "dim"})


@click.command()
@click.option("--probe", metavar="PROMPT", help="Ask this of each version.")
@click.option("--good", metavar="V", required=True, help="A version where all was well.")
@click.option("--bad", metavar="V", required=True, help="A later one where it is not.")
@click.option(
    "--expect", metavar="TEXT", help="The right answer; without it the one of the good version."
)
@click.option(
    "--run",
    metavar="CMD",
    help="Run CMD with the version's folder as last word: exit 0 is good, 125 skips, to 127 bad.",
)
@common
def command(
    invocation: Invocation,
    probe: str | None,
    good: str,
    bad: str,
    expect: str | None,
    run: str | None,
) -> int:
    """Find the version after which an answer, or a command, went wrong."""
    if (probe is None) == (run is None):
        raise click.UsageError("Give either --probe or --run.")
    with opened(invocation) as ledger, invocation.output.progress("bisect") as bar:
        view = ledger.bisect(probe, good=good, bad=bad, expect=expect, run=run, progress=bar.stage)
    return invocation.emit("bisect", view, _layout(view))


def _layout(view: BisectView) -> Iterator[Item]:
    what = f"{view.op} of" if view.op else "some of"
    yield (Span(f"v{view.first_bad}", "bold"), " is the first bad version: ",
           f"{what} {numbers(view.edits)}")  # fmt: skip
    yield from (("  ", fact) for fact in view.facts.values())
    if any(view.last_good < s.version < view.first_bad for s in view.steps):
        yield (
            Span(f"  every version after v{view.last_good} and before it was skipped", "yellow"),
        )
    if not view.monotone:
        names = ", ".join(f"v{version}" for version in view.odd)
        yield (Span(f"  it changed more than once: {names} are on the wrong side", "yellow"),)
    rows = [(f"v{s.version}", Span(s.verdict, _STYLE.get(s.verdict, "")), s.answer.strip())
            for s in view.steps]  # fmt: skip
    yield Table(("version", "", "answer"), rows)
