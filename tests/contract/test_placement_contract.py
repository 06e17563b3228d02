"""A model that is offloaded to main memory or the disk is edited as if it were not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import cpu_offload, disk_offload, dispatch_model

from editors import placement
from editors.covariance import accumulate
from editors.delta import Delta
from editors.errors import UnsupportedModel
from editors.loading import read_folder
from editors.model import EditableModel
from editors.recognition import architecture_for
from ledger import EditRequest, Ledger
from tests.contract.harness import HPARAMS, Moments, all_moments, dense, run, run_batch
from tests.contract.tiny import OTHER, REQUEST, TEXTS, TINY

KINDS = ("llama", "gpt2")
METHODS = ("rome", "memit", "kn", "ft")  # one of each way of using the model
WAYS = ("cpu", "disk", "mixed", "loaded")


def spread(way: str, plain: EditableModel, folder: Path, scratch: Path) -> EditableModel:
    """The model of a folder, offloaded in one of the ways of accelerate."""
    model = EditableModel.load(folder).model
    if way == "cpu":
        cpu_offload(model, execution_device=torch.device("cpu"))
    elif way == "disk":
        disk_offload(model, str(scratch), execution_device=torch.device("cpu"))
    elif way == "mixed":
        dispatch_model(model, device_map=parts(plain), offload_dir=str(scratch))
    else:
        model, _ = read_folder(folder, torch.float32, attention="eager", device_map=parts(plain))
        model.eval().requires_grad_(False)
    return EditableModel(model, plain.tokenizer, architecture_for(model))


def parts(plain: EditableModel) -> dict[str, str]:
    """Layers 0 and 2 on the disk, the rest in main memory."""
    row = plain.architecture
    layers = {plain.residual(layer): ("disk", "cpu")[layer % 2] for layer in range(plain.n_layers)}
    others = [
        name
        for name, module in plain.model.named_modules()
        if not list(module.children())
        and next(module.parameters(), None) is not None
        and not any(name.startswith(layer + ".") for layer in layers)
    ]
    rotary = [n for n, _ in plain.model.named_modules() if n.endswith("rotary_emb")]
    assert {row.embedding, row.final_norm, row.head} <= set(others)
    return {**dict.fromkeys((*others, *rotary), "cpu"), **layers}


@pytest.fixture(scope="module", params=[(kind, way) for kind in KINDS for way in WAYS], ids=str)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    kind, way = request.param
    folder = tmp_path_factory.mktemp(f"{kind}-{way}")
    plain = TINY[kind](folder / "model")
    return plain, spread(way, plain, folder / "model", folder / "offloaded")


@pytest.fixture(scope="module")
def moments(pair: Any) -> Moments:
    return all_moments(pair[0])


def away(model: EditableModel) -> list[int]:
    """Layers whose matrix is not in the model."""
    names = [model.projection(layer) for layer in range(model.n_layers)]
    modules = [model.model.get_submodule(name) for name in names]
    return [i for i, m in enumerate(modules) if m.get_parameter("weight").is_meta]


def close(ours: Delta, theirs: Delta) -> bool:
    return float((dense(ours) - dense(theirs)).norm() / dense(theirs).norm()) < 1e-5


def test_the_edited_layer_is_really_offloaded(pair: Any) -> None:
    plain, model = pair
    assert 0 in away(model)
    assert away(plain) == []
    assert (model.device, model.dtype) == (plain.device, plain.dtype)
    assert (model.d_model, model.d_mlp) == (plain.d_model, plain.d_mlp)
    for layer in range(plain.n_layers):
        name = plain.parameter_name(layer)
        assert torch.equal(model.weight(name), plain.weight(name))
        ours, theirs = model.bias(name), plain.bias(name)
        assert (ours is None) == (theirs is None)
        assert ours is None or theirs is None or torch.equal(ours, theirs)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_gives_what_it_gives_on_the_plain_model(
    name: str, pair: Any, moments: Moments
) -> None:
    plain, model = pair
    before = away(model)
    assert close(run(name, model, moments), run(name, plain, moments))
    assert away(model) == before


def test_a_batch_sees_lower_layers_as_edited(pair: Any, moments: Moments) -> None:
    plain, model = pair
    requests = [REQUEST, OTHER]
    ours = run_batch("memit", requests, model, moments)
    assert close(ours, run_batch("memit", requests, plain, moments))
    assert len(ours.parameters) == len(HPARAMS["memit"]["layers"])


def test_keys_and_second_moments_are_those_of_the_plain_model(pair: Any) -> None:
    plain, model = pair
    for layer in range(plain.n_layers):
        ours = accumulate(model, [layer], TEXTS, max_tokens=100)[layer].moment
        theirs = accumulate(plain, [layer], TEXTS, max_tokens=100)[layer].moment
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_a_written_matrix_counts_and_the_base_s_comes_back(pair: Any) -> None:
    plain, model = pair
    name = model.parameter_name(0)
    old = model.weight(name).clone()
    before = model.generate(["Ada Lovelace was born in"], 6, stop=None)
    assert before == plain.generate(["Ada Lovelace was born in"], 6, stop=None)
    batch = model.batch([(3, 4, 5, 6)])
    try:
        for factor in (-3.0, 5.0):
            model.set_weight_(name, old * factor)
            plain.set_weight_(name, old * factor)
            assert torch.equal(model.weight(name), old * factor)
            with torch.no_grad():
                assert torch.allclose(model.forward(batch), plain.forward(batch), atol=1e-5)
    finally:
        for one in (model, plain):
            one.set_weight_(name, old)
    assert model.generate(["Ada Lovelace was born in"], 6, stop=None) == before


def test_a_swap_is_the_model_with_that_matrix_and_leaves_it(pair: Any) -> None:
    for model in pair:
        name = model.parameter_name(0)
        module = model.model.get_submodule(model.projection(0))
        old, kept = model.weight(name).clone(), dict(module.__dict__)
        batch = model.batch([(3, 4, 5, 6)])
        with torch.no_grad():
            swapped = model.forward(batch, weights={name: old * 2})
            plain = model.forward(batch)
            with pytest.raises(RuntimeError), placement.swapped(model.model, {name: old[:, :3]}):
                model.forward(batch)
            assert {k: v for k, v in module.__dict__.items() if k == "forward"} == {
                k: v for k, v in kept.items() if k == "forward"
            }
            assert torch.equal(model.forward(batch), plain)
            model.set_weight_(name, old * 2)
            written = model.forward(batch)
            model.set_weight_(name, old)
        assert torch.allclose(swapped, written, atol=1e-5)
        assert not torch.allclose(swapped, plain, atol=1e-3)


def test_a_ledger_on_auto_gives_the_same_weights_and_answers(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    TINY["llama"](folder)
    probes = tmp_path / "probes.txt"
    probes.write_text("I think that\n", encoding="utf-8")
    quick = {"second_moment": "identity", "v_num_grad_steps": 4, "v_lr": 0.1}
    request = EditRequest(REQUEST.subject, REQUEST.prompt, REQUEST.target_new)
    found = []
    for device in ("cpu", "auto"):
        place = tmp_path / device
        with Ledger.init(place, base=str(folder), device=device, probes=probes) as ledger:
            ledger.edit(request, layer=0, gate=None, overrides={**quick, "max_update_ratio": 1e4})
            assert ledger.replay("HEAD").matches
            (batch,) = ledger.journal.batches([1]).values()
            assert batch.environment["device"] == "cpu"
            assert batch.environment["dtype"] == "float32"
            found.append((ledger.status().weights_digest, ledger.ask(request.text).text))
            ledger.revert(["1"])
    if not torch.cuda.is_available():
        assert found[0] == found[1]


def test_without_accelerate_a_spread_model_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    TINY["llama"](tmp_path)
    monkeypatch.setattr("editors.loading.is_accelerate_available", lambda: False)
    with pytest.raises(UnsupportedModel, match=r"pip install 'knowledge-edit-ledger\[large\]'"):
        EditableModel.load(tmp_path, device="auto")
