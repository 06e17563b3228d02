"""`kel import` and `kel pull`: a ledger from a bundle, in a folder or on the Hub.

Promise: the ledger is there, with the digests of the one that was exported, or nothing is; a bundle
that was changed in any way is refused with exit 4.

    kel import bundle/ ledger/
    kel pull owner/name ledger/ --base ~/models/gpt2 --anchor older-release/
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.errors import Interrupted
from cli.invocation import Callback, Invocation, common
from cli.layout import numbers, pairs, short
from cli.output import Item, Span

if TYPE_CHECKING:
    from ledger.released import ImportView


def _taking_in(function: Callback) -> Callback:
    """The options of both commands, and the ones that every command has."""
    decorated = common(function)
    for option in (
        click.option(
            "--anchor",
            metavar="EXPORT",
            type=click.Path(exists=True, path_type=Path),
            help="A release that is known: a bundle without the entry it names is refused.",
        ),
        click.option("--no-replay", is_flag=True, help="Do not fold the head from the base."),
        click.option(
            "--base", metavar="PATH|ID", help="Where the base lies here, if not where it was."
        ),
        click.argument(
            "directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path)
        ),
    ):
        decorated = option(decorated)
    return decorated


@click.command()
@click.argument("bundle", type=click.Path(exists=True, file_okay=False, path_type=Path))
@_taking_in
def command(
    invocation: Invocation,
    *,
    bundle: Path,
    directory: Path,
    base: str | None,
    no_replay: bool,
    anchor: Path | None,
) -> int:
    """Make a ledger in DIR from BUNDLE, after checking every byte of it."""
    from ledger import Ledger

    with _nothing_left():
        view = Ledger.import_bundle(
            bundle, directory, base=base, replay=not no_replay, anchor=anchor
        )
    return invocation.emit("import", view, _layout(view))


@click.command()
@click.argument("repo")
@_taking_in
@click.option("--revision", metavar="R", help="Commit, branch or tag of the repository.")
def pull(
    invocation: Invocation,
    *,
    repo: str,
    directory: Path,
    revision: str | None,
    base: str | None,
    no_replay: bool,
    anchor: Path | None,
) -> int:
    """Make a ledger in DIR from the bundle in REPO on the Hub."""
    from ledger import Ledger

    with _nothing_left():
        view = Ledger.pull(
            repo, directory, revision=revision, base=base, replay=not no_replay, anchor=anchor
        )
    return invocation.emit("pull", view, _layout(view))


@contextmanager
def _nothing_left() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise Interrupted("no ledger was made") from interrupt


def _layout(view: ImportView) -> Iterator[Item]:
    yield (Span("A ledger was made", "green"), f" in {view.directory}")
    yield pairs(
        [
            ("from", f"{view.repo}@{short(view.commit)}" if view.repo else ""),
            ("version", str(view.version)),
            ("active", numbers(view.active)),
            ("entries", str(view.entries)),
            ("weights", short(view.weights_digest)),
            ("head", short(view.head)),
            ("replayed", "equal to the bit" if view.replayed else "no: --no-replay"),
        ]
    )
