"""`kel facts`: what a version of the model was taught.

Promise: read from the records alone; a fact that was edited again is listed once, as it is now.

    kel facts --search born
    kel facts --at v3 --csv > facts.csv
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

import click

from cli.invocation import Invocation, common, opened
from cli.layout import Table, number, numbers, when
from cli.output import Item, Span
from cli.text import escape

if TYPE_CHECKING:
    from ledger.facts import FactView


@click.command()
@click.option("--at", metavar="V", default="HEAD", show_default=True, help="The version.")
@click.option("--search", metavar="TEXT", help="Only facts that contain it, or of that author.")
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated, with a heading.")
@common
def command(invocation: Invocation, at: str, search: str | None, as_csv: bool) -> int:
    """List the facts that a version carries."""
    if as_csv and invocation.json:
        raise click.UsageError("--csv and --json are two forms: choose one.")
    with opened(invocation) as ledger:
        found = ledger.facts(at, search)
    if as_csv:
        invocation.output.raw(_csv(found).rstrip("\n"))
        return 0
    return invocation.emit("facts", {"facts": found}, _layout(found))


def _csv(found: Sequence[FactView]) -> str:
    from ledger.facts import FactView

    stream = io.StringIO()
    names = [field.name for field in fields(FactView)]
    writer = csv.DictWriter(stream, names, lineterminator="\n")
    writer.writeheader()
    for fact in found:
        row = asdict(fact) | {"supersedes": " ".join(map(str, fact.supersedes))}
        writer.writerow({name: "" if v is None else escape(str(v)) for name, v in row.items()})
    return stream.getvalue()


def _layout(found: Sequence[FactView]) -> Iterator[Item]:
    if not found:
        yield (Span("no facts", "dim"),)
        return
    rows = [
        (
            str(fact.edit),
            fact.prompt.replace("{}", fact.subject),
            fact.object,
            when(fact.since),
            fact.author,
            "-" if fact.reliability is None else number(fact.reliability),
            f"in place of {numbers(fact.supersedes)}" if fact.supersedes else "",
        )
        for fact in found
    ]
    headings = ("edit", "prompt", "object", "since", "by", "reliability", "")
    yield Table(headings, rows, right=(0, 5))
