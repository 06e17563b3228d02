"""The table of the benchmarks: ratios, goals, and columns that line up."""

from __future__ import annotations

from importlib import import_module

import pytest

from bench.__main__ import SECTIONS, main
from bench.clock import in_turns
from bench.machine import processor
from bench.table import Row, number, rendered

ROW = Row("fold", "one component", 4.8, "ms", "a copy", 6.0, goal=1.0)


def test_a_row_shows_both_values_their_ratio_and_the_goal():
    cells = ("fold: one component", "4.80 ms", "a copy", "6.00 ms", "0.800x", "<= 1x", "met")
    assert ROW.cells() == cells


@pytest.mark.parametrize(
    ("goal", "limit", "met"),
    [
        (0.8, None, True),
        (0.79, None, False),
        (None, 4.8, True),
        (None, 4.7, False),
        (1.0, 4.7, False),
        (None, None, None),
    ],
)
def test_a_goal_bounds_the_ratio_and_a_limit_the_value(goal, limit, met):
    assert Row("x", "y", 4.8, "ms", "z", 6.0, goal=goal, limit=limit).met is met


def test_the_table_is_markdown_with_columns_that_line_up():
    lines = rendered([ROW, Row("export", "a long name of a thing", 12345, "s", "b", 1)]).split("\n")
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    assert {line.count("|") for line in lines} == {8}
    assert set(lines[1]) == {"|", "-"}
    assert "12345x" in lines[3]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0012345, "0.00123"), (0.5, "0.500"), (12.34, "12.3"), (999.4, "999"), (1234.5, "1234")],
)
def test_numbers_have_three_digits_that_count(value, text):
    assert number(value) == text


def test_a_peer_of_nothing_is_no_peer():
    with pytest.raises(ValueError, match="no ratio"):
        Row("x", "y", 1.0, "s", "z", 0.0)


def test_works_take_turns_after_a_round_that_does_not_count():
    seen: list[str] = []
    works = [lambda: seen.append("a"), lambda: seen.append("b")]
    times = in_turns(works, repeats=2, tidy=lambda: seen.append("-"))
    assert seen == list("a-b-" * 3)
    assert all(taken >= 0 for taken in times)


def test_every_section_can_be_measured_and_others_are_refused(capsys):
    assert all(callable(import_module(f"bench.{name}").measure) for name in SECTIONS)
    assert main(["speed"]) == 2
    assert "no section speed" in capsys.readouterr().err


def test_the_machine_has_a_name():
    assert processor().strip()
