"""An analysis as a table of numbers, for a file of comma-separated values.

Promise: everything a picture shows is in the table beside it; UTF-8, one row a value.

    headings, rows = table(view)
    write_csv(view, Path("trace.csv"))
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from ledger.views import AnalysisView

Row = Sequence[Any]


def table(view: AnalysisView) -> tuple[tuple[str, ...], list[Row]]:
    """Headings and rows of an analysis."""
    headings, rows = _TABLES[view.kind]
    return headings, list(rows(view))


def write_csv(view: AnalysisView, path: Path) -> None:
    """Write the table; an existing file is replaced. Raises: OSError."""
    headings, rows = table(view)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(headings)
        writer.writerows(rows)


def _trace(view: AnalysisView) -> Iterator[Row]:
    content = view.content
    for kind, grid in content["effects"].items():
        for i, row in enumerate(content["rows"]):
            errors = content["errors"][kind][i] if content["errors"] else None
            for layer, effect in enumerate(grid[i]):
                error = "" if errors is None else errors[layer]
                yield (i, row, content["counts"][i], kind, layer, effect, error)


def _lens(view: AnalysisView) -> Iterator[Row]:
    for reading in view.content["readings"]:
        for word in reading["words"]:
            columns = (reading["tokens"], reading["chance"], word["chance"], word["rank"])
            for layer, (token, top, chance, rank) in enumerate(zip(*columns, strict=True)):
                yield (reading["version"], layer, token, top, word["word"], chance, rank)


def _activations(view: AnalysisView) -> Iterator[Row]:
    for prompt in view.content["prompts"]:
        for layer, count in enumerate(prompt["counts"]):
            yield (prompt["prompt"], layer, count, int(layer == prompt["layer"]))


def _layers(view: AnalysisView) -> Iterator[Row]:
    for rule in view.content["rules"]:
        pairs = zip(view.content["prompts"], rule["layers"], strict=True)
        yield from ((rule["rule"], prompt, layer) for prompt, layer in pairs)


_Table = tuple[tuple[str, ...], Callable[[AnalysisView], Iterator[Row]]]
_TABLES: Final[MappingProxyType[str, _Table]] = MappingProxyType(
    {
        "trace": (("place", "row", "facts", "kind", "layer", "effect", "error95"), _trace),
        "lens": (
            ("version", "layer", "token", "probability", "word", "word_probability", "word_rank"),
            _lens,
        ),
        "activations": (("prompt", "layer", "active_units", "chosen"), _activations),
        "layers": (("rule", "prompt", "layer"), _layers),
    }
)
