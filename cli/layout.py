"""Tables and lists of fields, laid out as lines; and how single values are written.

Promise: columns are aligned for every script; a table wider than the terminal shortens its widest
text column and nothing else.
Rules: pure; texts are escaped before they are measured; what is printed is decided in `cli.output`.

    table = Table(("edit", "fact"), [("1", "Ada was born in -> Paris")], right=(0,))
    table.lines(columns=80)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cli.documents import plain
from cli.text import Line, Part, Span, cut, escape, pad, width

_GAP = "  "
_NARROWEST = 12
_LONG_SERIES = 8
_MANY_RUNS, _FIRST_RUNS = 12, 3


@dataclass(frozen=True)
class Table:
    """Rows under a heading; `right` names the columns of numbers. No headings: no heading line."""

    headings: tuple[str, ...]
    rows: Sequence[Sequence[Part]]
    right: tuple[int, ...] = ()
    indent: int = 0

    def lines(self, columns: int | None) -> list[Line]:
        """The lines, at most `columns` wide where that can be done; None is no limit."""
        heading: list[Sequence[Part]] = []
        if self.headings:
            heading.append([Span(text, "dim") for text in self.headings])
        rows = [[_clean(cell) for cell in row] for row in (*heading, *self.rows)]
        widths = _widths(rows)
        if columns is not None:
            _shrink(widths, columns - self.indent)
        return [self._line(row, widths) for row in rows]

    def _line(self, row: list[Span], widths: list[int]) -> Line:
        parts: list[Part] = [" " * self.indent]
        for place, cell in enumerate(row):
            last = place == len(row) - 1
            right = place in self.right
            text = cut(cell.text, widths[place])
            padded = text if last and not right else pad(text, widths[place], right=right)
            parts += [Span(padded, cell.style), "" if last else _GAP]
        return tuple(parts)


def pairs(items: Iterable[tuple[str, Part]], indent: int = 0) -> Table:
    """Labels and values, one pair a line; pairs without a value are left out."""
    rows = [(Span(label, "dim"), value) for label, value in items if _clean(value).text]
    return Table((), rows, indent=indent)


def short(digest: str | None, length: int = 12) -> str:
    """The beginning of a hash; enough to recognise it."""
    return (digest or "")[:length]


def number(value: object) -> str:
    """A measured value: numbers with three digits after the point, others as they are."""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def size(count: int) -> str:
    """A number of bytes for people: '512 B', '18.4 MB' (powers of 1000)."""
    if count < 1000:
        return f"{count} B"
    amount = count / 1000
    for unit in ("kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def when(created_at: str) -> str:
    """A stored time without its fraction: '2026-01-02 03:04:05'."""
    return created_at[:19].replace("T", " ")


def valid(first: str | None, last: str | None) -> str:
    """From when to when: '2026-01-01 to 2026-12-31', 'from …', 'until …'; '' for always."""
    if first and last:
        return f"{first} to {last}"
    return f"from {first}" if first else f"until {last}" if last else ""


def metrics(values: Mapping[str, float]) -> str:
    """Measurements on one line: 'reliability 1.000, locality 0.980'."""
    return ", ".join(f"{name} {number(value)}" for name, value in values.items())


def fact(fields: Mapping[str, object]) -> str:
    """A request or a fact on one line: 'prompt with its subject -> target'."""
    text = str(fields.get("prompt")).replace("{}", str(fields.get("subject")))
    return f"{text} -> {fields.get('target_new')}"


def numbers(ids: Iterable[int]) -> str:
    """Edit numbers with runs joined: '1-3, 7'; '-' for none."""
    return ", ".join(map(_written, _runs(ids))) or "-"


def many(ids: Sequence[int]) -> str:
    """The same; of many runs the first: '91,000: 1-24, 26-32, 34 and 90,968 more (kel log)'."""
    runs = _runs(ids)
    if len(runs) <= _MANY_RUNS:
        return numbers(ids)
    shown = runs[:_FIRST_RUNS]
    more = len(ids) - sum(map(len, shown))
    return f"{len(ids):,}: {', '.join(map(_written, shown))} and {more:,} more (kel log)"


def _runs(ids: Iterable[int]) -> list[range]:
    runs: list[range] = []
    for item in ids:
        if runs and item == runs[-1].stop:
            runs[-1] = range(runs[-1].start, item + 1)
        else:
            runs.append(range(item, item + 1))
    return runs


def _written(run: range) -> str:
    return str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}"


def value_text(value: object) -> str:
    """A value of a parameter table, compact: long series as their ends and their length."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return _series(value)
    return json.dumps(plain(value), ensure_ascii=False)


def _series(values: Sequence[object]) -> str:
    if len(values) > _LONG_SERIES:
        return f"{value_text(values[0])} … {value_text(values[-1])} ({len(values)} values)"
    return ", ".join(value_text(value) for value in values)


def _clean(part: Part) -> Span:
    span = part if isinstance(part, Span) else Span(part)
    return Span(escape(span.text), span.style)


def _widths(rows: list[list[Span]]) -> list[int]:
    count = max((len(row) for row in rows), default=0)
    return [max((width(row[i].text) for row in rows if i < len(row)), default=0)
            for i in range(count)]  # fmt: skip


def _shrink(widths: list[int], columns: int) -> None:
    """Take what is too much from the widest columns, in place."""
    excess = sum(widths) + len(_GAP) * max(0, len(widths) - 1) - columns
    while excess > 0 and widths:
        widest = max(range(len(widths)), key=widths.__getitem__)
        others = sorted(widths)[-2] if len(widths) > 1 else 0
        target = max(_NARROWEST, others - 1, widths[widest] - excess)
        if target >= widths[widest]:
            return
        excess -= widths[widest] - target
        widths[widest] = target
