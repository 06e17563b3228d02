"""Models are read safely, addressed in one layout, and refused when they cannot be edited."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from editors.architectures import ARCHITECTURES, architecture_of
from editors.base import EditContext
from editors.covariance import identity
from editors.delta import LowRank
from editors.errors import LayerOutOfRange, UnsupportedModel
from editors.methods import get_editor
from editors.model import EditableModel
from editors.prompts import encode
from editors.trace import Trace
from tests.contract.families import build_family
from tests.contract.tiny import OTHER, TEMPLATES, TINY, linear_twin, tiny_gpt2


@pytest.fixture(scope="module", params=sorted(TINY))
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp(request.param)
    return folder, TINY[request.param](folder)


@pytest.mark.parametrize("model_type", sorted(ARCHITECTURES))
def test_every_architecture_in_the_table_can_be_edited(model_type: str) -> None:
    model = build_family(model_type)
    row = model.architecture
    for name in (row.embedding, row.final_norm, row.head):
        assert model.model.get_submodule(name) is not None
    for template in (row.layer_template, row.mlp_template, row.mlp_out_template):
        assert model.model.get_submodule(template.format(1)) is not None
    assert_contributions_add_up(model)
    assert model.model.get_output_embeddings() is model.model.get_submodule(row.head)
    editor = get_editor("rome")
    hparams = editor.hparams.from_dict(
        {
            "layer": 0,
            "v_num_grad_steps": 4,
            "v_lr": 0.05,
            "v_weight_decay": 0.0,
            "clamp_norm_factor": 10,
            "kl_factor": 0.0,
            "max_update_ratio": 1e4,
        }
    )
    context = EditContext(torch.Generator(), TEMPLATES, lambda layer: identity(model.d_mlp))
    delta = editor(model, [OTHER], hparams, context=context)
    (change,) = delta.parameters.values()
    assert isinstance(change, LowRank)
    assert change.shape == (model.d_model, model.d_mlp)


def assert_contributions_add_up(model: EditableModel) -> None:
    """The residual stream after a layer is the one before it, attention and MLP added."""
    names = [model.residual(0), model.residual(1), model.attention_output(1)]
    mlp = model.architecture.mlp_template.format(1)
    # Falcon adds the attention to the MLP's output in place: it is given a copy to do that to.
    copied = {mlp: torch.clone}
    with torch.no_grad(), Trace(model.model, outputs=[*names, mlp], edit_outputs=copied) as trace:
        model.model(input_ids=torch.tensor([[5, 6, 7]]))
    before, after, attention = (trace.output(name).reshape(3, -1) for name in names)
    expected = before + attention + trace.output(mlp).reshape(3, -1)
    if model.architecture.model_type in ("gemma2", "gemma3_text"):  # normalise before they add
        assert before.shape == attention.shape == after.shape
        return
    assert torch.allclose(after, expected, atol=1e-4)


@pytest.mark.parametrize("model_type", sorted(ARCHITECTURES))
def test_batched_cached_generation_equals_plain_argmax(model_type: str) -> None:
    model = build_family(model_type)
    prompts = ["Ada Lovelace was born in", "I", "The capital of France is"]
    texts = model.generate(prompts, 6, stop=None)
    assert texts == [plain_argmax(model, prompt, 6) for prompt in prompts]


def plain_argmax(model: EditableModel, prompt: str, steps: int) -> str:
    ids = list(encode(model, prompt).ids)
    start = len(ids)
    for _ in range(steps):
        with torch.no_grad():
            token = int(model.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
        if token in model.end_ids:
            break
        ids.append(token)
    return model.decode(ids[start:])


def test_generation_ends_where_the_stop_rule_says(saved: tuple[Path, EditableModel]) -> None:
    _, model = saved
    whole = model.generate(["Ada"], 8, stop=None)[0]
    seen: list[str] = []

    def third(text: str, complete: bool) -> int | None:
        seen.append(text)
        return 3 if len(text) >= 3 else None

    assert model.generate(["Ada"], 8, stop=third) == [whole[:3]]
    assert max(len(text) for text in seen) <= len(whole)
    assert model.generate([], 8) == []


def test_generation_ends_at_end_of_text(saved: tuple[Path, EditableModel]) -> None:
    _, model = saved
    with torch.no_grad():
        logits = model.model(input_ids=torch.tensor([encode(model, "Ada").ids])).logits
    first = int(logits[0, -1].argmax())
    config = model.model.generation_config
    old = config.eos_token_id
    config.eos_token_id = [first, 1]
    try:
        assert model.generate(["Ada"], 5, stop=None) == [""]
    finally:
        config.eos_token_id = old


def test_a_saved_model_is_read_back_with_the_same_bits(saved: tuple[Path, EditableModel]) -> None:
    folder, model = saved
    loaded = EditableModel.load(folder)
    for name, tensor in model.model.state_dict().items():
        assert torch.equal(tensor, loaded.model.state_dict()[name])
    assert not any(p.requires_grad for p in loaded.model.parameters())
    assert not any(m.training for m in loaded.model.modules())
    assert (loaded.attention, loaded.dtype) == ("eager", torch.float32)
    assert EditableModel.load(folder, dtype="bfloat16").dtype == torch.bfloat16


def test_weights_are_read_and_written_in_linear_layout(saved: tuple[Path, EditableModel]) -> None:
    _, model = saved
    name = model.parameter_name(1)
    stored = model.model.state_dict()[name]
    view = model.weight(name)
    assert view.shape == (model.d_model, model.d_mlp)
    assert torch.equal(stored.T if model.is_conv1d(name) else stored, view)
    old = view.clone()
    model.set_weight_(name, old + 1)
    try:
        assert torch.equal(model.weight(name), old + 1)
        assert model.weight(name).data_ptr() == view.data_ptr()
    finally:
        model.set_weight_(name, old)
    with pytest.raises(UnsupportedModel, match="has shape"):
        model.set_weight_(name, torch.zeros(3, 5))


def test_names_and_layers_are_inverse(saved: tuple[Path, EditableModel]) -> None:
    _, model = saved
    for layer in range(model.n_layers):
        assert model.layer_index(model.parameter_name(layer)) == layer
    for layer in (-1, model.n_layers):
        with pytest.raises(LayerOutOfRange, match="does not exist"):
            model.parameter_name(layer)
    with pytest.raises(UnsupportedModel, match="not an MLP output projection"):
        model.layer_index("lm_head.weight")


@pytest.mark.parametrize("name", ["nowhere.weight", "lm_head", "lm_head.bias", "weight", ""])
def test_a_parameter_that_is_no_matrix_is_refused(
    name: str, saved: tuple[Path, EditableModel]
) -> None:
    with pytest.raises(UnsupportedModel):
        saved[1].weight(name)


def test_the_head_sees_only_the_wanted_positions_and_gives_the_same_logits(
    saved: tuple[Path, EditableModel],
) -> None:
    _, model = saved
    batch = model.batch([(3, 4, 5, 6), (7, 8)])
    at = torch.tensor([batch.flat(1, 1), batch.flat(0, 2)])
    with torch.no_grad():
        whole, some = model.forward(batch), model.forward(batch, at=at)
        alone = model.model(input_ids=torch.tensor([[7, 8]])).logits[0, 1]
    assert torch.allclose(some, torch.stack([whole[1, 1], whole[0, 2]]), atol=1e-5)
    assert torch.allclose(some[0], alone, atol=1e-5)


@pytest.mark.promise("P33")
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "llama", "quantization_config": {"bits": 4}}, "quantised"),
        ({"model_type": "llama", "num_local_experts": 8}, "mixture of experts"),
        ({"model_type": "qwen3", "num_experts": 4}, "mixture of experts"),
        ({"model_type": "t5"}, "model type 't5'; known are gpt2"),
        ({"model_type": None}, "model type None"),
        ({}, "model type None"),
    ],
)
def test_models_that_cannot_be_edited_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        architecture_of(SimpleNamespace(**fields))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "no config.json"),
        (lambda f: (f / "config.json").write_text("[1]"), "not a JSON object"),
        (lambda f: (f / "config.json").write_text("{"), "not a JSON object"),
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "never read"),
        (lambda f: _patch(f, quantization_config={"quant_method": "gptq"}), "quantised"),
    ],
)
def test_folders_that_cannot_be_loaded_are_refused(
    change: Any, message: str, tmp_path: Path
) -> None:
    tiny_gpt2(tmp_path)
    change(tmp_path)
    with pytest.raises(UnsupportedModel, match=message):
        EditableModel.load(tmp_path)


def test_an_unknown_dtype_is_refused(saved: tuple[Path, EditableModel]) -> None:
    with pytest.raises(UnsupportedModel, match="dtype 'int8'"):
        EditableModel.load(saved[0], dtype="int8")  # type: ignore[arg-type]


def test_a_layout_that_differs_from_the_table_is_refused(tmp_path: Path) -> None:
    twin = linear_twin(tiny_gpt2(tmp_path))
    with pytest.raises(UnsupportedModel, match="stored as linear, the table says conv1d"):
        EditableModel(twin.model, twin.tokenizer, ARCHITECTURES["gpt2"])


def test_a_projection_that_is_not_plain_is_refused(tmp_path: Path) -> None:
    model = tiny_gpt2(tmp_path)
    model.model.transformer.h[1].mlp.c_proj = nn.Sequential(nn.Linear(128, 32))
    with pytest.raises(UnsupportedModel, match="Sequential"):
        EditableModel(model.model, model.tokenizer, model.architecture)


def _patch(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
