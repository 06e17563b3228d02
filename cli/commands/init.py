"""`kel init`: make a ledger for a base model.

Promise: afterwards there is a ledger at version 0, whose weights are those of the base.

    kel init --base demo
    kel init ledgers/qwen --base Qwen/Qwen3-0.6B --revision 1a2b3c4
    kel init ledgers/team --base demo --db postgresql://kel@db.example/facts
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.commands.status import layout
from cli.invocation import Invocation, common
from cli.output import Item, Span

if TYPE_CHECKING:
    from ledger.views import StatusView


@click.command()
@click.argument("directory", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--base",
    required=True,
    metavar="demo|ID|PATH",
    help="The model that is edited: the embedded one (demo-gpt2 is its twin), a model of the Hub, "
    "or a folder.",
)
@click.option("--revision", metavar="R", help="Commit, branch or tag of the model on the Hub.")
@click.option(
    "--dtype",
    metavar="D",
    help="What the model computes in: float32, bfloat16 or float16 (default: float32 on the CPU, "
    "else as stored). The weights keep the dtype of the checkpoint.",
)
@click.option(
    "--device",
    metavar="D",
    default="cpu",
    show_default=True,
    help="Where it is computed: cpu, cuda, cuda:N, or auto for a model that is larger than one "
    "device: it is spread over all of them, main memory and the disk.",
)
@click.option(
    "--probes",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Prompts that no edit may disturb, asked after every edit.",
)
@click.option(
    "--chat-template",
    is_flag=True,
    help="Ask and edit through the model's chat template: a prompt is what the user says.",
)
@click.option(
    "--db",
    "database",
    metavar="URL",
    help="Keep the tables on a PostgreSQL server (postgresql://user@host/name) in place of a file; "
    "a password comes from PGPASSWORD or ~/.pgpass.",
)
@common
def command(
    invocation: Invocation,
    *,
    directory: Path | None,
    base: str,
    revision: str | None,
    dtype: str | None,
    device: str,
    probes: Path | None,
    chat_template: bool,
    database: str | None,
) -> int:
    """Make a ledger in DIR (this folder) for a base model."""
    from ledger import Ledger

    place = directory or invocation.ledger or Path()
    with Ledger.init(
        place,
        base=base,
        revision=revision,
        dtype=dtype,
        device=device,
        probes=probes,
        chat_template=chat_template,
        database=database,
    ) as ledger:
        view = ledger.status()
    return invocation.emit("init", view, _layout(view))


def _layout(view: StatusView) -> Iterator[Item]:
    yield (Span("A ledger was made.", "green"),)
    yield from layout(view)
