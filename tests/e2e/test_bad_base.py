"""A base that cannot be edited is refused by `init`; one that changed, by every verb that uses it.

P33: each mismatch is refused before anything is computed, by exit 2 at the beginning and 4 later.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.e2e.harness import FACT, QUICK, Kel, picture

WEIGHTS = "model.safetensors"
PROJECTION = "model.layers.0.mlp.down_proj.weight"
Change = Callable[[Path], object]
REFUSED_BEFORE = "{} mismatches of a base: each refused before anything is computed"


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """What a model computes from now on: it cannot without its linear layers."""
    found: list[torch.Size] = []
    forward = torch.nn.Linear.forward

    def counted(layer: torch.nn.Linear, x: torch.Tensor) -> torch.Tensor:
        found.append(x.shape)
        return forward(layer, x)

    monkeypatch.setattr(torch.nn.Linear, "forward", counted)
    return found


def configured(**fields: Any) -> Change:
    """Change fields of config.json."""

    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return change


def without(*names: str) -> Change:
    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def holding(name: str, data: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(data)


def pickled_only(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


def stored_as(dtype: torch.dtype) -> Change:
    def change(folder: Path) -> None:
        tensors = {name: t.to(dtype) for name, t in load_file(folder / WEIGHTS).items()}
        save_file(tensors, folder / WEIGHTS, {"format": "pt"})

    return change


def elsewhere(folder: Path) -> None:
    """An index whose shard lies outside of the folder."""
    (folder / WEIGHTS).rename(folder.parent / "outside.safetensors")
    index = {"weight_map": {PROJECTION: "../outside.safetensors"}}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))


REFUSED: dict[str, tuple[int, Change, str]] = {
    "quantised": (2, configured(quantization_config={"bits": 4}), "is quantised"),
    "experts": (2, configured(num_local_experts=8), "mixture of experts"),
    "other experts": (2, configured(n_routed_experts=8), "mixture of experts"),
    "unknown type": (2, configured(model_type="mamba"), "no recognisable MLP"),
    "no type": (2, configured(model_type=None), "no recognisable MLP"),
    "odd type": (2, configured(model_type=["llama"]), "no recognisable MLP"),
    "pickled": (2, pickled_only, "convert the model to safetensors"),
    "no weights": (2, without(WEIGHTS), "has neither model.safetensors nor"),
    "no tokenizer": (2, without("tokenizer.json"), "has no tokenizer"),
    "no config": (2, without("config.json"), "no readable config.json"),
    "config of a list": (2, holding("config.json", b"[]"), "is not a JSON object"),
    "broken config": (2, holding("config.json", b"{"), "no readable config.json"),
    "config of bytes": (2, holding("config.json", b"\xff"), "no readable config.json"),
    "deep config": (2, holding("config.json", b"[" * 100_000), "no readable config.json"),
    "float64": (2, stored_as(torch.float64), "stored as F64"),
    "integers": (2, stored_as(torch.int8), "stored as I8"),
    "fp8": (2, stored_as(torch.float8_e4m3fn), "stored as F8_E4M3"),
    "broken weights": (4, holding(WEIGHTS, b"\xff" * 64), "corrupt"),
    "empty weights": (4, holding(WEIGHTS, b""), "corrupt"),
    "shard elsewhere": (4, elsewhere, "not a shard of its folder"),
}


@pytest.mark.promise("P33")
@pytest.mark.parametrize("case", REFUSED)
def test_a_base_that_cannot_be_edited_is_refused(
    bare: Kel, tiny_base, tmp_path, computed, case: str, figure
):
    status, change, says = REFUSED[case]
    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    change(base)
    before = picture(base)
    line = bare.refused(status, "init", str(tmp_path / "new" / "deep"), "--base", str(base))
    assert says in line
    assert not (tmp_path / "new").exists()
    assert picture(base) == before
    assert computed == []
    figure("P33", REFUSED_BEFORE, 1)


def lacking(name: str) -> Change:
    def change(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        del tensors[name]
        save_file(tensors, folder / WEIGHTS, {"format": "pt"})

    return change


INCOMPLETE: dict[str, tuple[Change, str]] = {
    "a tensor lost": (lacking("model.layers.1.mlp.up_proj.weight"), "up_proj.weight is missing"),
    "layers lost": (configured(num_hidden_layers=5), "and 17 more are missing"),
    "another width": (configured(intermediate_size=64), "are of another shape"),
    "another vocabulary": (configured(vocab_size=300), "are of another shape"),
    "odd config": (configured(hidden_size="x"), "cannot be read as a model"),
    "empty tokenizer": (holding("tokenizer.json", b"{}"), "cannot be read as a model"),
    "broken tokenizer": (holding("tokenizer.json", b"\xff"), "cannot be read as a model"),
}


@pytest.mark.promise("P33")
@pytest.mark.parametrize("case", INCOMPLETE)
def test_a_model_that_is_not_whole_is_never_completed_with_random_numbers(
    bare: Kel, tiny_base, tmp_path, computed, case: str, figure
):
    change, says = INCOMPLETE[case]
    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    change(base)
    bare.json("init", str(tmp_path / "l"), "--base", str(base))
    bare.place = tmp_path / "l"
    for argv in (("ask", "Ada is"), ("edit", *FACT, *QUICK)):
        bare.refused(2, *argv, says=[says, str(base)])
    assert computed == []
    figure("P33", REFUSED_BEFORE, 1)


NOTHING = [
    "a/b/c", "a--b", "x.git", "a/../b", "a/b\n", "a b", "https://huggingface.co/gpt2", "-x", "ä/b",
    "./none", "../none", "/none", "~none", "a\0b", "x" * 97, "x" * 5000, "", "a/", "/", "a\udcff",
    "model@main", "owner/name:tag", "refs/pr/1/2", ".", "%2e%2e/x",
]  # fmt: skip


@pytest.mark.promise("P17")
@pytest.mark.parametrize("name", NOTHING, ids=[ascii(name[:20]) for name in NOTHING])
def test_a_name_that_is_no_base_is_2_and_asks_nobody(
    bare: Kel, tmp_path, monkeypatch, name: str, figure
):
    """The guards of the suite fail this test if another machine is asked."""
    monkeypatch.chdir(tmp_path)
    bare.refused(2, "init", "new", f"--base={name}")
    assert list(tmp_path.iterdir()) == []
    figure("P17", "{} bad names and revisions: refused, 0 requests", 1)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("--revision", "main"), "--revision goes with a Hub id"),
        (("--dtype", "int8"), "dtype 'int8' is not one of"),
        (("--device", "tpu"), "'tpu' is not a device"),
        (("--device", "meta"), "'meta' is not a device"),
    ],
)
def test_an_option_that_does_not_fit_the_base_is_2(bare: Kel, tiny_base, tmp_path, argv, says):
    bare.refused(2, "init", str(tmp_path / "new"), "--base", str(tiny_base), *argv, says=[says])
    assert not (tmp_path / "new").exists()


@pytest.mark.promise("P17")
@pytest.mark.parametrize("revision", ["../x", "a..b", "-x", "a b", "", "x" * 201, "a//b", "a\n"])
def test_a_revision_that_cannot_be_one_is_2_and_asks_nobody(
    bare: Kel, tmp_path, revision: str, figure
):
    argv = ("init", str(tmp_path / "new"), "--base", "owner/name", f"--revision={revision}")
    bare.refused(2, *argv, says=["cannot be a branch, tag or commit"])
    assert not (tmp_path / "new").exists()
    figure("P17", "{} bad names and revisions: refused, 0 requests", 1)


def test_a_place_that_is_taken_is_refused(bare: Kel, kel: Kel, ledger, tiny_base, tmp_path):
    kel.refused(5, "init", str(ledger), "--base", str(tiny_base), says=["is a ledger already"])
    file = tmp_path / "file"
    file.write_text("mine")
    bare.refused(2, "init", str(file), "--base", str(tiny_base), says=[str(file), "is a file"])
    assert file.read_text() == "mine"


# --- a base that changed after the ledger was made -----------------------------------------------


@pytest.fixture
def own(bare: Kel, tiny_base: Path, probes: Path, tmp_path: Path) -> tuple[Kel, Path]:
    """A ledger with one edit on a base of its own; the base was used, so its dates are known."""
    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    bare.json("init", str(tmp_path / "own"), "--base", str(base), "--probes", str(probes))
    bare.place = tmp_path / "own"
    bare.json("edit", *FACT, *QUICK, "--no-gate")
    return bare, base


def flipped(name: str) -> Change:
    """Flip one bit of a tensor in place, and set the time of writing back."""

    def change(folder: Path) -> None:
        path = folder / WEIGHTS
        stat = path.stat()
        data = bytearray(path.read_bytes())
        header = json.loads(data[8 : (start := 8 + int.from_bytes(data[:8], "little"))])
        data[start + header[name]["data_offsets"][0]] ^= 1
        with path.open("r+b") as file:
            file.write(data)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    return change


def cut_short(folder: Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:-10])


CHANGED: dict[str, tuple[Change, str]] = {
    "a bit of an edited tensor": (flipped(PROJECTION), WEIGHTS),
    "a bit of another tensor": (flipped("model.embed_tokens.weight"), WEIGHTS),
    "another dtype": (stored_as(torch.bfloat16), WEIGHTS),
    "another revision": (configured(rope_theta=5.0), "config.json"),
    "quantised": (configured(quantization_config={"bits": 4}), "config.json"),
    "another tokenizer": (holding("tokenizer_config.json", b"{}"), "tokenizer_config.json"),
    "one more tokenizer file": (holding("added_tokens.json", b"{}"), "added_tokens.json"),
    "no config": (without("config.json"), "config.json"),
    "no weights": (without(WEIGHTS), WEIGHTS),
    "pickled": (pickled_only, WEIGHTS),
    "cut short": (cut_short, WEIGHTS),
    "gone": (shutil.rmtree, "base"),
}


@pytest.mark.promise("P33")
@pytest.mark.parametrize("case", CHANGED)
def test_a_base_that_changed_is_4_for_all_that_use_it(own, tmp_path, computed, case: str, figure):
    kel, base = own
    computed.clear()
    change, names = CHANGED[case]
    kept = tmp_path / "kept"
    shutil.copytree(base, kept)
    change(base)
    for argv in (
        ("ask", "Ada is"),
        ("edit", *FACT, *QUICK),
        ("revert", "1"),
        ("replay",),
        ("test",),
        ("export", str(tmp_path / "out")),
        ("stats", "--layer", "0"),
    ):
        kel.refused(4, *argv, says=[names])
    assert not (tmp_path / "out").exists()
    assert computed == []
    figure("P33", REFUSED_BEFORE, 1)
    result = kel("verify", "--weights", "--json")
    assert result.status == 4
    assert [f["code"] for f in result.body["findings"]] == ["base.changed"]
    assert [kel(name).status for name in ("log", "status", "verify")] == [0, 0, 0]
    shutil.rmtree(base, ignore_errors=True)
    shutil.copytree(kept, base)
    assert kel.json("replay")["matches"]
