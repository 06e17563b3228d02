"""The geometry of the application's plots."""

from __future__ import annotations

import math

from cli.web.plots import HEIGHT, WIDTH, plot


def test_a_line_breaks_where_a_value_is_missing():
    found = plot({"a": [(0, 1.0), (1, None), (2, 0.5), (3, math.nan), (4, 0.0), (5, 0.25)]})
    (line,) = found.lines
    assert [part[0] for part in line.path.replace("L", " L").replace("M", " M").split()[::2]] == [
        *"MMML"
    ]
    assert [(dot.at, dot.value) for dot in line.dots] == [(0, 1.0), (2, 0.5), (4, 0.0), (5, 0.25)]


def test_everything_lies_within_the_frame():
    values = [3.0, -2.0, 0.5, 90.0]
    found = plot({"a": list(enumerate(values)), "b": [(9, 1.0)]}, marks=[2, 9])
    for dot in (dot for line in found.lines for dot in line.dots):
        assert found.left <= dot.x <= found.right <= WIDTH
        assert found.top <= dot.y <= found.bottom <= HEIGHT
    assert all(found.left <= x <= found.right for x in found.marks)
    heights = [dot.y for dot in found.lines[0].dots]
    assert sorted(range(4), key=lambda i: -heights[i]) == sorted(range(4), key=lambda i: values[i])


def test_without_a_value_there_is_no_plot_and_many_values_are_a_line_only():
    assert plot({"a": [(0, None), (1, math.inf)]}) is None
    many = plot({"a": [(i, 0.5) for i in range(1000)]})
    assert (many.lines[0].dots, many.lines[0].path.count("L")) == ((), 999)
    assert len(many.xticks) <= 6
    assert len(plot({"a": [(4, 0.5)]}).lines[0].dots) == 1
