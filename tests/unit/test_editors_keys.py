"""Keys and second moments equal what unbatched full forwards give."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from editors.covariance import SecondMoment, accumulate, identity
from editors.errors import (
    EditFailed,
    LayerOutOfRange,
)
from editors.keys import subject_keys
from editors.model import EditableModel
from editors.prompts import encode
from editors.trace import Trace
from tests.contract.tiny import OTHER, REQUEST, TEMPLATES, TEXTS, TINY


@pytest.fixture(scope="module", params=sorted(TINY))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return TINY[request.param](tmp_path_factory.mktemp(request.param))


def test_keys_equal_one_full_forward_per_row(model: EditableModel) -> None:
    found = subject_keys(model, [REQUEST, OTHER], layers=[1, 0], templates=TEMPLATES)
    assert found[0].shape == (2, len(TEMPLATES), model.d_mlp)
    for i, request in enumerate((REQUEST, OTHER)):
        for j, template in enumerate(TEMPLATES):
            text = template.replace("{}", request.text)
            end = text.index(request.subject) + len(request.subject)
            place = len(model.tokenizer(text[:end])["input_ids"]) - 1
            for layer in (0, 1):
                expected = plain_inputs(model, layer, text)[place]
                assert torch.allclose(found[layer][i, j], expected, atol=1e-5)


def test_keys_do_not_depend_on_how_rows_are_batched(
    model: EditableModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = subject_keys(model, [REQUEST, OTHER], layers=[1], templates=TEMPLATES)[1]
    monkeypatch.setattr("editors.keys._CHUNK", 3)
    parts = subject_keys(model, [REQUEST, OTHER], layers=[1], templates=TEMPLATES)[1]
    assert torch.allclose(whole, parts, atol=1e-5)


def test_second_moments_count_every_token_and_no_padding(model: EditableModel) -> None:
    found = accumulate(model, [0, 1], TEXTS, max_tokens=10_000)
    for layer in (0, 1):
        keys = torch.cat([plain_inputs(model, layer, text) for text in TEXTS]).double()
        expected = keys.T @ keys / len(keys)
        assert found[layer].count == len(keys)
        assert torch.allclose(found[layer].moment, expected, rtol=1e-4, atol=1e-7)


def test_second_moments_end_at_the_wanted_number_of_tokens(model: EditableModel) -> None:
    seen: list[float] = []
    found = accumulate(
        model, [0], TEXTS * 9, max_tokens=333, progress=lambda phase, part: seen.append(part)
    )
    assert found[0].count == 333
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    with pytest.raises(LayerOutOfRange):
        accumulate(model, [99], TEXTS, max_tokens=10)
    with pytest.raises(EditFailed, match="holds no text"):
        accumulate(model, [0], [], max_tokens=10)


def test_batches_of_the_corpus_do_not_change_the_sum(
    model: EditableModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = accumulate(model, [1], TEXTS * 3, max_tokens=500)[1]
    monkeypatch.setattr("editors.packing.BATCH_TOKENS", 50)
    parts = accumulate(model, [1], TEXTS * 3, max_tokens=500)[1]
    assert whole.count == parts.count
    assert torch.allclose(whole.moment, parts.moment, rtol=1e-4, atol=1e-7)


def test_solving_uses_the_inverse_without_forming_it() -> None:
    torch.manual_seed(0)
    a = torch.randn(200, 12, dtype=torch.float64)
    moment = SecondMoment.of(a.T @ a / 200, 200)
    keys = torch.randn(12, 3)
    assert moment.jitter == 0.0
    expected = torch.linalg.inv(moment.moment) @ keys.double()
    assert torch.allclose(moment.solve(keys), expected, rtol=1e-10)
    assert torch.equal(identity(12).solve(keys), keys.double())


def test_a_singular_moment_gets_a_recorded_jitter() -> None:
    torch.manual_seed(0)
    a = torch.randn(5, 12, dtype=torch.float64)
    moment = SecondMoment.of(a.T @ a / 5, 5)
    assert 0 < moment.jitter <= 1e-3
    scale = moment.moment.diagonal().mean()
    expected = moment.moment + moment.jitter * scale * torch.eye(12)
    assert torch.allclose(moment.factor @ moment.factor.T, expected, rtol=1e-10, atol=1e-12)
    for hopeless in (torch.zeros(3, 3), -torch.eye(3), torch.full((3, 3), float("nan"))):
        with pytest.raises(EditFailed, match="cannot be factorised"):
            SecondMoment.of(hopeless.double(), 1)


def plain_inputs(model: EditableModel, layer: int, text: str) -> Tensor:
    """Keys [t, m] of one text, by an unbatched full forward."""
    name = model.projection(layer)
    with torch.no_grad(), Trace(model.model, inputs=[name]) as trace:
        model.model(input_ids=torch.tensor([encode(model, text).ids]))
    return trace.input(name)[0]
