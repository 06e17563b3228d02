"""Any base given as a folder: sharded or whole, every dtype, both layouts; any method undone.

The models have random weights; what is proved holds for any outcome of an edit.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.contract.tiny import tiny_gpt2, tiny_gpt2_square, tiny_llama
from tests.e2e.harness import FACT, QUICK, Kel, check_export, picture, refolded

OTHER = ("--subject", "Marie Curie", "--prompt", "{} worked in", "--target", "Warsaw")
DENSE = ("--layer", "1", "--set", "steps=3", "--set", "lr=0.002", "--set", "max_update_ratio=100")
Build = Callable[..., Any]

BASES: dict[str, tuple[Build, torch.dtype, int]] = {
    "llama, 3 shards, float32": (tiny_llama, torch.float32, 3),
    "llama, 3 shards, bfloat16": (tiny_llama, torch.bfloat16, 3),
    "llama, 3 shards, float16": (tiny_llama, torch.float16, 3),
    "gpt2, float32": (tiny_gpt2, torch.float32, 1),
    "gpt2, square, bfloat16": (tiny_gpt2_square, torch.bfloat16, 1),
}


@pytest.fixture(scope="module", params=BASES)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    build, dtype, shards = BASES[request.param]
    folder: Path = tmp_path_factory.mktemp("base") / "model"
    model = build(folder, dtype=dtype)
    if shards > 1:
        size = (folder / "model.safetensors").stat().st_size
        (folder / "model.safetensors").unlink()
        model.model.save_pretrained(folder, max_shard_size=f"{size // (shards - 1) // 1000}KB")
    assert len(list(folder.glob("*.safetensors"))) >= shards
    return folder


def test_a_base_of_any_form_lives_the_same_life(base: Path, bare: Kel, probes: Path, tmp_path):
    untouched = picture(base)
    kel = bare
    kel.json("init", str(tmp_path / "l"), "--base", str(base), "--probes", str(probes))
    kel.place = tmp_path / "l"
    status = kel.json("status")
    assert (status["base"]["id"], status["base"]["path"]) == (str(base), str(base))
    for fact, settings in ((FACT, QUICK), (OTHER, ("--method", "ft", *DENSE)), (OTHER, QUICK)):
        assert kel.json("edit", *fact, *settings, "--no-gate")["outcome"] == "applied"
    digests = [kel.json("replay", "--to", f"v{n}")["weights_digest"] for n in range(4)]
    assert len(set(digests)) == 4
    assert [refolded(kel.place, n) for n in (0, 3)] == [digests[0], digests[3]]
    middle = kel.json("revert", "2")["weights_digest"]
    assert refolded(kel.place, 4) == middle
    assert kel.json("reapply", "2")["weights_digest"] == digests[3]
    check_export(base, exported(kel, tmp_path / "all"), touched(kel))
    kel.json("revert", "1", "2", "3")
    assert kel.json("status")["weights_digest"] == digests[0]
    plain = exported(kel, tmp_path / "plain")
    assert {n: sha for n, sha in picture(plain).items() if n in untouched} == untouched
    assert kel("verify", "--weights").status == 0
    assert picture(base) == untouched


def exported(kel: Kel, folder: Path) -> Path:
    kel.json("export", str(folder))
    return folder


def touched(kel: Kel) -> set[str]:
    """The checkpoint's names of the tensors that the three edits change."""
    found = {name for n in "123" for name in kel.json("show", n)["delta"]["parameters"]}
    assert len(found) == 2
    return found


def test_an_exported_version_is_a_base_for_another_ledger(kel: Kel, tmp_path: Path, probes: Path):
    out = exported(kel, tmp_path / "out")
    said = kel.json("ask", "Ada Lovelace was born in")["text"]
    again = Kel()
    again.json("init", str(tmp_path / "l"), "--base", str(out), "--probes", str(probes))
    again.place = tmp_path / "l"
    assert again.json("ask", "Ada Lovelace was born in")["text"] == said


