"""`kel methods`: the editing methods and their defaults.

Promise: in a ledger the defaults are those of its model; elsewhere those that hold for any.

    kel methods
    kel methods --json
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from cli.invocation import Invocation, common, opened
from cli.layout import pairs, value_text
from cli.output import Item, Span

if TYPE_CHECKING:
    from ledger.views import MethodView


@click.command()
@common
def command(invocation: Invocation) -> int:
    """List the editing methods, what they store and their defaults."""
    views = _views(invocation)
    return invocation.emit("methods", {"methods": views}, _layout(views))


def _views(invocation: Invocation) -> Sequence[MethodView]:
    from ledger.errors import NoLedger

    try:
        with opened(invocation) as ledger:
            return ledger.methods()
    except NoLedger:
        if invocation.ledger is not None:
            raise
    from ledger.catalogue import methods

    invocation.output.note("no ledger here: these are the defaults for a model that is not known")
    return methods(None)


def _layout(views: Sequence[MethodView]) -> Iterator[Item]:
    for view in views:
        defaults = ", ".join(f"{name}={value_text(value)}" for name, value in view.defaults.items())
        yield (Span(view.name, "bold"), f"  {view.paper}")
        yield pairs(
            [
                ("stores", view.stores),
                ("taking out", view.removal),
                ("defaults", defaults),
                ("source", view.source),
            ],
            indent=2,
        )
