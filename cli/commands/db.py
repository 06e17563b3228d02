"""`kel db`: the database of a ledger as a whole.

Promise: looking changes nothing; a copy was compared with its source, row for row, before it is
called one; a folder is moved to a server only where the server holds its history.

    kel db current
    kel db backup ledger-2026-11.db
    kel db copy ledgers/a/ledger.db postgresql://kel@db.example/facts
    kel db attach postgresql://kel@db.example/facts ledgers/a
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.commands.verify import STATUS, finding_table
from cli.invocation import Invocation, common
from cli.layout import pairs, short
from cli.output import Item, Span

if TYPE_CHECKING:
    from ledger.moving import CopyView, DatabaseView


@click.group("db")
def command() -> None:
    """Look at the database of a ledger, upgrade it, back it up, move it.

    A place is a file (ledgers/a/ledger.db) or the address of a schema on a PostgreSQL server
    (postgresql://user@host/name); a password comes from PGPASSWORD or ~/.pgpass.
    """


@command.command("current")
@common
def current(invocation: Invocation) -> int:
    """Where the database is, which schema it has, and how far its history goes."""
    from ledger.moving import look

    view = look(_place(invocation))
    return invocation.emit("db.current", view, _looked(view))


@command.command("check")
@common
def check(invocation: Invocation) -> int:
    """Check schema, guards, rows and chain; the stored objects are checked by verify.

    Exit status 4 for an error, 1 for a warning.
    """
    from ledger.moving import check

    findings = check(_place(invocation))
    status = max((STATUS.get(finding.severity, 0) for finding in findings), default=0)
    content = {"ok": status == 0, "findings": findings}
    good = [(Span("The database is as it was recorded.", "green"),)]
    return invocation.emit(
        "db.check", content, finding_table(findings) if findings else good, status
    )


@command.command("upgrade")
@common
def upgrade(invocation: Invocation) -> int:
    """Bring the schema up to date; a file is copied aside first."""
    from ledger.moving import upgrade

    view = upgrade(_place(invocation))
    return invocation.emit("db.upgrade", view, _looked(view))


@command.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@common
def backup(invocation: Invocation, file: Path) -> int:
    """Copy the database into the new FILE, also while others work; objects/ is copied by hand.

    Copy objects/ after the database: an object is stored before the row that names it.
    """
    from ledger.moving import copy

    view = copy(_place(invocation), file)
    return invocation.emit("db.backup", view, _copied(view))


@command.command("copy")
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@common
def copied(invocation: Invocation, source: str, target: str) -> int:
    """Copy the ledger in SRC into the new database DST, each a file or postgresql://...

    Every row is compared afterwards. Then `kel db attach` makes a folder use DST.
    """
    from ledger.moving import copy

    view = copy(source, target)
    return invocation.emit("db.copy", view, _copied(view))


@command.command("attach")
@click.argument("url")
@click.argument("directory", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@common
def attached(invocation: Invocation, url: str, directory: Path | None) -> int:
    """Make DIR (this folder) one of the ledger on the server at URL.

    DIR/objects has to be the folder of that ledger's objects: shared, or a copy that is only read.
    A file ledger.db with the same history is set aside as ledger.db.before-attach.
    """
    from ledger.moving import attach

    view = attach(directory or invocation.ledger or Path(), url)
    return invocation.emit("db.attach", view, _looked(view))


def _place(invocation: Invocation) -> Path | str:
    from ledger.layout import LedgerFolder

    return LedgerFolder.find(invocation.ledger).database


def _looked(view: DatabaseView) -> Iterator[Item]:
    schema = view.schema if view.schema == view.newest_schema else f"{view.schema} (kel db upgrade)"
    yield pairs(
        [
            ("database", view.place),
            ("schema", schema),
            ("entries", str(view.entries)),
            ("head", short(view.head) if view.head else "-"),
        ]
    )


def _copied(view: CopyView) -> Iterator[Item]:
    yield (Span("copied and compared", "green"), f"  {view.rows} rows, {view.entries} entries")
    yield pairs([("from", view.source), ("to", view.target), ("rows", short(view.digest))])
