"""`kel export`: a version as a checkpoint of its own.

Promise: the folder loads like any model; the tensors that no edit touches are those of the base.

    kel export merged/ --at v3
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.invocation import Invocation, common, opened
from cli.layout import pairs, short, size
from cli.output import Item, Span

if TYPE_CHECKING:
    from ledger.views import ExportView

_LEFT = "the ledger was not changed, a folder being written may be incomplete"


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--at", metavar="V", default="HEAD", show_default=True, help="The version.")
@common
def command(invocation: Invocation, directory: Path, at: str) -> int:
    """Write a version as merged weights into DIR."""
    with opened(invocation, _LEFT) as ledger:
        view = ledger.export(directory, at)
    return invocation.emit("export", view, _layout(view))


def _layout(view: ExportView) -> Iterator[Item]:
    yield (Span(f"v{view.version}", "bold"), f" written to {view.directory}")
    yield pairs(
        [
            ("weights", short(view.weights_digest)),
            ("size", size(view.bytes)),
            ("rewritten", ", ".join(view.rewritten) or "nothing"),
        ]
    )
