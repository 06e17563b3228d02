"""What a run found, as pictures: bars of scores, lines over edits.

Promise: a picture shows what its table says and nothing else; what holds for every picture is in
`ledger.figures`.

    draw(sheet_of("methods", rows), Path("fig2-5.svg"))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from ledger.figures import COLOURS, GREY, picture, plain
from ledger.runs.tables import SECONDS, WHERE, Sheet

_STYLES: Final = ("-", "--", "-.", ":")
_LEAST: Final = (0.8, 1.02)  # an axis of scores shows so much, so that small changes look small
_HATCHES: Final = ("", "//", "..")
Panel = tuple[str, str, str]  # model, data, mode
Lines = list[dict[str, Any]]


def draw(sheet: Sheet, path: Path) -> None:
    """Draw a table into a file, which is replaced. Raises: as `ledger.figures.picture`."""
    texts = [str(value) for row in sheet.rows for value in row[: len(WHERE)]]
    panels: dict[Panel, Lines] = {}
    for row in sheet.rows:
        named = dict(zip(sheet.headings, row, strict=True))
        panels.setdefault((named["model"], named["data"], named["mode"]), []).append(named)
    with picture(path, texts) as figure:
        _DRAWN[sheet.kind](figure, panels, sheet.headings)


def _title(panel: Panel) -> str:
    return plain(", ".join(panel), 60)


def _style(number: int) -> tuple[str, str, str]:
    """Colour, line and hatch of the n-th method."""
    hatch = _HATCHES[number // len(COLOURS) % len(_HATCHES)]
    return COLOURS[number % len(COLOURS)], _STYLES[number % len(_STYLES)], hatch


def _methods_of(panels: Mapping[Panel, Lines]) -> list[str]:
    return list(dict.fromkeys(line["method"] for lines in panels.values() for line in lines))


def _legend(figure: Any, handles: Mapping[str, Any]) -> None:
    """One for the whole picture, in as many columns as its width takes."""
    longest = max(map(len, handles), default=1)
    columns = int(figure.get_figwidth() / (0.75 + 0.08 * longest))
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside lower center",
        ncols=max(1, min(len(handles), columns)),
        fontsize=8,
    )


# --- bars ---------------------------------------------------------------------------------------


def _scores(figure: Any, panels: Mapping[Panel, Lines], headings: Sequence[str]) -> None:
    """Scores of every method side by side; times, where known, have an axis of their own."""
    scores = [
        name for name in headings if name not in {*WHERE, "records", "refused", SECONDS, "layer"}
    ]
    timed = SECONDS in headings
    order = _methods_of(panels)
    figure.set_size_inches(2.5 + 1.05 * len(scores) + 2.2 * timed, 2.5 * len(panels) + 0.6)
    shape = {"width_ratios": [1, 0.55 * len(scores)]} if timed else {}
    rows = figure.subplots(len(panels), 1 + timed, squeeze=False, **shape)
    for axes, (panel, lines) in zip(rows, panels.items(), strict=True):
        _grouped(axes[-1], scores, lines, order)
        axes[-1].set_title(_title(panel), fontsize=10)
        axes[-1].set_ylim(0, 1.2)
        if timed:
            _times(axes[0], lines, order)
    handles, labels = rows[0][-1].get_legend_handles_labels()
    _legend(figure, dict(zip(labels, handles, strict=True)))


def _grouped(axes: Any, scores: Sequence[str], lines: Lines, order: Sequence[str]) -> None:
    width = 0.8 / max(1, len(order))
    by_method = {line["method"]: line for line in lines}
    for number, method in enumerate(order):
        line = by_method.get(method, {})
        colour, _, hatch = _style(number)
        heights = [line.get(score) for score in scores]
        places = [place - 0.4 + (number + 0.5) * width for place in range(len(scores))]
        drawn = axes.bar(
            places,
            [height or 0.0 for height in heights],
            width,
            color=colour,
            hatch=hatch,
            label=plain(method),
        )
        labels = ["" if height is None else f"{height:.2f}" for height in heights]
        axes.bar_label(drawn, labels, fontsize=5.5, rotation=90, padding=1)
    axes.set_xticks(range(len(scores)), scores, fontsize=9)
    axes.margins(y=0.15)


def _times(axes: Any, lines: Lines, order: Sequence[str]) -> None:
    timed = [line for line in lines if line[SECONDS] is not None]
    colours = [_style(order.index(line["method"]))[0] for line in timed]
    drawn = axes.bar([plain(line["method"], 12) for line in timed],
                     [line[SECONDS] for line in timed], color=colours)  # fmt: skip
    axes.bar_label(drawn, [f"{line[SECONDS]:.2g}" for line in timed], fontsize=7)
    axes.set_ylabel("seconds for an edit")
    axes.tick_params(axis="x", labelrotation=90, labelsize=8)
    axes.margins(y=0.15)


# --- lines --------------------------------------------------------------------------------------


def _locality(figure: Any, panels: Mapping[Panel, Lines], headings: Sequence[str]) -> None:
    """The mean so far as a line, each edit as a dot."""
    scores = [name for name in ("L random", "L same subject") if name in headings]
    means = {name: f"{name}, mean so far" for name in scores}
    _series(figure, panels, scores, "edit", means)


def _retention(figure: Any, panels: Mapping[Panel, Lines], headings: Sequence[str]) -> None:
    """All edits so far, measured again after some number of them."""
    scores = [name for name in ("R", "G", "L", "L random") if name in headings]
    _series(figure, panels, scores, "edits", {})


def _series(
    figure: Any,
    panels: Mapping[Panel, Lines],
    scores: Sequence[str],
    along: str,
    means: Mapping[str, str],
) -> None:
    """One row a panel, one column a score, one line a method."""
    order = _methods_of(panels)
    figure.set_size_inches(3.6 * len(scores) + 0.6, 2.6 * len(panels) + 0.6)
    grid = figure.subplots(len(panels), len(scores), squeeze=False, sharey=True)
    for row, (panel, lines) in zip(grid, panels.items(), strict=True):
        for axes, score in zip(row, scores, strict=True):
            for number, method in enumerate(order):
                own = [line for line in lines if line["method"] == method]
                _line(axes, own, (along, score, means.get(score)), _style(number), method)
            axes.set_title(score, fontsize=9)
            axes.grid(axis="y", color=GREY, alpha=0.2)
            axes.xaxis.get_major_locator().set_params(integer=True)
        row[0].set_ylabel(_title(panel), fontsize=8)
    low, high = grid[0][0].get_ylim()  # all panels share it
    grid[0][0].set_ylim(min(low, _LEAST[0]), max(high, _LEAST[1]))
    for axes in grid[-1]:
        axes.set_xlabel("edits" if along == "edits" else "edit number")
    handles = {
        label: handle
        for axes in grid.flat
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    _legend(figure, handles)


def _line(
    axes: Any,
    lines: Lines,
    columns: tuple[str, str, str | None],
    style: tuple[str, str, str],
    label: str,
) -> None:
    along, score, so_far = columns
    colour, dashes, _ = style
    places = [line[along] for line in lines if line[score] is not None]
    values = [line[score] for line in lines if line[score] is not None]
    if not values:
        return
    if so_far is None:
        axes.plot(
            places, values, dashes, color=colour, marker="o", markersize=3, label=plain(label)
        )
        return
    means = [line[so_far] for line in lines if line[score] is not None]
    axes.plot(places, values, ".", color=colour, alpha=0.35, markersize=4)
    axes.plot(places, means, dashes, color=colour, label=plain(label))


_DRAWN: Final[Mapping[str, Callable[[Any, Mapping[Panel, Lines], Sequence[str]], None]]] = (
    MappingProxyType(
        {
            "methods": _scores,
            "constraints": _scores,
            "layers": _scores,
            "locality": _locality,
            "retention": _retention,
        }
    )
)
