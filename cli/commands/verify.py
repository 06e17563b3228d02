"""`kel verify`: is everything as it was recorded?

Promise: the history, the records and the stored objects are checked, with --weights the tensors as
well; nothing is repaired or deleted. Exit 4 for an error, 1 for a warning, else 0.

    kel verify --weights
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import click

from cli.invocation import Invocation, common, opened
from cli.layout import Table
from cli.output import Item, Span

if TYPE_CHECKING:
    from ledger.verify import Finding

STATUS = MappingProxyType({"error": 4, "warning": 1})
_STYLE = MappingProxyType({"error": "red", "warning": "yellow"})


@click.command()
@click.option("--weights", is_flag=True, help="Rebuild the weights of every version as well.")
@click.option(
    "--anchor",
    metavar="EXPORT",
    type=click.Path(exists=True, path_type=Path),
    help="An exported folder or its kel.json: the entry it names must still be in the history.",
)
@common
def command(invocation: Invocation, weights: bool, anchor: Path | None) -> int:
    """Check the history, the records and the stored objects."""
    with opened(invocation) as ledger:
        findings = ledger.verify(weights, anchor)
    status = max((STATUS.get(finding.severity, 0) for finding in findings), default=0)
    content = {"ok": status == 0, "findings": findings}
    return invocation.emit("verify", content, _layout(findings), status)


def finding_table(findings: Sequence[Finding]) -> Iterator[Item]:
    """The findings, one a line; nothing if there are none."""
    rows = [
        (
            Span(finding.severity, _STYLE.get(finding.severity, "dim")),
            finding.code,
            finding.subject,
            finding.text,
        )
        for finding in findings
    ]
    if rows:
        yield Table((), rows)


def _layout(findings: Sequence[Finding]) -> Iterator[Item]:
    yield from finding_table(findings)
    for severity in ("error", "warning"):
        count = sum(finding.severity == severity for finding in findings)
        if count:
            yield (Span(f"{count} {severity}{'s' if count > 1 else ''}", _STYLE[severity]),)
            return
    yield (Span("everything is as recorded", "green"),)
