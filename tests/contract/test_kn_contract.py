"""Knowledge neurons are found by integrated gradients, and edited column by column."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from editors.delta import LowRank
from editors.errors import EditFailed, InvalidHparams, InvalidRequest, UnsupportedModel
from editors.methods import get_editor
from editors.model import EditableModel
from editors.neurons import Neurons, attribute, locate
from editors.trace import Trace
from tests.contract.harness import run, run_batch
from tests.contract.tiny import OTHER, REQUEST

pytestmark = pytest.mark.promise("P30")

POINTS = 5
VERBS = ["kn-erase", "kn-suppress", "kn-enhance"]


def plain_scores(model: EditableModel, prompt: str, answer: str, layer: int) -> Tensor:
    """Integrated gradients of one layer, one point and one token at a time."""
    ids = model.tokenizer(f"{prompt} {answer}", return_tensors="pt")["input_ids"]
    start = len(model.tokenizer(prompt)["input_ids"])
    name = model.projection(layer)
    scores = []
    for end in range(start, ids.shape[1]):
        prefix = ids[:, :end]
        with torch.no_grad(), Trace(model.model, inputs=[name]) as trace:
            model.model(input_ids=prefix)
        activation = trace.input(name)[0, -1]
        total = torch.zeros_like(activation)
        for point in range(1, POINTS + 1):
            scaled = (activation * point / POINTS).requires_grad_()

            def patched(keys: Tensor, scaled: Tensor = scaled) -> Tensor:
                return torch.cat([keys[:, :-1], scaled[None, None]], dim=1)

            with Trace(model.model, edit_inputs={name: patched}):
                logits = model.model(input_ids=prefix).logits[0, -1]
            probability = logits.softmax(-1)[ids[0, end]]
            total += torch.autograd.grad(probability, scaled)[0]
        scores.append(activation * total / POINTS)
    return torch.stack(scores).mean(dim=0)


def test_attribution_equals_the_plain_integral(model: EditableModel) -> None:
    found = attribute(model, REQUEST.text, "London, old", points=POINTS)
    assert found.shape == (model.n_layers, model.d_mlp)
    for layer in range(model.n_layers):
        expected = plain_scores(model, REQUEST.text, "London, old", layer)
        assert float((found[layer] - expected).norm() / expected.norm()) < 1e-4


def test_attributions_add_up_to_what_the_layer_adds_to_the_probability(
    model: EditableModel,
) -> None:
    """Completeness of integrated gradients: their sum is p(activation) - p(zero)."""
    row = model.tokenizer(REQUEST.text, return_tensors="pt")["input_ids"]
    token = model.tokenizer(" London", add_special_tokens=False)["input_ids"][0]
    name = model.projection(1)
    answer = model.decode([token]).strip()
    assert len(model.tokenizer(" " + answer, add_special_tokens=False)["input_ids"]) == 1

    def emptied(keys: Tensor) -> Tensor:
        return torch.cat([keys[:, :-1], torch.zeros_like(keys[:, -1:])], dim=1)

    with torch.no_grad():
        full = model.model(input_ids=row).logits[0, -1].softmax(-1)[token]
        with Trace(model.model, edit_inputs={name: emptied}):
            empty = model.model(input_ids=row).logits[0, -1].softmax(-1)[token]
    total = attribute(model, REQUEST.text, answer, points=400)[1].sum()
    assert float(total) == pytest.approx(float(full - empty), rel=0.02, abs=1e-6)


def test_refinement_keeps_neurons_that_most_prompts_share(model: EditableModel) -> None:
    prompts = [REQUEST.text, *REQUEST.paraphrases]
    settings: dict[str, Any] = {"points": POINTS, "threshold": 0.2}
    coarse = [
        {
            (layer, neuron)
            for layer, chosen in locate(
                model, [p], "London", share=0.0, **settings
            ).by_layer.items()
            for neuron in chosen
        }
        for p in prompts
    ]
    for share in (0.0, 0.4, 0.9):
        expected = {
            place for place in set.union(*coarse) if sum(place in c for c in coarse) > share * 3
        }
        if not expected:
            with pytest.raises(EditFailed, match="no neuron carries"):
                locate(model, prompts, "London", share=share, **settings)
            continue
        found = locate(model, prompts, "London", share=share, **settings)
        assert places(found) == expected
        assert found.count == len(expected)
        assert found.coarse == tuple(len(c) for c in coarse)


def places(neurons: Neurons) -> set[tuple[int, int]]:
    return {(layer, i) for layer, chosen in neurons.by_layer.items() for i in chosen}


def test_kn_writes_one_vector_into_the_columns_of_its_neurons(model: EditableModel) -> None:
    delta = run("kn", model, {}, lambda_old=2.0, lambda_new=3.0)
    neurons = delta.evidence["neurons"]
    assert isinstance(neurons, dict)
    table = model.model.get_submodule(model.architecture.embedding).weight
    new, old = (
        table[model.tokenizer(" " + text, add_special_tokens=False)["input_ids"]].sum(dim=0)
        for text in (REQUEST.target_new, REQUEST.target_true)
    )
    for name, change in delta.parameters.items():
        assert isinstance(change, LowRank)
        assert change.u.shape[1] == 1
        chosen = neurons[str(model.layer_index(name))]
        assert isinstance(chosen, list)
        whole = change.u @ change.v
        columns = [i for i in range(whole.shape[1]) if bool(whole[:, i].any())]
        assert columns == chosen
        for i in columns:
            assert torch.allclose(whole[:, i], 3.0 * new - 2.0 * old, atol=1e-5)


@pytest.mark.parametrize("method", VERBS)
def test_verbs_scale_the_columns_of_the_neurons_and_nothing_else(
    method: str, model: EditableModel
) -> None:
    delta = run(method, model, {})
    factor = {"kn-erase": 0.0, "kn-suppress": 0.2, "kn-enhance": 2.0}[method]
    neurons = delta.evidence["neurons"]
    assert isinstance(neurons, dict)
    for name, change in delta.parameters.items():
        assert isinstance(change, LowRank)
        chosen = neurons[str(model.layer_index(name))]
        assert isinstance(chosen, list)
        expected = model.weight(name).clone()
        expected[:, chosen] *= factor
        assert torch.allclose(model.weight(name) + change.u @ change.v, expected, atol=1e-6)


def test_erasing_to_the_unknown_word_needs_one(model: EditableModel) -> None:
    with pytest.raises(UnsupportedModel, match="no unknown token"):
        run("kn-erase", model, {}, fill="unknown")
    model.tokenizer.unk_token = "</s>"
    try:
        delta = run("kn-erase", model, {}, fill="unknown")
    finally:
        model.tokenizer.unk_token = None
    word = model.model.get_submodule(model.architecture.embedding).weight[1]
    for name, change in delta.parameters.items():
        assert isinstance(change, LowRank)
        column = int(change.v[0].argmax())
        found = (model.weight(name) + change.u @ change.v)[:, column]
        assert torch.allclose(found, word, atol=1e-5)


@pytest.mark.parametrize("method", ["kn", *VERBS])
def test_neurons_need_the_answer_the_model_gives_now(method: str, model: EditableModel) -> None:
    with pytest.raises(InvalidRequest, match="target_true"):
        run_batch(method, [replace(REQUEST, target_true=None)], model, {})
    with pytest.raises(InvalidRequest, match="one fact per call"):
        run_batch(method, [REQUEST, OTHER], model, {})


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("kn", {"points": 0}),
        ("kn", {"threshold": 1.0}),
        ("kn", {"share": 1.0}),
        ("kn", {"lambda_new": 0}),
        ("kn", {"lambda_old": -1}),
        ("kn-erase", {"factor": 0.0}),
        ("kn-erase", {"fill": "one"}),
        ("kn-suppress", {"factor": 1.0}),
        ("kn-enhance", {"factor": 1.0}),
    ],
)
def test_senseless_settings_are_refused(method: str, changes: dict[str, float]) -> None:
    kind = get_editor(method).hparams
    assert kind.from_dict({}).to_dict()
    with pytest.raises(InvalidHparams):
        kind.from_dict(changes)
