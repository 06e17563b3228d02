"""`kel export`: a version as a checkpoint of its own.

Promise: merged, the folder loads like any model, and the tensors that no edit touches are those of
the base; as an adapter, PEFT and the serving engines add it to the base; as a bundle, it is the
ledger itself.

    kel export merged/ --at v3
    kel export adapter/ --form adapter
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.invocation import Invocation, common, opened
from cli.layout import pairs, short, size
from cli.output import Item, Span
from cli.requests import SIZE

if TYPE_CHECKING:
    from ledger.released import ExportView

_LEFT = "the ledger was not changed, a folder being written may be incomplete"


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--at", metavar="V", default="HEAD", show_default=True, help="The version.")
@click.option(
    "--form",
    type=click.Choice(["merged", "adapter", "bundle"]),
    default="merged",
    show_default=True,
    help="Merged weights; a PEFT LoRA adapter of the edits; or the ledger itself.",
)
@click.option("--private", is_flag=True, help="Name the facts by their hashes only.")
@click.option(
    "--link",
    is_flag=True,
    help="Merged: share untouched weight files with the base by hard link. Without it they are "
    "copied, as reflinks where the file system has them.",
)
@click.option(
    "--max-shard-size",
    metavar="SIZE",
    type=SIZE,
    help="Merged: write the weights anew into files of at most SIZE (500MB, 5GB, 4GiB). Without it "
    "they stay in the base's files.",
)
@click.option(
    "--compress",
    is_flag=True,
    help="Adapter: the smallest rank that float32 can tell from the sum of the edits.",
)
@common
def command(
    invocation: Invocation,
    *,
    directory: Path,
    at: str,
    form: str,
    private: bool,
    link: bool,
    max_shard_size: int | None,
    compress: bool,
) -> int:
    """Write a version into DIR: merged weights, an adapter, or a bundle."""
    with opened(invocation, _LEFT) as ledger:
        view = ledger.export(
            directory,
            at,
            form=form,
            private=private,
            link=link,
            compress=compress,
            max_shard_bytes=max_shard_size,
        )
    return invocation.emit("export", view, _layout(view))


def _layout(view: ExportView) -> Iterator[Item]:
    yield (Span(f"v{view.version}", "bold"), f" written to {view.directory}")
    adapter = view.adapter or {}
    yield pairs(
        [
            ("form", view.form),
            ("weights", short(view.weights_digest)),
            ("size", size(view.bytes)),
            ("rewritten", ", ".join(view.rewritten)),
            ("rank", str(adapter.get("rank", ""))),
            ("facts", short(view.merkle_root)),
        ]
    )
    for note in view.notes:
        yield (Span(note, "yellow"),)
