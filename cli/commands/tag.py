"""`kel tag`: names for versions.

Promise: a name leads to one version; moving it is recorded in the history.

    kel tag released
    kel tag best v3
    kel tag
"""

from __future__ import annotations

import click

from cli.invocation import Invocation, changing, common, opened
from cli.layout import Table
from cli.output import Span


@click.command()
@click.argument("name", metavar="[NAME", required=False)
@click.argument("version", metavar="[V]]", required=False)
@click.option("-m", "--note", default="", metavar="NOTE", help="Why; kept in the history.")
@common
def command(invocation: Invocation, name: str | None, version: str | None, note: str) -> int:
    """Give version V (HEAD) a NAME; without one, list the tags."""
    if name is None:
        return _listed(invocation)
    with changing(invocation) as ledger:
        number = ledger.tag(name, version or "HEAD", note=note)
    line = (Span(name, "green"), f" is v{number}")
    return invocation.emit("tag", {"name": name, "version": number}, [line])


def _listed(invocation: Invocation) -> int:
    with opened(invocation) as ledger:
        tags = dict(ledger.tags())
    rows = [(Span(name, "green"), f"v{version}") for name, version in sorted(tags.items())]
    return invocation.emit("tag", {"tags": tags}, [Table((), rows)])
