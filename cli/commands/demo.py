"""`kel demo`: the whole story on the embedded model, and the facts it knows.

Promise: needs no network and no other model.

    kel demo
    kel demo facts --limit 5
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from cli.invocation import Invocation, common
from cli.layout import Table
from cli.output import Item


@click.group(invoke_without_command=True)
@click.option(
    "--dir",
    "directory",
    metavar="D",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("kel-demo"),
    show_default=True,
    help="Where the ledger is made; a free name like it if it is taken.",
)
@common
def command(invocation: Invocation, directory: Path) -> int:
    """Tell the whole story on the embedded model."""
    if click.get_current_context().invoked_subcommand is not None:
        return 0
    from ledger.demo import story

    told: list[str] = []

    def say(text: str) -> None:
        told.extend(text.split("\n"))
        if not invocation.json:
            invocation.output.show((line,) for line in text.split("\n"))

    made = story.run(directory, say)
    return invocation.emit("demo", {"directory": made, "lines": told}, ())


@command.command("facts")
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="The first N only.")
@common
def facts(invocation: Invocation, limit: int | None) -> int:
    """List facts that the embedded model knows, to try edits on."""
    from ledger.demo import facts as known

    found = known(limit)
    return invocation.emit("demo.facts", {"facts": found}, _layout(found))


def _layout(found: Sequence[Mapping[str, Any]]) -> Iterator[Item]:
    names = ("subject", "relation", "prompt", "target_true")
    rows = [tuple(str(fact.get(name) or "") for name in names) for fact in found]
    yield Table(("subject", "relation", "prompt", "answer"), rows)
