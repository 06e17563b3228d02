"""An adapter says what the live version says, and its files keep the rules of what reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from ledger import EditRequest, Ledger
from ledger.adapter import CONFIG, VLLM_RANKS, WEIGHTS
from tests.contract.tiny import OTHER, REQUEST, TINY
from tests.e2e.harness import FACT, QUICK, SETTINGS, Kel, picture

THIRD = EditRequest("Warsaw", "The capital of Poland is {}", "Paris")
KINDS = {
    "llama": torch.float32, "gpt2": torch.float32, "gpt2-square": torch.float32,
    "tall": torch.bfloat16, "square": torch.float16,
}  # fmt: skip


@pytest.fixture(scope="module", params=KINDS)
def made(request: pytest.FixtureRequest, probes: Path, tmp_path_factory) -> Path:
    """Three edits in two layers, the first taken out and put back, beside its exports."""
    folder: Path = tmp_path_factory.mktemp("adapter")
    TINY[request.param](folder / "base", dtype=KINDS[request.param])
    with Ledger.init(folder / "l", base=str(folder / "base"), probes=probes) as ledger:
        ledger.edit(REQUEST, gate=None, **SETTINGS)
        ledger.edit(OTHER, gate=None, **SETTINGS)
        ledger.edit(THIRD, gate=None, **(SETTINGS | {"layer": 2}))
        ledger.revert(["1"])
        ledger.reapply(["1"])
        ledger.export(folder / "merged")
        ledger.export(folder / "adapter", form="adapter")
        ledger.export(folder / "small", form="adapter", compress=True)
    return folder


def logits(model: Any, tokenizer: Any) -> torch.Tensor:
    """Of the last token of every edit's prompt, [3, vocabulary]."""
    found = []
    for edit in (REQUEST, OTHER, THIRD):
        text = edit.prompt.replace("{}", edit.subject)
        with torch.no_grad():
            found.append(model(**tokenizer(text, return_tensors="pt")).logits[0, -1])
    return torch.stack(found)


# peft 0.21 asks transformers 5.23 for what it renamed.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_live_merged_and_adapter_unmerged_and_merged_agree(made: Path):
    tokenizer = AutoTokenizer.from_pretrained(made / "base")
    with Ledger.open(made / "l") as ledger:
        ledger.workspace.at_head()
        wanted = logits(ledger.workspace.live.model.model, tokenizer)
    load = {"dtype": torch.float32}
    merged = AutoModelForCausalLM.from_pretrained(made / "merged", **load)
    # The weights are equal to the bit; the two loaders choose another attention kernel.
    assert float((logits(merged, tokenizer) - wanted).abs().max()) < 1e-5
    stored = AutoModelForCausalLM.from_pretrained(made / "merged", dtype="auto").dtype
    bound = {torch.float32: 2e-4, torch.bfloat16: 0.3, torch.float16: 0.03}[stored]
    plain = logits(AutoModelForCausalLM.from_pretrained(made / "base", **load), tokenizer)
    assert float((plain - wanted).abs().max()) > 2 * bound
    for name in ("adapter", "small"):
        base = AutoModelForCausalLM.from_pretrained(made / "base", **load)
        model = PeftModel.from_pretrained(base, made / name)
        for found in (logits(model, tokenizer), logits(model.merge_and_unload(), tokenizer)):
            assert torch.equal(found.argmax(-1), wanted.argmax(-1))
            assert float((found - wanted).abs().max()) < bound


def test_the_files_keep_the_rules_of_those_that_read_them(made: Path):
    config = json.loads((made / "adapter" / CONFIG).read_text())
    conv1d = (made / "base" / "config.json").read_text().count('"gpt2"') > 0
    rank = config["r"]
    # PEFT's scale alpha / r is 1 for all; SGLang and llama.cpp know no patterns, and no rslora.
    assert (rank, config["lora_alpha"], config["use_rslora"]) == (2, rank, False)
    assert (config["rank_pattern"], config["alpha_pattern"]) == ({}, {})
    # vLLM refuses these, llama.cpp any tensor that they would add.
    assert [config[n] for n in ("use_dora", "bias", "lora_bias", "modules_to_save")] == [
        False, "none", False, None,
    ]  # fmt: skip
    # SGLang wants a list of names, vLLM and SGLang names that end in a known module.
    assert config["target_modules"] == (["mlp.c_proj"] if conv1d else ["down_proj"])
    assert config["layers_to_transform"] == [0, 2]
    assert config["layers_pattern"] == ("h" if conv1d else "layers")
    assert (config["peft_type"], config["task_type"]) == ("LORA", "CAUSAL_LM")
    assert (config["fan_in_fan_out"], config["init_lora_weights"]) == (conv1d, True)
    assert config["inference_mode"]
    assert config["base_model_name_or_path"]
    path = "transformer.h.{}.mlp.c_proj" if conv1d else "model.layers.{}.mlp.down_proj"
    with safe_open(made / "adapter" / WEIGHTS, "np") as file:
        assert file.metadata() == {"format": "pt"}
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
        dtypes = {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    assert dtypes == {"F32"}
    assert set(shapes) == {
        f"base_model.model.{path.format(n)}.lora_{part}.weight" for n in (0, 2) for part in "AB"
    }
    # llama.cpp divides alpha by each tensor's own rank, so all have the one of the config.
    assert {min(shape) for shape in shapes.values()} == {rank}
    assert all((shape[0] == rank) == ("lora_A" in name) for name, shape in shapes.items())
    assert sorted(p.name for p in (made / "adapter").iterdir()) == [
        "README.md", CONFIG, WEIGHTS, "kel.json",
    ]  # fmt: skip


def test_the_same_version_gives_the_same_bytes(made: Path, tmp_path: Path):
    with Ledger.open(made / "l") as ledger:
        ledger.export(tmp_path / "again", form="adapter")
    assert picture(tmp_path / "again") == picture(made / "adapter")


def test_a_dense_edit_and_an_empty_version_are_no_adapters(kel: Kel, tmp_path: Path):
    out = str(tmp_path / "out")
    kel.refused(2, "export", out, "--form", "adapter", "--at", "base", says=["no edits"])
    dense = ("--method", "ft", "--layer", "1", "--set", "steps=1", "--no-gate")
    assert kel.json("edit", *FACT, *dense)["outcome"] == "applied"
    kel.refused(2, "export", out, "--form", "adapter", says=["dense matrix", "export it merged"])
    for argv in (("--compress",), ("--link", "--form", "adapter")):
        kel.refused(2, "export", out, *argv, says=["only"])
    kel.refused(2, "export", out, "--private", "--form", "bundle", says=["cannot be private"])
    assert not (tmp_path / "out").exists()


def test_the_limits_of_the_engines_are_told(kel: Kel, tmp_path: Path, monkeypatch):
    from ledger.adapter import _notes

    assert _notes(16, "llama") == ()
    for rank in (17, 32, 33, 128, 300, 512):
        served = next(limit for limit in VLLM_RANKS if limit >= rank)
        assert any(f"--max-lora-rank {served}" in note for note in _notes(rank, "llama"))
    assert "vLLM serves at most 512" in _notes(513, "llama")[0]
    assert any("gpt2" in note for note in _notes(1, "gpt2"))
    monkeypatch.setattr("ledger.adapter._VLLM_DEFAULT", 1)
    kel.json("edit", *FACT, *QUICK, "--no-gate")
    result = kel("export", str(tmp_path / "out"), "--form", "adapter")
    assert (result.status, "--max-lora-rank 8" in result.out) == (0, True)
