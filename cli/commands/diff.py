"""`kel diff`: what distinguishes two versions.

Promise: the edits that came and went, and the tensors whose bits differ.

    kel diff v1 HEAD
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from cli.invocation import Invocation, common, opened
from cli.layout import Table, short
from cli.output import Item, Span

if TYPE_CHECKING:
    from ledger.views import DiffView


@click.command()
@click.argument("old", metavar="V1")
@click.argument("new", metavar="V2")
@common
def command(invocation: Invocation, old: str, new: str) -> int:
    """Show what was added and removed from version V1 to version V2."""
    with opened(invocation) as ledger:
        view = ledger.diff(old, new)
    return invocation.emit("diff", view, _layout(view))


def _layout(view: DiffView) -> Iterator[Item]:
    yield (Span(f"v{view.old} -> v{view.new}", "bold"),)
    if not (view.added or view.removed or view.parameters):
        yield ("no difference",)
    signs = [("-", "red", view.removed), ("+", "green", view.added)]
    rows = [
        (Span(sign, style), str(edit), Span(view.facts.get(edit, ""), style))
        for sign, style, edits in signs
        for edit in edits
    ]
    if rows:
        yield Table((), rows, right=(1,))
    tensors = [
        (name, short(pair["old"]) or "-", short(pair["new"]) or "-")
        for name, pair in view.parameters.items()
    ]
    if tensors:
        yield Table(("parameter", f"v{view.old}", f"v{view.new}"), tensors)
