"""`kel facts`: what a version of the model was taught.

Promise: read from the records alone; a fact that was edited again is listed once, as it is now.

    kel facts --search born
    kel facts --expired --on 2026-12-31
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
from cli.layout import Table, number, numbers, valid, when
from cli.output import Item, Span
from cli.text import escape

if TYPE_CHECKING:
    from ledger.facts import FactView, KnownView

_FORMULA = ("=", "+", "-", "@")


@click.command()
@click.option("--at", metavar="V", default="HEAD", show_default=True, help="The version.")
@click.option(
    "--search", metavar="TEXT", help="Only facts that contain it, or of that author or source."
)
@click.option("--expired", is_flag=True, help="Only facts whose last valid day is over.")
@click.option("--current", is_flag=True, help="Only facts that are valid.")
@click.option(
    "--on", metavar="DATE", help="With --expired or --current: on that day, instead of today (UTC)."
)
@click.option("--csv", "csv_asked", is_flag=True, help="Comma-separated, with a heading.")
@common
def command(
    invocation: Invocation,
    *,
    at: str,
    search: str | None,
    expired: bool,
    current: bool,
    on: str | None,
    csv_asked: bool,
) -> int:
    """List the facts that a version carries."""
    if csv_asked and invocation.json:
        raise click.UsageError("--csv and --json are two forms: choose one.")
    if expired and current:
        raise click.UsageError("--expired and --current exclude each other.")
    if on is not None and not (expired or current):
        raise click.UsageError("--on goes with --expired or --current.")
    only = "expired" if expired else "current" if current else None
    with opened(invocation) as ledger:
        found = ledger.facts(at, search, only=only, on=on)
        known = [] if only else ledger.known_facts(at, search)
    if csv_asked:
        invocation.output.raw(as_csv([*found, *known]).rstrip("\n"))
        return 0
    items = (*(_layout(found) if found or not known else ()), *_known(known))
    return invocation.emit("facts", {"facts": found, "known": known}, items)


def as_csv(found: Sequence[FactView | KnownView]) -> str:
    """A heading and a line for each fact; no cell is a formula to a spreadsheet.

    What the base says itself has no number and no method.
    """
    from ledger.facts import FactView

    stream = io.StringIO()
    names = [field.name for field in fields(FactView)]
    writer = csv.DictWriter(stream, names, lineterminator="\n")
    writer.writeheader()
    for fact in found:
        row = asdict(fact)
        row["supersedes"] = " ".join(map(str, row.get("supersedes", ())))
        writer.writerow({name: _cell(row.get(name)) for name in names})
    return stream.getvalue()


def _cell(value: object) -> str:
    """A value as text; one that a spreadsheet would take for a formula gets an apostrophe."""
    text = "" if value is None else escape(str(value))
    return f"'{text}" if isinstance(value, str) and text.lstrip().startswith(_FORMULA) else text


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
            valid(fact.valid_from, fact.valid_until),
            fact.source or "",
            f"in place of {numbers(fact.supersedes)}" if fact.supersedes else "",
        )
        for fact in found
    ]
    headings = ("edit", "prompt", "object", "since", "by", "reliability", "valid", "source", "")
    # Columns that no fact fills are left out.
    kept = [i for i in range(len(headings)) if i < 6 or any(row[i] for row in rows)]
    shown = [tuple(row[i] for i in kept) for row in rows]
    yield Table(tuple(headings[i] for i in kept), shown, right=(0, 5))


def _known(found: Sequence[KnownView]) -> Iterator[Item]:
    """What no edit carries, because the base says it."""
    if not found:
        return
    yield (Span("known to the base, so not edited", "bold"),)
    rows = [
        (
            fact.prompt.replace("{}", fact.subject),
            fact.object,
            when(fact.since),
            fact.author,
            "-" if fact.reliability is None else number(fact.reliability),
        )
        for fact in found
    ]
    yield Table(("prompt", "object", "since", "by", "reliability"), rows, right=(4,), indent=2)
