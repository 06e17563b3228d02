"""What a run found, as tables. Pure: rows in, numbers out.

Promise: every number is a mean over all records of its line, refused ones among them; the same rows
give the same table, and without times so do rows of a run that was cut short and went on.

Kinds: `methods` (time, R, G, P, L of each method: figure 2-5 of the thesis), `locality` (after each
edit and so far: figures 2-6 to 2-8), `constraints` (table 3-1), `layers` (table 3-3), `retention`
(all edits of a sequence, measured again).

    sheet = sheet_of("methods", rows, timed=True)
    print(markdown(sheet))
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from ledger.errors import InvalidInput
from ledger.evaluation.metrics import mean
from ledger.runs.rows import RETENTION, Row

WHERE: Final = ("model", "data", "mode", "method")
SECONDS: Final = "seconds"
# Column -> metric.
SCORES: Final = MappingProxyType(
    {
        "R": "reliability",
        "G": "generalization",
        "P": "portability",
        "L": "locality",
        "L random": "locality_random",
        "L same subject": "locality_same_subject",
    }
)
FREE: Final = MappingProxyType({"R free": "reliability_free"})
_PREFERENCE: Final = ("ES", "PS", "NS", "S", "EM", "PM", "NM")
_SO_FAR: Final = ("L random", "L same subject")
_MARKS: Final = (0.1, 0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Sheet:
    """A table: texts first, then numbers; None where nothing was asked."""

    kind: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def column(self, name: str) -> list[Any]:
        """The values under a heading."""
        place = self.headings.index(name)
        return [row[place] for row in self.rows]


def sheet_of(kind: str, rows: Sequence[Row], *, timed: bool = True) -> Sheet:
    """The table of a kind; `timed` says whether it has the column of seconds.

    Raises: InvalidInput for a run without rows that such a table is made of.
    """
    headings, made = _KINDS[kind]
    found = list(made(rows))
    if not found:
        what = "a sequence's marks" if kind == RETENTION else "edits"
        raise InvalidInput(f"the run has no rows of {what} yet: nothing to show as {kind}")
    kept = [i for i, name in enumerate(headings) if (timed or name != SECONDS)]
    kept = [i for i in kept if any(row[i] is not None for row in found)]
    return Sheet(
        kind, tuple(headings[i] for i in kept), tuple(tuple(row[i] for i in kept) for row in found)
    )


# --- forms --------------------------------------------------------------------------------------


def markdown(sheet: Sheet) -> str:
    """A table of Markdown, numbers with three digits; of a long series some lines."""
    texts = len(WHERE)
    lines = ["| " + " | ".join(sheet.headings) + " |"]
    rule = ["---" if i < texts else "---:" for i in range(len(sheet.headings))]
    lines.append("| " + " | ".join(rule) + " |")
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in _brief(sheet)]
    return "\n".join(lines) + "\n"


def comma_separated(sheet: Sheet) -> str:
    """All rows as comma-separated values, numbers in full."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(sheet.headings)
    writer.writerows(["" if value is None else value for value in row] for row in sheet.rows)
    return text.getvalue()


def write_csv(sheet: Sheet, path: Path) -> None:
    """Write all rows; an existing file is replaced. Raises: InvalidInput."""
    try:
        path.write_text(comma_separated(sheet), "utf-8")
    except OSError as error:
        raise InvalidInput(f"cannot write {path}: {error.strerror or error}") from error


def plain(sheet: Sheet) -> dict[str, Any]:
    """As JSON: one object a row."""
    return {
        "kind": sheet.kind,
        "rows": [dict(zip(sheet.headings, row, strict=True)) for row in sheet.rows],
    }


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value).replace("|", r"\|")


def _brief(sheet: Sheet) -> Iterator[tuple[Any, ...]]:
    """The lines that are worth reading: a series of edits at some of its places."""
    if sheet.kind != "locality":
        yield from sheet.rows
        return
    for _, part in groupby(sheet.rows, key=lambda row: row[: len(WHERE)]):
        series = list(part)
        places = sorted({max(1, round(share * len(series))) for share in _MARKS})
        yield from (series[place - 1] for place in places)


