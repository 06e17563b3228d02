"""`kel repair`: put back what was lost, from a copy.

Promise: an object comes back with the recorded bytes or not at all; a base is named only after all
of it was compared; the history is not touched. Exit 4 while an object is lost.

    kel repair --objects backups/
    kel repair --base /models/llama
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.invocation import Invocation, common, opened
from cli.output import Item, Span

if TYPE_CHECKING:
    from ledger.repair import RepairView

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.option(
    "--objects",
    metavar="COPY",
    type=_FOLDER,
    help="A folder that holds objects/: a backup, another copy of the ledger, a bundle.",
)
@click.option("--base", metavar="DIR", type=_FOLDER, help="Where the base lies now.")
@common
def command(invocation: Invocation, objects: Path | None, base: Path | None) -> int:
    """Put lost or damaged objects back from a copy, or say where the base lies now.

    What `kel verify` finds missing or corrupt is taken from COPY if it is whole there; the base in
    DIR is taken if every byte is as recorded.
    """
    if objects is None and base is None:
        raise click.UsageError("say what to put back: --objects COPY or --base DIR.")
    with opened(invocation, "what had been put back is there") as ledger:
        view = ledger.repair(objects=objects, base=base)
    return invocation.emit("repair", view, _layout(view), 4 if view.lost else 0)


def _layout(view: RepairView) -> Iterator[Item]:
    if view.base is not None:
        yield (Span("the base is as recorded", "green"), f"; it lies in {view.base} from now on")
    yield from (("put back  ", oid) for oid in view.repaired)
    yield from ((Span("lost", "red"), f"      {oid}") for oid in view.lost)
    if view.lost:
        yield ("The copy does not hold them whole; try another one.",)
    elif view.base is None and not view.repaired:
        yield (Span("no object is missing or damaged", "green"),)
