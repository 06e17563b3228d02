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


_NAMING = ("tag", "branch", "switch", "merge")
_SHOWN = 3  # a test or a batch may be about hundreds of edits; `--json` has them all


@click.command()
@click.option("--oneline", is_flag=True, help="One line for each entry.")
@click.option("-n", "limit", metavar="N", type=click.IntRange(min=1), help="The newest N only.")
@click.option("--branch", metavar="NAME", help="Only what was recorded on this branch.")
@common
def command(invocation: Invocation, oneline: bool, limit: int | None, branch: str | None) -> int:
    """Show the history, newest entry first."""
    with opened(invocation) as ledger:
        entries = ledger.log(limit, branch)
        branches = {*ledger.tips(), *(entry.branch for entry in entries)}
    items = (_oneline if oneline else _blocks)(entries, several=len(branches) > 1)
    return invocation.emit("log", {"entries": entries}, items)


def _oneline(entries: list[LogView], *, several: bool) -> Iterator[Item]:
    rows = [
        (
            Span(short(entry.hash, 8), "yellow"),
            f"v{entry.version}",
            *((Span(entry.branch, "green"),) if several else ()),
            entry.op,
            numbers(entry.edits) if entry.edits else "",
            _subject(entry),
        )
        for entry in entries
    ]
    yield Table((), rows)


def _subject(entry: LogView) -> str:
    tags = f"({', '.join(entry.tags)}) " if entry.tags else ""
    return tags + (named(entry) or "; ".join(_few(entry.facts)) or entry.note)


def _few(facts: Sequence[str]) -> tuple[str, ...]:
    """The first facts, and how many more there are."""
    more = len(facts) - _SHOWN
    return (*facts[:_SHOWN], f"and {more} more") if more > 0 else tuple(facts)


def named(entry: LogView) -> str:
    """'best = v3' for an entry that set a tag, 'best removed' for one that took it away; of an
    entry about a branch, which."""
    if entry.op not in _NAMING or "name" not in entry.payload:
        return ""
    name, version = entry.payload["name"], entry.payload.get("version")
    if entry.op == "tag":
        return f"{name} {'removed' if version is None else f'= v{version}'}"
    if version is None:
        return f"{name} closed"
    back = ", taken back" if entry.op == "merge" and entry.payload.get("undo") else ""
    return f"{name} ({'to' if back else 'at'} v{version}{back})"


def _blocks(entries: list[LogView], *, several: bool) -> Iterator[Item]:
    for place, entry in enumerate(entries):
        if place:
            yield ("",)
        edits = f" {numbers(entry.edits)}" if entry.edits else ""
        tags = f"  ({', '.join(entry.tags)})" if entry.tags else ""
        yield (
            Span(short(entry.hash), "yellow"),
            Span(f"  v{entry.version}  {entry.op}{edits}", "bold"),
            Span(tags, "green"),
            Span(f"  on {entry.branch}" if several else "", "green"),
            Span(f"  {when(entry.created_at)}  {entry.author}", "dim"),
        )
        about = (named(entry), *_few(entry.facts))
        yield from (("    ", text) for text in about if text)
        if entry.note:
            yield from (("    ", text) for text in entry.note.split("\n"))
