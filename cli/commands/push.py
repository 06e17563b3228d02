"""`kel push`: a version as a release on the Hub.

Promise: one commit, read back and compared; a repository that is not this ledger's is left alone.
Rules: no option takes a token; it is HF_TOKEN or that of `hf auth login`.

    kel push owner/name --form adapter --pr
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from cli.invocation import Invocation, changing, common
from cli.layout import pairs, short, size
from cli.output import Item, Span

if TYPE_CHECKING:
    from ledger.released import PushView


@click.command()
@click.argument("repo")
@click.option("--at", metavar="V", default="HEAD", show_default=True, help="The version.")
@click.option(
    "--form",
    type=click.Choice(["merged", "adapter", "bundle"]),
    default="merged",
    show_default=True,
    help="As for `kel export`.",
)
@click.option("--private", is_flag=True, help="Name the facts by their hashes only.")
@click.option("--compress", is_flag=True, help="Adapter: the smallest rank, as for `kel export`.")
@click.option("--pr", is_flag=True, help="Open a pull request instead of changing the branch.")
@common
def command(
    invocation: Invocation,
    *,
    repo: str,
    at: str,
    form: str,
    private: bool,
    compress: bool,
    pr: bool,
) -> int:
    """Give a version out in REPO (owner/name) on the Hub.

    A repository that does not exist is made, private. The token is HF_TOKEN or that of
    `hf auth login`.
    """
    with changing(invocation) as ledger:
        view = ledger.push(repo, at, form=form, private=private, compress=compress, pull_request=pr)
    return invocation.emit("push", view, _layout(view))


def _layout(view: PushView) -> Iterator[Item]:
    changed = view.uploaded or view.copied or view.deleted
    done = " is on the Hub" if changed else " was on the Hub already"
    yield (Span(f"v{view.version}", "bold"), done)
    yield pairs(
        [
            ("where", view.url or f"{view.repo}@{short(view.commit)}"),
            ("commit", short(view.commit)),
            ("form", view.form),
            ("weights", short(view.weights_digest)),
            ("sent", f"{len(view.uploaded)} files, {size(view.bytes)}"),
            ("copied", ", ".join(view.copied)),
            ("unchanged", str(len(view.unchanged))),
            ("removed", ", ".join(view.deleted)),
        ]
    )
    for note in view.notes:
        yield (Span(note, "yellow"),)
