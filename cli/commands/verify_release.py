"""`kel verify-release`: is a release what it says it is?

Promise: needs the release and its base, not the ledger; nothing is changed. Exit 4 for an error.

    kel verify-release merged/
    kel verify-release owner/name --revision 1a2b3c4 --base models/gpt2
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from cli.commands.verify import finding_table
from cli.invocation import Invocation, common
from cli.layout import pairs, short
from cli.output import Item, Span

if TYPE_CHECKING:
    from ledger.released import ReleaseCheck


@click.command()
@click.argument("release", metavar="DIR|REPO")
@click.option("--revision", metavar="R", help="Commit, branch or tag of the repository.")
@click.option("--base", metavar="PATH|ID", help="Where the base lies here, if not by its name.")
@common
def command(invocation: Invocation, *, release: str, revision: str | None, base: str | None) -> int:
    """Check a release against its base, without the ledger."""
    from ledger.checking import check_release

    check = check_release(release, revision=revision, base=base)
    status = 4 if any(finding.severity == "error" for finding in check.findings) else 0
    return invocation.emit("verify-release", check, _layout(check, status), status)


def _layout(check: ReleaseCheck, status: int) -> Iterator[Item]:
    yield from finding_table(check.findings)
    yield pairs(
        [
            ("form", check.form),
            ("version", str(check.version)),
            ("weights", short(check.weights_digest)),
            ("base", short(check.base)),
        ]
    )
    if status:
        yield (Span("this is not the release it says it is", "red"),)
    else:
        yield (Span("the release is what it says", "green"),)
