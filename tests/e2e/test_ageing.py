"""`kel history` tells what was measured on each version; what was not, only if it is asked to."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from ledger import Ledger
from ledger.ageing import aged
from tests.e2e.harness import ROOT, Kel


def test_numbers_are_those_that_were_recorded_and_gaps_are_told(kel: Kel) -> None:
    found = kel.json("history")
    rows = found["versions"]
    assert [(r["version"], r["op"], r["active"], r["source"]) for r in rows] == [
        (0, "init", 0, "base"),
        (1, "apply", 1, "edit"),
        (2, "apply", 2, "edit"),
        (3, "apply", 3, "edit"),
        (4, "revert", 2, ""),
    ]
    assert found["unmeasured"] == [4]
    own = [kel.json("show", str(n))["metrics"] for n in (1, 2, 4)]
    alone, both, three = (r["reliability"] for r in rows[1:4])
    assert alone == own[0]["reliability"]
    assert both == pytest.approx((own[1]["reliability"] + own[1]["earlier_reliability"]) / 2)
    assert three == pytest.approx((own[2]["reliability"] + 2 * own[2]["earlier_reliability"]) / 3)
    assert [r["locality"] for r in rows[1:4]] == [m["locality_random"] for m in own]
    made = own[0]["reliability"] + own[1]["reliability"]
    assert rows[2]["drift"] == pytest.approx(both - made / 2)
    assert (rows[0]["locality"], rows[0]["reliability"], rows[1]["drift"]) == (1.0, None, 0.0)
    assert "1 versions have no numbers: kel history --measure" in kel("history").out


def test_measuring_fills_the_gaps_as_a_test_would(kel: Kel, ledger: Path) -> None:
    filled = kel.json("history", "--measure")
    assert (filled["unmeasured"], filled["versions"][4]["source"]) == ([], "test")
    with Ledger.open(ledger) as opened:
        tested = opened.test()
        assert filled["versions"][4]["reliability"] == pytest.approx(tested.metrics["reliability"])
        assert filled["versions"][4]["locality"] == tested.metrics["locality_random"]
        entries = opened.status().entries
        assert opened.history(measure=True).unmeasured == ()
        assert opened.status().entries == entries  # nothing was missing, nothing was measured
        partial = opened.test("v2", ["1"])
        assert partial.metrics
        assert aged(opened.journal).versions[2].source == "edit"
        opened.revert(["1", "2"])
        assert opened.history().versions[-1].source == "base"
    assert kel("verify").status == 0


def test_a_picture_has_its_numbers_beside_it(kel: Kel, tmp_path: Path) -> None:
    files = [tmp_path / f"{n}.svg" for n in range(2)]
    for file in files:
        assert kel("history", "plot", "--out", str(file)).status == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    numbers = files[0].with_suffix(".csv").read_text("utf-8")
    lines = list(csv.DictReader(numbers.splitlines()))
    assert [line["op"] for line in lines] == ["init", "apply", "apply", "apply", "revert"]
    assert (lines[4]["edits"], lines[4]["reliability"]) == ("4", "")
    assert kel("history", "--csv", str(tmp_path / "x.csv")).status == 0
    assert (tmp_path / "x.csv").read_bytes() == files[0].with_suffix(".csv").read_bytes()


def test_what_cannot_be_drawn_or_written_is_refused(
    kel: Kel, tmp_path: Path, tiny_base: Path
) -> None:
    kel.refused(2, "history", "plot", "--out", str(tmp_path / "x.gif"), says=[".png, .svg"])
    nowhere = str(tmp_path / "no" / "x.csv")
    kel.refused(2, "history", "--csv", nowhere, says=["cannot write"])
    kel.refused(2, "history", "--measure", "plot", says=["after plot"])
    new = Kel(tmp_path / "new")
    assert new("init", str(tmp_path / "new"), "--base", str(tiny_base)).status == 0
    new.refused(2, "history", "plot", says=["nothing to draw"])
    assert [row["version"] for row in new.json("history")["versions"]] == [0]


def test_reading_takes_no_model_along(ledger: Path) -> None:
    code = (
        "import sys; from cli.main import main; "
        f"main(['--ledger', {str(ledger)!r}, 'history', '--quiet']); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
