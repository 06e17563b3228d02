"""`kel log`: the history, newest first.

Promise: every entry is there, also those that changed no weight (tests, tags, rejected edits).

    kel log --oneline -n 20
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from cli.invocation import Invocation, common, opened
from cli.layout import Table, numbers, short, when
from cli.output import Item, Span

if TYPE_CHECKING:
    from ledger.views import LogView


_SHOWN = 3  # a test or a batch may be about hundreds of edits; `--json` has them all


@click.command()
@click.option("--oneline", is_flag=True, help="One line for each entry.")
@click.option("-n", "limit", metavar="N", type=click.IntRange(min=1), help="The newest N only.")
@common
def command(invocation: Invocation, oneline: bool, limit: int | None) -> int:
    """Show the history, newest entry first."""
    with opened(invocation) as ledger:
        entries = ledger.log(limit)
    items = _oneline(entries) if oneline else _blocks(entries)
    return invocation.emit("log", {"entries": entries}, items)


def _oneline(entries: list[LogView]) -> Iterator[Item]:
    rows = [
        (
            Span(short(entry.hash, 8), "yellow"),
            f"v{entry.version}",
            entry.op,
            numbers(entry.edits) if entry.edits else "",
            _subject(entry),
        )
        for entry in entries
    ]
    yield Table((), rows)


def _subject(entry: LogView) -> str:
    tags = f"({', '.join(entry.tags)}) " if entry.tags else ""
    return tags + ("; ".join(_few(entry.facts)) or _named(entry) or entry.note)


def _few(facts: Sequence[str]) -> tuple[str, ...]:
    """The first facts, and how many more there are."""
    more = len(facts) - _SHOWN
    return (*facts[:_SHOWN], f"and {more} more") if more > 0 else tuple(facts)


def _named(entry: LogView) -> str:
    """'best = v3' for an entry that set a tag, 'best removed' for one that took it away."""
    if entry.op != "tag" or "name" not in entry.payload:
        return ""
    version = entry.payload.get("version")
    return f"{entry.payload['name']} {'removed' if version is None else f'= v{version}'}"


def _blocks(entries: list[LogView]) -> Iterator[Item]:
    for place, entry in enumerate(entries):
        if place:
            yield ("",)
        edits = f" {numbers(entry.edits)}" if entry.edits else ""
        tags = f"  ({', '.join(entry.tags)})" if entry.tags else ""
        yield (
            Span(short(entry.hash), "yellow"),
            Span(f"  v{entry.version}  {entry.op}{edits}", "bold"),
            Span(tags, "green"),
            Span(f"  {when(entry.created_at)}  {entry.author}", "dim"),
        )
        about = _few(entry.facts) or (_named(entry),)
        yield from (("    ", text) for text in about if text)
        if entry.note:
            yield from (("    ", text) for text in entry.note.split("\n"))