# --- kinds --------------------------------------------------------------------------------------


def _cells(rows: Iterable[Row], family: str) -> Iterator[tuple[tuple[str, ...], list[Row]]]:
    """The rows of each cell that has some of a family, in order."""
    chosen = (row for row in rows if row.family == family)
    for key, part in groupby(chosen, key=lambda row: (row.model, row.data, row.mode, row.method)):
        yield key, list(part)


def _mean(rows: Iterable[Row], metric: str) -> float | None:
    return mean(row.metrics[metric] for row in rows if metric in row.metrics)


def _counts(rows: Sequence[Row]) -> tuple[int, int]:
    return len(rows), sum(row.outcome == "refused" for row in rows)


def _layer(rows: Iterable[Row]) -> float | None:
    """The mean of the layers of edits that have one."""
    return mean(float(row.layers[0]) for row in rows if len(row.layers) == 1)


def _methods(rows: Sequence[Row]) -> Iterator[tuple[Any, ...]]:
    preferred = dict(_cells(rows, "preference"))
    for key, own in _cells(rows, "answers"):
        seconds = mean(row.seconds for row in own if row.seconds is not None)
        scores = [_mean(own, metric) for metric in (*SCORES.values(), *FREE.values())]
        shares = [_mean(preferred.get(key, ()), metric) for metric in _PREFERENCE]
        yield (*key, *_counts(own), seconds, *scores, *shares)


def _constraints(rows: Sequence[Row]) -> Iterator[tuple[Any, ...]]:
    names = ("R", "G", "P", "L random", "L same subject")
    for key, own in _cells(rows, "answers"):
        yield (*key, *_counts(own), *(_mean(own, SCORES[name]) for name in names))


def _layers(rows: Sequence[Row]) -> Iterator[tuple[Any, ...]]:
    for key, own in _cells(rows, "answers"):
        yield (
            *key,
            *_counts(own),
            _layer(own),
            *(_mean(own, SCORES[n]) for n in ("R", "G", "P", "L")),
        )


def _locality(rows: Sequence[Row]) -> Iterator[tuple[Any, ...]]:
    for key, own in _cells(rows, "answers"):
        if all(row.outcome == "unedited" for row in own):
            continue
        sums: dict[str, list[float]] = {name: [] for name in _SO_FAR}
        for number, row in enumerate(own, start=1):
            found = [row.metrics.get(SCORES[name]) for name in _SO_FAR]
            for name, value in zip(_SO_FAR, found, strict=True):
                sums[name] += [] if value is None else [value]
            yield (*key, number, *found, *(mean(sums[name]) for name in _SO_FAR))


def _retention(rows: Sequence[Row]) -> Iterator[tuple[Any, ...]]:
    for key, own in _cells(rows, RETENTION):
        for row in own:
            metrics = (*SCORES.values(), *FREE.values())
            yield (*key, row.place, *(row.metrics.get(metric) for metric in metrics))


_COUNTS: Final = ("records", "refused")
_KINDS: Final[Mapping[str, tuple[tuple[str, ...], Any]]] = MappingProxyType(
    {
        "methods": ((*WHERE, *_COUNTS, SECONDS, *SCORES, *FREE, *_PREFERENCE), _methods),
        "locality": (
            (*WHERE, "edit", *_SO_FAR, *(f"{name}, mean so far" for name in _SO_FAR)),
            _locality,
        ),
        "constraints": (
            (*WHERE, *_COUNTS, "mR", "mG", "mP", "mL random", "mL different relation"),
            _constraints,
        ),
        "layers": ((*WHERE, *_COUNTS, "layer", "mR", "mG", "mP", "mL"), _layers),
        RETENTION: ((*WHERE, "edits", *SCORES, *FREE), _retention),
    }
)
KINDS: Final = tuple(_KINDS)
