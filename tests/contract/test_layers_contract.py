"""The rules that choose a layer do what they say, and leave the model alone."""

from __future__ import annotations

import pytest
import torch

from editors.analysis.lens import top_tokens
from editors.delta import frobenius
from editors.errors import EditFailed, InvalidHparams
from editors.layers import layerwise, static, traced, wilke
from editors.methods import get_editor
from editors.model import EditableModel
from tests.contract.harness import ROME, Moments, context, run, state
from tests.contract.tiny import REQUEST


@pytest.mark.parametrize(("depth", "expected"), [(32, 17), (28, 15), (8, 4), (1, 0)])
def test_static_is_a_late_layer(depth: int, expected: int) -> None:
    assert static(depth).layer == expected
    assert static(depth).evidence["rule"] == "static"
    with pytest.raises(InvalidHparams):
        static(depth, 1.0)


def test_the_lens_shows_what_each_layer_would_say(model: EditableModel) -> None:
    found = top_tokens(model, REQUEST.text)
    ids = model.tokenizer(REQUEST.text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        out = model.model(input_ids=ids, output_hidden_states=True)
        norm = model.model.get_submodule(model.architecture.final_norm)
        expected = [
            int(model.model.lm_head(norm(hidden[0, -1])).argmax())
            for hidden in out.hidden_states[1:-1]
        ]
    assert found == (*expected, int(out.logits[0, -1].argmax()))


@pytest.mark.parametrize(
    ("tokens", "guarded", "raw"),
    [
        ([7, 5, 5, 5, 9], 1, 1),
        ([5, 5, 9, 9, 8], 2, 0),  # a tie: equal runs, the later one
        ([5, 5, 9, 8, 9], 1, 0),  # a tie: the longer last run
        ([5, 5, 5, 5, 9], 1, 0),  # moved into the range
        ([1, 2, 3, 9, 9], 3, 3),
        ([1, 2, 3, 4, 5], 3, 0),  # all alike: the last, moved into the range
    ],
)
def test_layerwise_takes_the_first_layer_of_the_most_repeated_token(
    tokens: list[int],
    guarded: int,
    raw: int,
    model: EditableModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("editors.layers.top_tokens", lambda *_: tuple(tokens))
    monkeypatch.setattr(EditableModel, "n_layers", 5)
    assert layerwise(model, REQUEST).layer == guarded
    choice = layerwise(model, REQUEST, raw=True)
    assert choice.layer == raw
    assert choice.evidence["first"] == raw
    assert layerwise(model, REQUEST, low=2, high=2).layer == 2
    for low, high in ((3, 2), (-1, 2), (0, 5)):
        with pytest.raises(InvalidHparams, match="no layer from"):
            layerwise(model, REQUEST, low=low, high=high)


def test_wilke_takes_the_smallest_relative_update_of_rome(
    model: EditableModel, moments: Moments
) -> None:
    hparams = get_editor("rome").hparams.from_dict(ROME)
    before = state(model)
    choice = wilke(model, REQUEST, hparams, context(moments), layers=[0, 1])
    assert state(model) == before
    ratios = choice.evidence["update_ratio"]
    assert isinstance(ratios, dict)
    for layer in (0, 1):
        delta = run("rome", model, moments, layer=layer)
        ((name, change),) = delta.parameters.items()
        expected = frobenius(change) / float(model.weight(name).norm())
        assert ratios[str(layer)] == pytest.approx(expected, rel=1e-4)
    assert choice.layer == min((0, 1), key=lambda n: ratios[str(n)])
    assert list(wilke(model, REQUEST, hparams, context(moments)).evidence["update_ratio"]) == [  # type: ignore[arg-type]
        str(n) for n in range(max(1, round(model.n_layers / 2)))
    ]


def test_wilke_passes_over_layers_that_cannot_be_edited(
    model: EditableModel, moments: Moments
) -> None:
    hparams = get_editor("rome").hparams.from_dict(ROME)
    last = model.n_layers - 1
    choice = wilke(model, REQUEST, hparams, context(moments), layers=[0, last])
    assert choice.layer == 0
    failed = choice.evidence["failed"]
    assert isinstance(failed, dict)
    assert list(failed) == [str(last)]
    with pytest.raises(EditFailed, match="none of the layers"):
        wilke(model, REQUEST, hparams, context(moments), layers=[last])


def test_traced_takes_the_largest_effect() -> None:
    assert traced([0.1, 0.4, 0.4, 0.2]).layer == 1
    assert traced([0.1]).evidence == {"rule": "traced", "range": [0, 0], "effects": [0.1]}
    assert traced([0.9, 0.1, 0.2, 0.8], low=1, high=2).layer == 2
    with pytest.raises(InvalidHparams, match="run a causal trace"):
        traced([])
    for low, high in ((2, 1), (0, 3)):
        with pytest.raises(InvalidHparams, match="no layer from"):
            traced([0.1, 0.2, 0.3], low=low, high=high)
