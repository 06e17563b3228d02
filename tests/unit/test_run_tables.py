"""Tables of runs are means of rows, and configurations are compared field by field."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.errors import IntegrityFailure, InvalidInput
from ledger.runs.config import Mode, differences
from ledger.runs.rows import Row, RunFolder
from ledger.runs.tables import comma_separated, markdown, sheet_of

COUNT = 4


def row(place: int, method: str = "FT", **fields: object) -> Row:
    values = {"model": "m", "data": "d", "mode": "single", "family": "answers", "record": "r",
              "outcome": "edited", "metrics": {"reliability": 1.0}, **fields}  # fmt: skip
    return Row(method=method, place=place, **values)  # type: ignore[arg-type]


ROWS = [
    row(0, metrics={"reliability": 1.0, "locality_random": 0.5}, seconds=2.0, layers=(3,)),
    row(1, metrics={"reliability": 0.0, "locality_random": 1.0}, outcome="refused"),
    row(2, metrics={"reliability": 0.5, "locality_random": 0.9}, seconds=4.0, layers=(5,)),
    row(0, "KN | x", metrics={"reliability": 0.25}, layers=(1, 2)),
]


def test_means_are_over_all_records_and_times_over_those_that_took_some() -> None:
    sheet = sheet_of("methods", ROWS)
    assert sheet.headings == ("model", "data", "mode", "method", "records", "refused", "seconds",
                              "R", "L random")  # fmt: skip
    assert sheet.rows[0] == ("m", "d", "single", "FT", 3, 1, 3.0, 0.5, pytest.approx(0.8))
    assert sheet.rows[1] == ("m", "d", "single", "KN | x", 1, 0, None, 0.25, None)
    assert "| KN \\| x | 1 | 0 |  | 0.250 |  |" in markdown(sheet)
    assert comma_separated(sheet).splitlines()[2] == "m,d,single,KN | x,1,0,,0.25,"
    assert "seconds" not in sheet_of("methods", ROWS, timed=False).headings


def test_a_layer_is_the_mean_of_edits_that_have_one() -> None:
    sheet = sheet_of("layers", ROWS)
    assert sheet.column("layer") == [4.0, None]
    assert sheet.column("mR") == [0.5, 0.25]


def test_locality_is_told_for_each_edit_and_so_far() -> None:
    sheet = sheet_of("locality", [*ROWS[:3], row(0, "before", outcome="unedited")])
    assert sheet.column("L random") == [0.5, 1.0, 0.9]
    assert sheet.column("L random, mean so far") == [0.5, 0.75, pytest.approx(0.8)]
    assert set(sheet.column("method")) == {"FT"}


def test_retention_has_a_line_for_every_mark() -> None:
    marks = [
        row(n, family="retention", mode="sequential", outcome="retested", record="") for n in (1, 5)
    ]
    assert sheet_of("retention", [*ROWS, *marks]).column("edits") == [1, 5]
    with pytest.raises(InvalidInput, match="no rows of a sequence's marks"):
        sheet_of("retention", ROWS)


def test_differences_name_the_field() -> None:
    old = {"seed": 0, "methods": [{"name": "a", "layer": 5}], "gone": 1}
    new = {"seed": 0, "methods": [{"name": "a", "layer": 6}], "new": "x" * 100}
    assert differences(old, old) == []
    found = differences(old, new)
    assert found[:2] == ["gone: 1 -> None", "methods[0].layer: 5 -> 6"]
    assert found[2].startswith("new: None -> 'xxx")
    assert len(found[2]) < 90
    assert differences([1], [1, 2], "at") == ["at: [1] -> [1, 2]"]


@pytest.mark.parametrize("text", ["", "batch", "batch x", "batch 0", "batch 9999", "single 2", "x"])
def test_what_is_no_mode(text: str) -> None:
    with pytest.raises(InvalidInput, match="no mode"):
        Mode.parse(text)


def test_rows_are_appended_whole_and_a_torn_one_is_cut_off(tmp_path: Path) -> None:
    place = RunFolder(tmp_path / "run")
    config = {"models": [{"name": "m"}], "data": [{"name": "d"}], "modes": ["single"],
              "methods": [{"name": "FT"}, {"name": "KN | x"}]}  # fmt: skip
    with place.opened(config, (1, 1), COUNT) as rows:
        rows.append(ROWS[:2])
    file = place.root / "rows.jsonl"
    with file.open("ab") as torn:
        torn.write(b'{"model"')
    assert place.rows() == ROWS[:2]
    with place.opened(config, (1, 1), COUNT) as rows:
        assert rows.known == {r.key for r in ROWS[:2]}
        rows.append(ROWS[2:])
    assert place.rows() == ROWS
    assert place.wanted() == COUNT
    file.write_bytes(b'{"model": 1}\n' + file.read_bytes())
    with pytest.raises(IntegrityFailure, match=r"rows\.jsonl, line 1 is no row"):
        place.rows()
    (place.root / "run.json").write_text("[]", "utf-8")
    with pytest.raises(IntegrityFailure, match="not of schema"):
        place.config()
