"""`kel gc`: remove what nothing refers to.

Promise: only objects without a record and forgotten temporary files, and only old ones; what the
history names is never removed.

    kel gc --dry-run
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from cli.invocation import Invocation, common, opened
from cli.layout import short, size
from cli.output import Item, Span

if TYPE_CHECKING:
    from ledger.views import GcView


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be removed; remove nothing.")
@common
def command(invocation: Invocation, dry_run: bool) -> int:
    """Remove objects and temporary files that nothing refers to."""
    with opened(invocation, "what had not been removed is still there") as ledger:
        view = ledger.gc(dry_run)
    return invocation.emit("gc", view, _layout(view))


def _layout(view: GcView) -> Iterator[Item]:
    verb = "would remove" if view.dry_run else "removed"
    objects = f"{len(view.objects)} object{'' if len(view.objects) == 1 else 's'}"
    temps = f"{len(view.temps)} temporary file{'' if len(view.temps) == 1 else 's'}"
    yield (f"{verb} {objects} and {temps}, ", Span(size(view.bytes), "bold"))
    yield from ((f"  object  {short(oid)}",) for oid in view.objects)
    yield from ((f"  temp    {name}",) for name in view.temps)
