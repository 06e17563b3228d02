"""The page of the thesis has a place for everything that is made for it, and it is there."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from ledger.demo.thesis import RUNS, put
from ledger.errors import InvalidInput
from ledger.runs.reading import load
from ledger.runs.tables import KINDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "thesis.md").read_text("utf-8")
PARTS = [*RUNS, "table3-2", "layers", "table3-4"]


@pytest.mark.parametrize("name", PARTS)
def test_a_part_has_its_place_and_something_in_it(name: str) -> None:
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    inner = PAGE.split(begin)[1].split(end)[0]
    assert len([line for line in inner.splitlines() if line.startswith("|")]) > 2
    assert put(PAGE, name, "x\n") == PAGE.replace(inner, "\nx\n")


def test_a_page_without_a_place_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no place for fig2-5"):
        put("<!-- fig2-5: begin -->", "fig2-5", "")


def test_every_run_is_a_configuration_and_a_kind() -> None:
    for config, kind in RUNS.values():
        assert load(f"thesis/{config}").methods
        assert kind in KINDS


def test_every_picture_has_its_numbers_beside_it() -> None:
    pictures = re.findall(r"\]\((thesis/[\w-]+\.svg)\)", PAGE)
    assert len(pictures) == len(set(pictures)) > 8
    for name in pictures:
        numbers = (ROOT / "docs" / name).with_suffix(".csv").read_text("utf-8")
        assert len(list(csv.reader(numbers.splitlines()))) > 1
    shown = {path.name for path in (ROOT / "docs" / "thesis").glob("*.svg")}
    assert shown == {Path(name).name for name in pictures}
