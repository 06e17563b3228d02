"""`kel test`: measure the edits of a version again.

Promise: each edit beside what was measured right after it was made; exit 1 if one no longer holds.

    kel test
    kel test --at v3 1 2
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from cli.invocation import Invocation, changing, common
from cli.layout import Table, metrics, number, pairs
from cli.output import Item, Span
from cli.text import Part

if TYPE_CHECKING:
    from ledger.views import TestRow, TestView


@click.command()
@click.argument("edits", metavar="[ID]...", nargs=-1)
@click.option("--at", metavar="V", default="HEAD", show_default=True, help="The version.")
@common
def command(invocation: Invocation, edits: tuple[str, ...], at: str) -> int:
    """Measure the edits ID (all) of a version again."""
    with changing(invocation) as ledger, invocation.output.progress("test") as bar:
        view = ledger.test(at, edits, progress=bar.stage)
    holds = all(row.holds for row in view.rows)
    return invocation.emit("test", view, _layout(view), 0 if holds else 1)


def _layout(view: TestView) -> Iterator[Item]:
    held = sum(row.holds for row in view.rows)
    yield (Span(f"v{view.version}", "bold"), f": {held} of {len(view.rows)} edits hold")
    if view.rows:
        yield _table(view.rows)
    since = f" since v{view.previous_version}" if view.previous_version is not None else ""
    yield pairs([("means", metrics(view.metrics)), (f"drift{since}", _signed(view))])


def _table(rows: tuple[TestRow, ...]) -> Table:
    body: list[tuple[Part, ...]] = [
        (
            str(row.edit),
            Span("holds", "green") if row.holds else Span("LOST", "red"),
            number(row.metrics.get("reliability", "-")),
            row.fact,
            row.answer.strip(),
            _changed(row) or "nothing",
        )
        for row in rows
    ]
    headings = ("edit", "", "reliability", "fact", "answer", "changed since the edit")
    return Table(headings, body, right=(0, 2))


def _changed(row: TestRow) -> str:
    """The measurements that are not what they were right after the edit."""
    compared = ((name, now, row.at_edit.get(name)) for name, now in row.metrics.items())
    return ", ".join(
        f"{name} {number(now)} (was {number(then)})"
        for name, now, then in compared
        if then is not None and number(then) != number(now)
    )


def _signed(view: TestView) -> str:
    return ", ".join(f"{name} {change:+.3f}" for name, change in view.drift.items())
