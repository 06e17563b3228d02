"""ROME computes what the paper says."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from editors.base import EditContext
from editors.covariance import SecondMoment
from editors.delta import LowRank
from editors.errors import EditFailed, InvalidRequest
from editors.keys import subject_keys
from editors.methods import get_editor
from editors.model import EditableModel
from editors.trace import Trace
from tests.contract.harness import LAYER, ROME, Edited, Injected, Moments, context, dense, run
from tests.contract.tiny import OTHER, REQUEST, TEMPLATES
from tests.reference.rome_reference import Settings, rome

pytestmark = pytest.mark.promise("P30")


@pytest.mark.parametrize("key", ["consistent", "original"])
def test_rome_satisfies_its_constraint(
    key: str, model: EditableModel, moments: Moments, figure
) -> None:
    delta = run("rome", model, moments, key=key)
    (parameter,) = delta.parameters
    k, v = delta.keys[parameter].double(), delta.values[parameter].double()
    moved = (model.weight(parameter).double() + dense(delta)) @ k
    error = float((moved - v).norm() / v.norm())
    assert error < 1e-4
    figure("P30", "ROME: W k* = v* to {} at most", error)


def test_rome_moves_the_live_model_to_v_star_at_the_subject(
    model: EditableModel, moments: Moments
) -> None:
    delta = run("rome", model, moments)
    (parameter,) = delta.parameters
    bias = model.bias(parameter)
    wanted = delta.values[parameter][:, 0] + (0 if bias is None else bias)
    with Edited(model, delta):
        found = torch.stack([subject_output(model, t) for t in TEMPLATES]).mean(dim=0)
    assert float((found - wanted).norm() / wanted.norm()) < 1e-4


@pytest.mark.parametrize("key", ["consistent", "original"])
@pytest.mark.parametrize("second_moment", ["corpus", "identity"])
def test_rome_changes_along_the_whitened_mean_key(
    key: str, second_moment: str, model: EditableModel, moments: Moments
) -> None:
    delta = run("rome", model, moments, key=key, second_moment=second_moment)
    (change,) = delta.parameters.values()
    assert isinstance(change, LowRank)
    keys = subject_keys(model, [REQUEST], layers=[LAYER], templates=TEMPLATES)[LAYER][0].double()
    c = moments[LAYER].moment if second_moment == "corpus" else torch.eye(model.d_mlp).double()
    expected = torch.linalg.solve(c, keys.mean(dim=0))
    cosine = torch.cosine_similarity(change.v[0].double(), expected, dim=0)
    assert abs(1 - float(cosine)) < 1e-4
    assert float(change.v.norm()) == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("key", ["consistent", "original"])
@pytest.mark.parametrize(
    "settings",
    [
        Settings(steps=6, lr=0.1, weight_decay=1e-3, clamp=4.0, kl=0.0625),
        Settings(steps=8, lr=0.2, weight_decay=0.5, clamp=1.5, kl=3.0),
    ],
    ids=["usual", "heavy penalties"],
)
def test_rome_equals_the_plain_slow_oracle(
    settings: Settings, key: str, model: EditableModel, moments: Moments
) -> None:
    delta = run(
        "rome",
        model,
        moments,
        key=key,
        v_num_grad_steps=settings.steps,
        v_lr=settings.lr,
        v_weight_decay=settings.weight_decay,
        clamp_norm_factor=settings.clamp,
        kl_factor=settings.kl,
        max_update_ratio=1e6,
    )
    expected, losses = rome(
        model.model,
        model.tokenizer,
        model.model.get_submodule(model.projection(LAYER)),
        REQUEST.prompt,
        REQUEST.subject,
        REQUEST.target_new,
        TEMPLATES,
        moments[LAYER].moment,
        settings,
        key,
    )
    ours = dense(delta)
    cosine = torch.cosine_similarity(ours.reshape(-1), expected.reshape(-1), dim=0)
    assert float(cosine) > 0.9999
    assert float(ours.norm() / expected.norm()) == pytest.approx(1, abs=1e-3)
    assert delta.evidence["loss"] == pytest.approx(losses, rel=1e-4)


def test_rome_refuses_several_requests(model: EditableModel, moments: Moments) -> None:
    editor = get_editor("rome")
    hparams = editor.hparams.from_dict(ROME)
    for requests in ([], [REQUEST, OTHER]):
        with pytest.raises(InvalidRequest, match="one fact per call"):
            editor(model, requests, hparams, context=context(moments))


def test_rome_asks_for_the_second_moment_it_says_it_needs(model: EditableModel) -> None:
    editor = get_editor("rome")
    assert editor.needs(editor.hparams.from_dict(ROME)) == {LAYER}
    plain = editor.hparams.from_dict(ROME | {"second_moment": "identity"})
    assert editor.needs(plain) == frozenset()

    def unwanted(layer: int) -> SecondMoment:
        raise Injected

    bare = EditContext(torch.Generator(), TEMPLATES, unwanted)
    assert editor(model, [REQUEST], plain, context=bare).parameters
    with pytest.raises(Injected):
        editor(model, [REQUEST], editor.hparams.from_dict(ROME), context=bare)


def test_rome_on_a_layer_nothing_reads_says_that_v_star_was_not_found(
    model: EditableModel, moments: Moments
) -> None:
    with pytest.raises(EditFailed, match=r"v\* not found"):
        run("rome", model, moments, layer=model.n_layers - 1)


def test_rome_keeps_v_star_within_the_clamp(model: EditableModel, moments: Moments) -> None:
    delta = run("rome", model, moments, clamp_norm_factor=0.2)
    assert delta.evidence["value_ratio"] == pytest.approx(0.2, rel=1e-3)


def test_rome_stops_before_the_last_step_once_the_loss_is_low(
    model: EditableModel, moments: Moments
) -> None:
    free = run("rome", model, moments).evidence
    losses = free["loss"]
    assert isinstance(losses, list)
    assert (free["stop"], len(losses)) == ("steps", 6)
    early = run("rome", model, moments, stop_loss=losses[2] + 1e-4).evidence
    assert (early["stop"], early["loss"]) == ("loss", losses[:3])


def subject_output(model: EditableModel, template: str) -> Tensor:
    text = template.replace("{}", REQUEST.text)
    end = text.index(REQUEST.subject) + len(REQUEST.subject)
    place = len(model.tokenizer(text[:end])["input_ids"]) - 1
    name = model.projection(LAYER)
    with torch.no_grad(), Trace(model.model, outputs=[name]) as trace:
        model.model(**model.tokenizer(text, return_tensors="pt"))
    return trace.output(name)[0, place]