@pytest.mark.parametrize("method", ["ft", "ft-l"])
def test_a_dense_edit_is_taken_out_exactly(kel: Kel, method: str):
    bound = ("--set", "eps=0.001") if method == "ft-l" else ()
    digest = kel.json("status")["weights_digest"]
    made = kel.json("edit", *FACT, "--method", method, *DENSE, *bound, "--no-gate")
    shown = kel.json("show", str(made["edit"]))
    assert (shown["method"], shown["delta"]["rank"], shown["layers"]) == (method, None, [1])
    edited = kel.json("status")["weights_digest"]
    assert refolded(kel.place, made["version"]) == edited != digest
    assert kel.json("revert", str(made["edit"]))["weights_digest"] == digest
    assert kel.json("reapply", str(made["edit"]))["weights_digest"] == edited
    assert kel.json("undo")["weights_digest"] == digest
    assert kel("verify", "--weights").status == 0


def test_an_edit_that_the_gate_refuses_is_measured_and_not_applied(kel: Kel, tmp_path: Path):
    """Two small steps teach next to nothing, so that the least reliability is not reached."""
    weak = (*QUICK, "--set", "v_lr=0.001", "--min-reliability", "1", "-m", "too weak")
    before = kel.json("status")
    result = kel("edit", *FACT, *weak, "--json")
    told = result.body
    assert (result.status, told["outcome"], told["version"]) == (3, "rejected", before["version"])
    assert "reliability" in told["reasons"][0]
    after = kel.json("status")
    same = ("version", "active", "weights_digest", "reverted", "tags")
    assert {n: after[n] for n in same} == {n: before[n] for n in same}
    assert after["rejected"] == [*before["rejected"], told["edit"]]
    assert after["entries"] == before["entries"] + 1
    shown = kel.json("show", str(told["edit"]))
    assert shown["metrics"] == told["metrics"]
    assert (shown["rejected"], shown["active"], shown["note"]) == (True, False, "too weak")
    assert shown["details"]["reasons"] == told["reasons"]
    assert Path(shown["delta"]["path"]).is_file()
    assert kel.json("replay")["weights_digest"] == before["weights_digest"]
    assert "why" in kel("edit", *FACT, *weak).out
    assert kel("verify", "--weights").status == 0


def test_a_dry_run_measures_and_leaves_nothing(kel: Kel):
    before = picture(kel.place)
    told = kel.json("edit", *FACT, *QUICK, "--dry-run", "--no-gate")
    assert (told["outcome"], told["edit"]) == ("dry-run", None)
    assert "reliability" in told["metrics"]
    assert picture(kel.place) == before


def test_the_ledger_is_found_from_a_folder_inside_it(ledger: Path, bare: Kel, monkeypatch):
    inside = ledger / "notes" / "deep"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    assert bare.json("status")["ledger"] == str(ledger)
    assert bare.json("edit", *FACT, *QUICK, "--no-gate")["outcome"] == "applied"
    assert bare.json("export", "out")["directory"] == "out"
    assert (inside / "out" / "model.safetensors").is_file()
    assert bare.json("verify", "--weights")["ok"]


def test_a_ledger_may_be_moved_and_its_cache_thrown_away(kel: Kel, ledger: Path, tmp_path: Path):
    answer = kel.json("ask", "Ada is")["text"]
    moved = tmp_path / "elsewhere"
    ledger.rename(moved)
    shutil.rmtree(moved / "cache")
    there = Kel(moved)
    assert there.json("ask", "Ada is")["text"] == answer
    assert there("verify", "--weights").status == 0


def test_the_embedded_twin_is_a_base_that_is_found_by_its_name(bare: Kel, tmp_path: Path) -> None:
    place = tmp_path / "twin"
    assert bare("init", str(place), "--base", "demo-gpt2").status == 0
    kel = Kel(place)
    base = kel.json("status")["base"]
    assert (base["id"], base["model_type"], base["revision"]) == ("demo-gpt2", "gpt2", None)
    assert kel.json("ask", "The sky is")["version"] == 0
    bare.refused(2, "init", str(tmp_path / "x"), "--base", "demo-gpt2", "--revision", "main")
