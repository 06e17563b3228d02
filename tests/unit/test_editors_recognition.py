"""Model types without a row are recognised by their modules and say so, or are refused."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from editors.architectures import architecture_in, refuse
from editors.errors import InvalidHparams, UnsupportedModel
from editors.model import EditableModel
from editors.recognition import architecture_for, recognise
from ledger import EditRequest, Ledger
from tests.contract.families import FAMILIES, byte_level, random_model
from tests.contract.harness import all_moments, product, run
from tests.contract.tiny import REQUEST

UNLISTED = {
    "gpt_neo": {"attention_types": [[["global", "local", "global"], 1]], "num_layers": 3},
    "olmo2": {},
    "stablelm": {},
    "xglm": {"ffn_dim": 48, "d_model": 32, "num_layers": 3, "attention_heads": 4},
    "mpt": {"d_model": 32, "n_layers": 3, "n_heads": 4, "max_seq_len": 128},
}
REFUSED = {
    "mixtral": "mixture of experts",
    "qwen2_moe": "mixture of experts",
    "qwen3_moe": "mixture of experts",
    "deepseek_v3": "mixture of experts",
    "gpt_oss": "mixture of experts",
    "llama4_text": "mixture of experts",
    "granitemoe": "mixture of experts",
    "mamba": "no recognisable MLP output projection",
    "bert": "no recognisable MLP output projection",
    "recurrent_gemma": "have no attention",
}


@pytest.fixture(scope="module", params=sorted(UNLISTED))
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp(request.param)
    model = random_model(request.param, **UNLISTED[request.param])
    model.save_pretrained(folder)
    byte_level().save_pretrained(folder)
    return folder, model


@pytest.mark.parametrize("model_type", FAMILIES)
def test_by_its_modules_a_listed_type_has_the_modules_of_its_row(model_type: str) -> None:
    model = random_model(model_type)
    row, found = architecture_for(model), recognise(model)
    assert row.assumed is None
    assert found.assumed is not None and repr(model_type) in found.assumed
    for name in ("layer_template", "mlp_out_template", "embedding", "final_norm", "head", "layout"):
        assert getattr(found, name) == getattr(row, name), name


def test_an_unlisted_type_is_recognised_alike_with_and_without_its_weights(saved: Any) -> None:
    folder, model = saved
    found = architecture_for(model)
    assert architecture_in(folder) == found
    assert found.assumed is not None and found.mlp_out_template.format("N") in found.assumed
    loaded = EditableModel.load(folder)
    assert loaded.architecture == found
    assert loaded.d_model == 32


def test_an_unlisted_type_is_edited_where_its_residual_stream_is(saved: Any) -> None:
    model = EditableModel.load(saved[0])
    moments = all_moments(model)
    delta = run("rome", model, moments)
    name = model.parameter_name(0)
    edited = model.weight(name).double() + product(delta.parameters[name])
    wanted = delta.values[name].double()
    assert torch.allclose(edited @ delta.keys[name].double(), wanted, atol=1e-4)
    (losses,) = run("memit", model, moments).evidence["nll"]
    assert losses[1] < losses[0] - 0.01


def test_a_ledger_of_an_unlisted_type_wants_the_layer_and_says_what_it_assumed(
    saved: Any, tmp_path: Path
) -> None:
    probes = tmp_path / "probes.txt"
    probes.write_text("I think that\n", encoding="utf-8")
    quick = {"second_moment": "identity", "v_num_grad_steps": 3, "v_lr": 0.1}
    settings: Any = {"gate": None, "overrides": {**quick, "max_update_ratio": 1e4}}
    request = EditRequest(REQUEST.subject, REQUEST.prompt, REQUEST.target_new)
    with Ledger.init(tmp_path / "ledger", base=str(saved[0]), probes=probes) as ledger:
        with pytest.raises(InvalidHparams, match="give --layer N"):
            ledger.edit(request, **settings)
        with pytest.raises(InvalidHparams, match="give --set layers"):
            ledger.edit(request, method="memit", gate=None)
        outcome = ledger.edit(request, layer=0, **settings)
        assert outcome.outcome == "applied"
        assert "was taken for the MLP's output projection" in outcome.assumed
        assert ledger.status().base.assumed == outcome.assumed
        (batch,) = ledger.journal.batches([1]).values()
        assert batch.environment["assumed"] == outcome.assumed
        assert ledger.replay("HEAD").matches


@pytest.mark.parametrize("model_type", sorted(REFUSED))
def test_what_has_no_single_projection_is_refused(model_type: str) -> None:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type))
    with pytest.raises(UnsupportedModel, match=REFUSED[model_type]):
        recognise(model)


def test_experts_are_seen_in_the_modules_whatever_the_config_says() -> None:
    model = random_model("olmo2")
    model.model.layers[1].mlp.experts = nn.ModuleList([nn.Linear(32, 32)])
    with pytest.raises(
        UnsupportedModel, match=r"mixture of experts \(its layers have 'mlp.experts"
    ):
        recognise(model)


def test_layers_that_differ_or_have_two_candidates_are_refused() -> None:
    model = random_model("olmo2")
    model.model.layers[1].mlp.fc2 = nn.Linear(48, 32)
    with pytest.raises(UnsupportedModel, match=r"found mlp\.down_proj, mlp\.fc2"):
        recognise(model)
    del model.model.layers[1].mlp
    with pytest.raises(UnsupportedModel, match=r"exactly one of .* in each of 3 equal layers"):
        recognise(model)


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes"])
@pytest.mark.parametrize("model_type", ["llama", "olmo2"])
def test_quantised_models_are_refused_by_their_config(
    method: str, model_type: str, tmp_path: Path
) -> None:
    random_model(model_type).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    fields = json.loads(path.read_text()) | {"quantization_config": {"quant_method": method}}
    path.write_text(json.dumps(fields))
    with pytest.raises(UnsupportedModel, match=rf"is quantised \({method}\): load the float16"):
        architecture_in(tmp_path)
    with pytest.raises(UnsupportedModel, match="quantised"):
        EditableModel.load(tmp_path)


def test_experts_of_a_nested_config_and_encoders_are_refused() -> None:
    nested = SimpleNamespace(model_type="dbrx", ffn_config={"moe_num_experts": 4})
    with pytest.raises(UnsupportedModel, match=r"moe_num_experts is set"):
        refuse(nested)
    with pytest.raises(UnsupportedModel, match="has an encoder"):
        refuse(SimpleNamespace(model_type="bart", is_encoder_decoder=True))


def test_a_type_that_transformers_does_not_know_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "never_heard_of"}))
    with pytest.raises(UnsupportedModel, match="never_heard_of"):
        architecture_in(tmp_path)
