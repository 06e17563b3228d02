"""Promises every registered editor keeps, on gated, Conv1D and square projections."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from editors.base import Editor, Hparams, Job
from editors.delta import Delta, Dense
from editors.errors import EditFailed, LayerOutOfRange
from editors.methods import METHODS, get_editor
from editors.model import EditableModel
from tests.contract.harness import (
    HPARAMS,
    NAMES,
    VERBS,
    Edited,
    Injected,
    Moments,
    all_moments,
    context,
    dense,
    failing,
    raw,
    run,
    state,
    target_loss,
)
from tests.contract.tiny import REQUEST, TINY, linear_twin


@pytest.mark.promise("P5")
def test_every_registered_editor_is_under_this_contract() -> None:
    assert set(HPARAMS) == set(NAMES)
    assert len(NAMES) == len(set(NAMES))


@pytest.mark.promise("P5")
@pytest.mark.parametrize("name", NAMES)
def test_an_editor_leaves_no_trace(name: str, model: EditableModel, moments: Moments) -> None:
    before = state(model)
    run(name, model, moments)
    assert state(model) == before


@pytest.mark.promise("P5")
@pytest.mark.parametrize("place", ["", "last layer", "head"])
@pytest.mark.parametrize("name", NAMES)
def test_an_editor_leaves_no_trace_when_any_forward_call_fails(
    name: str,
    place: str,
    model: EditableModel,
    moments: Moments,
    monkeypatch: pytest.MonkeyPatch,
    figure: Callable[..., None],
) -> None:
    row = model.architecture
    last = row.layer_template.format(model.n_layers - 1)
    target = model.model.get_submodule({"": "", "last layer": last, "head": row.head}[place])
    original = target.forward
    before = state(model)
    calls = [0]
    monkeypatch.setattr(target, "forward", failing(original, 0, calls))
    run(name, model, moments)
    assert calls[0] >= 4
    for k in range(1, calls[0] + 1):
        monkeypatch.setattr(target, "forward", failing(original, k, [0]))
        with pytest.raises(Injected):
            run(name, model, moments)
        assert state(model) == before, f"call {k}"
    figure("P5", "an exception at each of {} forward calls of all editors, 0 traces", calls[0])


@pytest.mark.promise("P5")
@pytest.mark.parametrize("name", NAMES)
def test_a_model_in_training_mode_gives_the_same_bytes_and_stays_so(
    name: str, model: EditableModel, moments: Moments
) -> None:
    expected = raw(run(name, model, moments))
    model.model.train().requires_grad_(True)
    model.model.get_submodule(model.architecture.mlp_template.format(1)).eval()
    try:
        before = state(model)
        with torch.no_grad():
            assert raw(run(name, model, moments)) == expected
        assert state(model) == before
    finally:
        model.model.eval().requires_grad_(False)


@pytest.mark.promise("P5")
@pytest.mark.parametrize("name", NAMES)
def test_same_inputs_same_bytes_whatever_the_global_random_state(
    name: str, model: EditableModel, moments: Moments
) -> None:
    first = raw(run(name, model, moments))
    torch.manual_seed(999)
    assert raw(run(name, model, moments)) == first
    other = {k: v / 2 for k, v in HPARAMS[name].items() if k in ("v_lr", "lr")}
    assert raw(run(name, model, moments, **(other or {"threshold": 0.01}))) != first


@pytest.mark.parametrize("name", NAMES)
def test_the_delta_names_the_edited_matrix_in_linear_layout(
    name: str, model: EditableModel, moments: Moments
) -> None:
    delta = run(name, model, moments)
    layers = edited_layers(name, model)
    assert set(delta.parameters) <= {model.parameter_name(layer) for layer in layers}
    for parameter, change in delta.parameters.items():
        assert parameter in model.model.state_dict()
        assert change.shape == tuple(model.weight(parameter).shape)
        assert change.shape == (model.d_model, model.d_mlp)


@pytest.mark.parametrize("name", NAMES)
def test_an_editor_says_which_second_moments_it_needs(
    name: str, model: EditableModel, moments: Moments
) -> None:
    editor = get_editor(name)
    hparams = editor.hparams.from_dict(HPARAMS[name])
    needed = editor.needs(hparams)
    only = {layer: moments[layer] for layer in needed}
    assert editor(model, [REQUEST], hparams, context=context(only)).parameters
    for layer in needed:
        fewer = {n: c for n, c in only.items() if n != layer}
        with pytest.raises(KeyError):
            editor(model, [REQUEST], hparams, context=context(fewer))


@pytest.mark.parametrize("name", [n for n in NAMES if n not in (*VERBS, "kn")])
def test_the_delta_makes_the_target_more_probable(
    name: str, model: EditableModel, moments: Moments
) -> None:
    before = target_loss(model)
    with Edited(model, run(name, model, moments)):
        assert target_loss(model) < before - 0.01


def test_kn_makes_the_target_more_probable_where_embeddings_are_tied(gpt2: EditableModel) -> None:
    """It writes input embeddings, which only a tied head reads as answers."""
    before = target_loss(gpt2)
    with Edited(gpt2, run("kn", gpt2, {})):
        assert target_loss(gpt2) < before - 0.1


@pytest.mark.parametrize("name", sorted(VERBS))
def test_a_verb_moves_the_answer_the_model_gives_now(
    name: str, model: EditableModel, moments: Moments
) -> None:
    before = target_loss(model, target=REQUEST.target_true)
    with Edited(model, run(name, model, moments)):
        change = before - target_loss(model, target=REQUEST.target_true)
    assert change * VERBS[name] > 0.01


@pytest.mark.parametrize("dtype", [torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", sorted(TINY))
def test_half_precision_models_give_float32_deltas(
    name: str, kind: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    model = TINY[kind](tmp_path, dtype=dtype)
    moments = all_moments(model)
    before = state(model)
    delta = run(name, model, moments)
    assert state(model) == before
    assert dense(delta).isfinite().all()
    assert float(dense(delta).norm()) > 0


@pytest.mark.promise("P30")
@pytest.mark.parametrize("name", NAMES)
def test_conv1d_and_its_linear_twin_give_the_same_delta(
    name: str, gpt2: EditableModel, figure
) -> None:
    twin = linear_twin(gpt2)
    moments = all_moments(gpt2)
    ours, theirs = dense(run(name, gpt2, moments)), dense(run(name, twin, moments))
    assert ours.shape == theirs.shape
    error = float((ours - theirs).norm() / ours.norm())
    assert error < 1e-4
    figure("P30", "each editor on Conv1D and Linear: the same delta to {}", error)


@pytest.mark.parametrize("name", [n for n in NAMES if "points" not in HPARAMS[n]])
def test_a_layer_the_model_lacks_is_refused(
    name: str, model: EditableModel, moments: Moments
) -> None:
    for layer in (-1, model.n_layers, 1000):
        place = {"layers": [layer]} if "layers" in HPARAMS[name] else {"layer": layer}
        with pytest.raises(LayerOutOfRange, match="layers 0 to"):
            run(name, model, moments, **place)


@pytest.mark.parametrize("name", NAMES)
def test_an_update_beyond_the_limit_is_refused(
    name: str, model: EditableModel, moments: Moments
) -> None:
    with pytest.raises(EditFailed, match="max_update_ratio"):
        run(name, model, moments, max_update_ratio=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_that_computes_nan_is_a_failed_edit(name: str, tmp_path: Path) -> None:
    model = TINY["square"](tmp_path)
    moments = all_moments(model)
    model.model.model.norm.weight.data.fill_(float("nan"))
    with pytest.raises(EditFailed, match=r"loss|probabilities"):
        run(name, model, moments)


def edited_layers(name: str, model: EditableModel) -> list[int]:
    hparams = HPARAMS[name]
    if "layer" in hparams:
        return [hparams["layer"]]
    return hparams.get("layers", list(range(model.n_layers)))


class Toy(Editor[Hparams]):
    """A method in one class: adds a constant."""

    name = "toy"
    paper = "none"
    hparams = Hparams

    def edit(self, job: Job[Hparams]) -> Delta:
        name = job.model.parameter_name(0)
        return Delta({name: Dense(torch.full_like(job.model.weight(name), 0.1).contiguous())})


def test_a_new_method_is_one_class_and_one_line(
    model: EditableModel, moments: Moments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("editors.methods.METHODS", (*METHODS, Toy()))
    editor = get_editor("toy")
    delta = editor(model, [REQUEST], editor.hparams.from_dict({}), context=context(moments))
    assert list(delta.parameters) == [model.parameter_name(0)]
    assert editor.needs(Hparams()) == frozenset()
