"""Plots as the geometry of an SVG; the template `plot.html` draws them.

Promise: numbers only: texts go through the template, which escapes them; a value that is missing or
not finite breaks its line.

    plot({"reliability": [(1, 1.0), (2, None), (3, 0.9)]}, marks=[3]).lines[0].path
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

Point = tuple[float, float | None]
# About as wide as a telephone shows, so that its texts are as large as other small ones.
WIDTH, HEIGHT = 320, 160
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 10, 26
_STEPS: Final = 4
_MOST_LABELS: Final = 6
_MOST_DOTS: Final = 200


@dataclass(frozen=True)
class Dot:
    """One value, in pixels, with its numbers."""

    x: float
    y: float
    at: float
    value: float


@dataclass(frozen=True)
class Line:
    """A series: its path, and its dots if they are few."""

    name: str
    path: str
    dots: tuple[Dot, ...]


@dataclass(frozen=True)
class Plot:
    """A picture of WIDTH by HEIGHT; ticks are (pixel, number), marks are pixels."""

    lines: tuple[Line, ...]
    xticks: tuple[tuple[float, float], ...]
    yticks: tuple[tuple[float, float], ...]
    marks: tuple[float, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM


def plot(
    series: Mapping[str, Sequence[Point]],
    *,
    marks: Iterable[float] = (),
    least: tuple[float, float] = (0.0, 1.0),
) -> Plot | None:
    """The picture of series over common places, at least `least` high; None without a value."""
    known = [(x, y) for points in series.values() for x, y in points if _told(y)]
    if not known:
        return None
    places = sorted({x for points in series.values() for x, _ in points})
    values = [y for _, y in known if y is not None]
    low, high = min(least[0], *values), max(least[1], *values)
    across = _scale(places[0], places[-1], _LEFT, WIDTH - _RIGHT)
    up = _scale(low, high, HEIGHT - _BOTTOM, _TOP)
    steps = [low + (high - low) * step / _STEPS for step in range(_STEPS + 1)]
    shown = places[:: max(1, -(-len(places) // _MOST_LABELS))]
    return Plot(
        tuple(_line(name, points, across, up) for name, points in series.items()),
        tuple((across.at(x), x) for x in shown),
        tuple((up.at(y), y) for y in steps),
        tuple(across.at(x) for x in marks),
    )


@dataclass(frozen=True)
class _Scale:
    first: float
    factor: float
    start: float

    def at(self, value: float) -> float:
        return round(self.start + (value - self.first) * self.factor, 1)


def _scale(first: float, last: float, start: float, end: float) -> _Scale:
    return _Scale(first, (end - start) / ((last - first) or 1), start)


def _told(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _line(name: str, points: Sequence[Point], across: _Scale, up: _Scale) -> Line:
    parts, dots, before = [], [], False
    for x, y in points:
        told = y is not None and math.isfinite(y)
        if told and y is not None:
            dots.append(Dot(across.at(x), up.at(y), x, y))
            parts.append(f"{'L' if before else 'M'}{dots[-1].x} {dots[-1].y}")
        before = told
    return Line(name, "".join(parts), tuple(dots) if len(dots) <= _MOST_DOTS else ())
