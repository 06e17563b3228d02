"""`kel branch` and `kel switch`: lines of versions with a name.

Promise: opening and closing a branch change no weights; a switch ends in the very digests of the
branch's last version.

    kel branch trial --at v3
    kel switch trial
    kel branch
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from cli.commands.changes import note_option
from cli.invocation import Invocation, changing, common, opened
from cli.layout import Table, numbers, short
from cli.output import Item, Span

if TYPE_CHECKING:
    from ledger.branches import BranchView, SwitchView


@click.command()
@click.argument("name", metavar="[NAME]", required=False)
@click.option("--at", metavar="VERSION", help="Begin at this version [default: HEAD].")
@click.option("--close", is_flag=True, help="Give up the name; the versions stay.")
@note_option
@common
def branch(invocation: Invocation, name: str | None, at: str | None, close: bool, note: str) -> int:
    """Open the branch NAME at a version; without a name, list the branches.

    The current branch stays current: kel switch NAME goes to another.
    """
    if name is None:
        if at is not None or close:
            raise click.UsageError(f"{'--close' if close else '--at'} needs the NAME of a branch.")
        return _listed(invocation)
    if close and at is not None:
        raise click.UsageError("--close has no --at: all of the branch is given up.")
    with changing(invocation) as ledger:
        if close:
            version = ledger.close_branch(name, note=note)
        else:
            version = ledger.branch(name, at or "HEAD", note=note)
    told = f" is closed; its last version is v{version}" if close else f" begins at v{version}"
    content = {"name": name, "version": version, "closed": close}
    return invocation.emit("branch", content, [(Span(name, "green"), told)])


def _listed(invocation: Invocation) -> int:
    with opened(invocation) as ledger:
        branches = ledger.branches()
    return invocation.emit("branch", {"branches": branches}, _table(branches))


def _table(branches: Sequence[BranchView]) -> Iterator[Item]:
    rows = [
        (
            "*" if row.current else "",
            Span(row.name, "green" if row.current else ""),
            f"v{row.version}",
            numbers(row.active),
            "" if row.current else f"v{row.common}",
            "" if row.current else numbers(row.ahead),
            "" if row.current else numbers(row.behind),
        )
        for row in branches
    ]
    here = next(row.name for row in branches if row.current)
    headings = ("", "branch", "version", "edits", "common", "only there", f"only on {here}")
    yield Table(headings, rows)


@click.command()
@click.argument("name", metavar="NAME")
@note_option
@common
def switch(invocation: Invocation, name: str, note: str) -> int:
    """Make NAME the current branch: a new version with the edits of its last one."""
    with changing(invocation) as ledger:
        view = ledger.switch(name, note=note)
    return invocation.emit("switch", view, [_switched(view)])


def _switched(view: SwitchView) -> Item:
    changed = [f"{sign}{numbers(edits)}" for sign, edits in
               (("+ ", view.added), ("- ", view.removed)) if edits]  # fmt: skip
    return (
        "on ",
        Span(view.branch, "green"),
        ", now ",
        Span(f"v{view.version}", "bold"),
        f" (as v{view.like})",
        f"  {', '.join(changed)}" if changed else "",
        Span(f"  weights {short(view.weights_digest)}", "dim"),
    )
