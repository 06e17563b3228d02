"""`kel interference`, and what edit, revert and test say of it, on real edits of a tiny model."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from ledger import EditRequest, Ledger
from ledger.foreseeing import foreseen
from ledger.interference import everything
from ledger.settings import Settings
from tests.e2e.harness import QUICK, SETTINGS, Kel, picture, rows
from tests.reference.formats_reference import read_object

NEW = EditRequest("Alan Turing", "{} lived in", "Paris")
ARGV = ("--subject", "Alan Turing", "--prompt", "{} lived in", "--target", "Paris")


def by_hand(kel: Kel, i: int, j: int) -> float:
    """||u_i (v_i k_j)|| / ||u_j (v_j k_j)||, from the objects alone."""

    def factors(edit: int) -> tuple[np.ndarray, ...]:
        path = Path(kel.json("show", str(edit))["delta"]["path"])
        tensors, _ = read_object(path.read_bytes())
        parts = {
            name.rpartition(".")[2]: array.astype(np.float64) for name, array in tensors.items()
        }
        return parts["u"], parts["v"], parts["key"]

    (ui, vi, _), (uj, vj, kj) = factors(i), factors(j)
    return float(np.linalg.norm(ui @ (vi @ kj)) / np.linalg.norm(uj @ (vj @ kj)))


def test_the_numbers_are_those_of_the_stored_factors(kel):
    body = kel.json("interference", "--threshold", "0")
    assert (body["version"], body["threshold"]) == (4, 0.0)
    by = {row["edit"]: row for row in body["rows"]}
    assert set(by) == {1, 2}
    assert by[1]["drift"] == pytest.approx(by_hand(kel, 2, 1), rel=1e-5)
    assert by[1]["by"] == [{"edit": 2, "share": pytest.approx(by[1]["drift"], rel=1e-5)}]
    # 4 came after 2 and went again; nothing came since
    assert (by[2]["drift"], by[2]["by"]) == (0.0, [])
    at = kel.json("interference", "4", "--at", "kept", "--threshold", "0")
    assert {item["edit"]: item["share"] for item in at["disturbs"]} == pytest.approx(
        {1: by_hand(kel, 4, 1), 2: by_hand(kel, 4, 2)}, rel=1e-5
    )
    one = kel.json("interference", "1", "--threshold", "0")
    assert [item["edit"] for item in one["revert"]] == [2]
    assert (
        "edits that a revert would move: 2 by" in kel("interference", "1", "--threshold", "0").out
    )
    assert "not active" in kel("interference", "4").out
    assert "of 2 edits" in kel("interference").out


def test_a_heat_map_is_a_picture_and_the_same_each_time(kel, tmp_path):
    files = [tmp_path / name for name in ("one.svg", "two.svg")]
    for file in files:
        assert kel("interference", "--plot", str(file)).status == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    root = ElementTree.fromstring(files[0].read_text("utf-8"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    kel.refused(2, "interference", "--plot", str(tmp_path / "x.png"), says=["x.svg"])
    kel.refused(2, "interference", "--plot", str(tmp_path / "no" / "x.svg"), says=["cannot write"])
    kel.refused(
        2, "interference", "--at", "base", "--plot", str(files[0]), says=["nothing to draw"]
    )


def test_without_matplotlib_only_the_plot_is_missing(kel, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    target = tmp_path / "x.svg"
    kel.refused(2, "interference", "--plot", str(target), says=["[plots]"])
    assert not target.exists()
    assert kel("interference").status == 0


def test_what_cannot_be_asked_is_refused(kel):
    kel.refused(2, "interference", "3", says=["never applied"])
    kel.refused(2, "interference", "9", says=["names no edit"])
    kel.refused(2, "test", "--threshold", "1", says=["--affected-by"])
    kel.refused(2, "test", "1", "--affected-by", "2", says=["affected by"])


def test_only_the_affected_edits_are_tested_again(kel):
    body = kel("test", "--affected-by", "2", "--threshold", "0", "--json").body
    assert [row["edit"] for row in body["rows"]] == [1]
    before = rows(kel.place)
    result = kel("test", "--affected-by", "2", "--threshold", "1000")
    assert (result.status, result.out) == (0, "v4: 0 of 0 edits hold\n")
    assert rows(kel.place) == before


def test_a_revert_says_what_it_moves_before_it_is_done(kel, monkeypatch):
    monkeypatch.setattr("ledger.interference.THRESHOLD", 0.0)
    before = picture(kel.place)
    result = kel("revert", "1", "--dry-run")
    assert result.status == 0
    assert result.out.startswith("  move without it 2 by ")
    assert "nothing was taken out" in result.out
    assert picture(kel.place) == before
    assert "no other edit would move" in kel("revert", "2", "--dry-run").out
    assert kel("revert", "1").out.startswith("  move without it 2 by ")


def test_an_edit_is_told_what_it_disturbs_by_its_key_first(kel, monkeypatch):
    monkeypatch.setattr("ledger.interference.THRESHOLD", 0.0)
    dry = kel("edit", *ARGV, *QUICK, "--dry-run", "--no-gate", "--json")
    assert dry.status == 0
    assert dry.err.startswith("by its key it would disturb ")
    foretold = {item["edit"]: item["share"] for item in dry.body["disturbs"]}
    done = kel.json("edit", *ARGV, *QUICK, "--no-gate")
    assert {item["edit"]: item["share"] for item in done["disturbs"]} == foretold
    assert foretold == pytest.approx({j: by_hand(kel, 5, j) for j in (1, 2)}, rel=1e-5)
    assert "disturbs" in kel("edit", *ARGV[:-1], "London", *QUICK, "--no-gate").out


def test_the_key_tells_the_shares_up_to_the_size_of_the_edit(kel):
    """One number, how large the edit is, is not known from the key; all ratios are."""
    with Ledger.open(kel.place) as ledger:
        settings = Settings("rome", SETTINGS["layer"], SETTINGS["overrides"])
        told = foreseen(ledger.workspace, NEW, settings, 0.0)
        assert told is not None
        edit = ledger.edit(NEW, gate=None, **SETTINGS).edit
        found = everything(ledger.workspace.versions, ledger.journal.history())
        row = found.effects.share[found.edits.index(edit)]
        real = {j: float(row[place]) for place, j in enumerate(found.active)}
    assert {item.edit for item in told} == {1, 2}
    ratios = [real[item.edit] / item.share for item in told]
    assert ratios[0] == pytest.approx(ratios[1], rel=1e-4)


def test_a_method_without_keys_cannot_be_foreseen(kel):
    with Ledger.open(kel.place) as ledger:
        assert ledger.foresee(NEW, method="ft", layer=0) is None


def test_a_random_probe_that_asks_for_an_edited_fact_is_no_damage(kel: Kel):
    """Of the two probes of this ledger one is the prompt of the edit."""
    asked = ("--subject", "Poland", "--prompt", "The capital of {} is", "--target", "Paris")
    assert kel("edit", *asked, *QUICK, "--no-gate").status == 0
    version = kel.json("status")["version"]
    with Ledger.open(kel.place) as opened:
        probes = {
            row.version: row.detail["asked"]
            for row in opened.journal.measurements(metric="locality_random")
        }
    assert probes[version] == 1
    assert set(probes.values()) == {1, 2}


def test_a_fact_that_is_stated_anew_supersedes_and_does_not_break(kel: Kel):
    anew = ("--subject", "Ada Lovelace", "--prompt", "{} was born in", "--target", "Rome")
    body = kel.json("edit", *anew, *QUICK, "--no-gate")
    assert 1 not in body["broken"]
    tested = kel("test", "--json")
    assert [row["edit"] for row in tested.body["rows"]] == [2, body["edit"]]
    (row,) = kel("test", "1", "--json").body["rows"]
    assert row["superseded_by"] == body["edit"]
    assert kel("test", "1").status == 0
    assert "LOST" not in kel("test", "1").out
