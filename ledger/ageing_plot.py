"""The age of a ledger as a picture, and its numbers as comma-separated values.

Promise: a picture shows what its table says and nothing else; reverts are marked, and a version
without measurements breaks the line.

    draw(ledger.history(), Path("history.svg"))
    write_csv(ledger.history(), Path("history.csv"))
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any, Final

from ledger.ageing import HistoryView, VersionAge
from ledger.errors import InvalidInput
from ledger.figures import BLUE, GREEN, GREY, ORANGE, picture

# Value, label, and what the axis shows at least, so that small changes look small.
_PANELS: Final = (
    ("reliability", "reliability of\nall active edits", (0.8, 1.02)),
    ("locality", "locality on\nrandom probes", (0.8, 1.02)),
    ("drift", "reliability since\neach was made", (-0.2, 0.02)),
    ("active", "active edits", (0.0, 1.0)),
)
_MARKED: Final = (("revert", ORANGE, "--"), ("reapply", GREEN, ":"))


def draw(view: HistoryView, path: Path) -> None:
    """Draw the versions. Raises: InvalidInput without a version, as `ledger.figures.picture`."""
    if len(view.versions) < 2:
        raise InvalidInput("the ledger has no version but the base: there is nothing to draw")
    with picture(path) as figure:
        figure.set_size_inches(8.0, 7.0)
        panels = figure.subplots(len(_PANELS), 1, sharex=True)
        for axes, (name, label, least) in zip(panels, _PANELS, strict=True):
            values = [_or_gap(getattr(row, name)) for row in view.versions]
            style = {"color": BLUE, "marker": "o", "markersize": 3}
            if name == "active":
                style["drawstyle"] = "steps-mid"
            axes.plot([row.version for row in view.versions], values, **style)
            low, high = axes.get_ylim()
            axes.set_ylim(min(low, least[0]), max(high, least[1]))
            axes.set_ylabel(label, fontsize=8)
            axes.grid(axis="y", color=GREY, alpha=0.2)
            _marks(axes, view.versions)
        figure.align_ylabels(panels)
        panels[2].axhline(0, color=GREY, linewidth=0.5)
        panels[-1].set_xlabel("version")
        panels[-1].xaxis.get_major_locator().set_params(integer=True)
        handles, labels = panels[0].get_legend_handles_labels()
        if handles:
            figure.legend(handles, labels, loc="outside upper center", ncols=2, fontsize=8)


def _marks(axes: Any, versions: Sequence[VersionAge]) -> None:
    for op, colour, style in _MARKED:
        places = [row.version for row in versions if row.op == op]
        for place in places:
            label = op if place == places[0] else None
            axes.axvline(place, color=colour, linestyle=style, linewidth=1, label=label)


def _or_gap(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def write_csv(view: HistoryView, path: Path) -> None:
    """Write one line a version; an existing file is replaced. Raises: InvalidInput."""
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(field.name for field in fields(VersionAge))
            for row in view.versions:
                values = (*astuple(row),)
                writer.writerow(
                    " ".join(map(str, v)) if isinstance(v, tuple) else v for v in values
                )
    except OSError as error:
        raise InvalidInput(f"cannot write {path}: {error.strerror or error}") from error


def _cell(value: object) -> object:
    return " ".join(map(str, value)) if isinstance(value, tuple) else value
