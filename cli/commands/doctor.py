"""`kel doctor`: is everything here that kel and this ledger need?

Promise: one line a check with what was found and what to do; nothing is changed and the Hub is not
asked; no token is shown. Exit 1 if there is a problem, else 0.

    kel doctor
    kel doctor --json
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import TYPE_CHECKING

import click

from cli.invocation import Invocation, common
from cli.output import Item, Span
from cli.text import pad

if TYPE_CHECKING:
    from ledger.doctor import DoctorView

_STYLE = MappingProxyType({"ok": "green", "note": "yellow", "problem": "red"})


@click.command()
@common
def command(invocation: Invocation) -> int:
    """Check the installation, the extras, the device, access to the Hub and this ledger.

    A problem stops kel or the ledger from working here; a note is what some commands would miss.
    Exit status 1 if there is a problem.
    """
    from ledger.doctor import examine

    view = examine(invocation.ledger)
    return invocation.emit("doctor", view, _layout(view), 0 if view.ok else 1)


def _layout(view: DoctorView) -> Iterator[Item]:
    """A line is never shortened: its end says what to do."""
    widest = max(len(check.name) for check in view.checks)
    for check in view.checks:
        status = Span(pad(check.status, len("problem")), _STYLE[check.status])
        todo = f" -> {check.todo}" if check.todo else ""
        yield (status, "  ", pad(check.name, widest), "  ", check.found, todo)
    problems = sum(check.status == "problem" for check in view.checks)
    if problems:
        yield (Span(f"{problems} problem{'s' if problems > 1 else ''}", "red"),)
    else:
        yield (Span("no problem", "green"),)
