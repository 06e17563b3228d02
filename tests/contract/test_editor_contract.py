"""Promises every registered editor keeps, on gated, Conv1D and square projections."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from editors.covariance import SecondMoment, accumulate
from editors.errors import EditFailed, LayerOutOfRange
from editors.model import EditableModel
from tests.contract.harness import (
    HPARAMS,
    LAYER,
    NAMES,
    Edited,
    Injected,
    dense,
    failing,
    raw,
    run,
    state,
    target_loss,
)
from tests.contract.tiny import TEXTS, TINY, linear_twin


def test_every_registered_editor_is_under_this_contract() -> None:
    assert set(HPARAMS) == set(NAMES)
    assert len(NAMES) == len(set(NAMES))


@pytest.mark.parametrize("name", NAMES)
def test_an_editor_leaves_no_trace(name: str, model: EditableModel, moment: SecondMoment) -> None:
    before = state(model)
    run(name, model, moment)
    assert state(model) == before


@pytest.mark.parametrize("place", ["", "last layer", "head"])
@pytest.mark.parametrize("name", NAMES)
def test_an_editor_leaves_no_trace_when_any_forward_call_fails(
    name: str,
    place: str,
    model: EditableModel,
    moment: SecondMoment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = model.architecture
    last = row.layer_template.format(model.n_layers - 1)
    target = model.model.get_submodule({"": "", "last layer": last, "head": row.head}[place])
    original = target.forward
    before = state(model)
    calls = [0]
    monkeypatch.setattr(target, "forward", failing(original, 0, calls))
    run(name, model, moment)
    assert calls[0] >= 5
    for k in range(1, calls[0] + 1):
        monkeypatch.setattr(target, "forward", failing(original, k, [0]))
        with pytest.raises(Injected):
            run(name, model, moment)
        assert state(model) == before, f"call {k}"


@pytest.mark.parametrize("name", NAMES)
def test_a_model_in_training_mode_gives_the_same_bytes_and_stays_so(
    name: str, model: EditableModel, moment: SecondMoment
) -> None:
    expected = raw(run(name, model, moment))
    model.model.train().requires_grad_(True)
    model.model.get_submodule(model.architecture.mlp_template.format(1)).eval()
    try:
        before = state(model)
        with torch.no_grad():
            assert raw(run(name, model, moment)) == expected
        assert state(model) == before
    finally:
        model.model.eval().requires_grad_(False)


@pytest.mark.parametrize("name", NAMES)
def test_same_inputs_same_bytes_whatever_the_global_random_state(
    name: str, model: EditableModel, moment: SecondMoment
) -> None:
    first = raw(run(name, model, moment))
    torch.manual_seed(999)
    assert raw(run(name, model, moment)) == first
    other = HPARAMS[name] | {"v_lr": 0.05} if name == "rome" else HPARAMS[name] | {"lr": 1e-3}
    assert raw(run(name, model, moment, **other)) != first


@pytest.mark.parametrize("name", NAMES)
def test_the_delta_names_the_edited_matrix_in_linear_layout(
    name: str, model: EditableModel, moment: SecondMoment
) -> None:
    delta = run(name, model, moment)
    (parameter,) = delta.parameters
    assert parameter == model.parameter_name(LAYER)
    assert parameter in model.model.state_dict()
    assert delta.parameters[parameter].shape == tuple(model.weight(parameter).shape)
    assert delta.parameters[parameter].shape == (model.d_model, model.d_mlp)


@pytest.mark.parametrize("name", NAMES)
def test_the_delta_makes_the_target_more_probable(
    name: str, model: EditableModel, moment: SecondMoment
) -> None:
    before = target_loss(model)
    with Edited(model, run(name, model, moment)):
        assert target_loss(model) < before - 0.01


@pytest.mark.parametrize("dtype", [torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", sorted(TINY))
def test_half_precision_models_give_float32_deltas(
    name: str, kind: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    model = TINY[kind](tmp_path, dtype=dtype)
    moment = accumulate(model, [LAYER], TEXTS * 4, max_tokens=600)[LAYER]
    before = state(model)
    delta = run(name, model, moment)
    assert state(model) == before
    assert dense(delta).isfinite().all()
    assert float(dense(delta).norm()) > 0


@pytest.mark.parametrize("name", NAMES)
def test_conv1d_and_its_linear_twin_give_the_same_delta(name: str, gpt2: EditableModel) -> None:
    twin = linear_twin(gpt2)
    moment = accumulate(gpt2, [LAYER], TEXTS * 4, max_tokens=600)[LAYER]
    ours, theirs = dense(run(name, gpt2, moment)), dense(run(name, twin, moment))
    assert ours.shape == theirs.shape
    assert float((ours - theirs).norm() / ours.norm()) < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_the_model_lacks_is_refused(
    name: str, model: EditableModel, moment: SecondMoment
) -> None:
    for layer in (-1, model.n_layers, 1000):
        with pytest.raises(LayerOutOfRange, match="layers 0 to"):
            run(name, model, moment, layer=layer)


@pytest.mark.parametrize("name", NAMES)
def test_an_update_beyond_the_limit_is_refused(
    name: str, model: EditableModel, moment: SecondMoment
) -> None:
    with pytest.raises(EditFailed, match="max_update_ratio"):
        run(name, model, moment, max_update_ratio=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_that_computes_nan_is_a_failed_edit(name: str, tmp_path: Path) -> None:
    model = TINY["square"](tmp_path)
    moment = accumulate(model, [LAYER], TEXTS * 4, max_tokens=600)[LAYER]
    model.model.model.norm.weight.data.fill_(float("nan"))
    with pytest.raises(EditFailed, match="loss"):
        run(name, model, moment)
