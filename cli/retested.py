"""Edits that were measured again, as a table.

Promise: what differs from the numbers right after the edit is named, number by number.

    table(view.rows)
    differences(row)            # 'reliability 0.500 (was 1.000)'
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cli.layout import Table, number
from cli.output import Span
from cli.text import Part

if TYPE_CHECKING:
    from ledger.views import TestRow


def table(rows: Sequence[TestRow]) -> Table:
    """One line an edit: whether it holds, and what changed since it was made."""
    body: list[tuple[Part, ...]] = [
        (
            str(row.edit),
            _verdict(row),
            number(row.metrics.get("reliability", "-")),
            row.fact,
            row.answer.strip(),
            differences(row) or "nothing",
        )
        for row in rows
    ]
    headings = ("edit", "", "reliability", "fact", "answer", "changed since the edit")
    return Table(headings, body, right=(0, 2))


def _verdict(row: TestRow) -> Span:
    if row.holds:
        return Span("holds", "green")
    if row.superseded_by is not None:
        return Span(f"superseded by {row.superseded_by}", "dim")
    return Span("LOST", "red")


def differences(row: TestRow) -> str:
    """The measurements that are not what they were right after the edit."""
    compared = ((name, now, row.at_edit.get(name)) for name, now in row.metrics.items())
    return ", ".join(
        f"{name} {number(now)} (was {number(then)})"
        for name, now, then in compared
        if then is not None and number(then) != number(now)
    )
