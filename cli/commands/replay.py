"""`kel replay`: rebuild a version from the base.

Promise: the digests of the rebuilt weights are compared with the recorded ones; exit 4 if one is
another.

    kel replay --to v3 --out rebuilt/
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.invocation import Invocation, common, opened
from cli.layout import Table, pairs, short
from cli.output import Item, Span

if TYPE_CHECKING:
    from ledger.views import ReplayView

_LEFT = "the ledger was not changed, a folder being written may be incomplete"


@click.command()
@click.option("--to", metavar="V", default="HEAD", show_default=True, help="The version.")
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the rebuilt checkpoint here.",
)
@common
def command(invocation: Invocation, to: str, out: Path | None) -> int:
    """Rebuild a version from the base and compare it with the record."""
    with opened(invocation, _LEFT) as ledger:
        view = ledger.replay(to, out)
    return invocation.emit("replay", view, _layout(view), 0 if view.matches else 4)


def _layout(view: ReplayView) -> Iterator[Item]:
    verdict = (
        Span("every bit is as recorded", "green")
        if view.matches
        else Span("NOT as recorded; run: kel verify --weights", "red")
    )
    yield (Span(f"v{view.version}", "bold"), " rebuilt from the base: ", verdict)
    recorded = "" if view.matches else short(view.recorded_digest)
    yield pairs(
        [
            ("weights", short(view.weights_digest)),
            ("recorded", recorded),
            ("written to", view.out or ""),
        ]
    )
    if view.tensors:
        rows = [(name, short(digest)) for name, digest in view.tensors.items()]
        yield Table(("parameter", "sha256"), rows)
