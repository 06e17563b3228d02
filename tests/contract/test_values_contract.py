"""The value search equals the plain one, wherever it moves and however many it serves at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from editors.errors import InvalidRequest
from editors.model import EditableModel
from editors.requests import EditRequest
from editors.rows import Wish
from editors.values import ValueHparams, optimise_value, optimise_values
from tests.contract.tiny import OTHER, REQUEST, TEMPLATES
from tests.reference.rome_reference import Settings, value

EASY = EditRequest("Ada Lovelace", "I think that {}", "in")
SAME = EditRequest("Ada Lovelace", "I know that {} studied in", "Warsaw")
PLACES: dict[str, Callable[[EditableModel], list[str]]] = {
    "mlp": lambda model: [model.projection(0)],
    "residual": lambda model: [model.residual(1)],
    "two": lambda model: [model.projection(1), model.attention_output(1)],
}


def hparams(**changes: float) -> ValueHparams:
    usual = {"v_num_grad_steps": 6, "v_lr": 0.1, "v_weight_decay": 0.5, "clamp_norm_factor": 1.5}
    return ValueHparams.from_dict({**usual, "kl_factor": 0.5, **changes})


@pytest.mark.parametrize(
    ("request_", "argmax", "factor"),
    [(REQUEST, 1.0, 0.0625), (EASY, 0.1, 0.0625), (EASY, 0.1, 20.0)],
    ids=["usual", "match", "match but far"],
)
@pytest.mark.parametrize("place", sorted(PLACES))
def test_a_value_equals_the_plain_slow_search(
    place: str, request_: EditRequest, argmax: float, factor: float, model: EditableModel
) -> None:
    modules = PLACES[place](model)
    settings = Settings(
        steps=12, lr=0.2, weight_decay=0.1, clamp=9.0, kl=factor, argmax=argmax, stop=0.0
    )
    found = optimise_value(
        model,
        Wish((request_,)),
        modules=modules,
        templates=TEMPLATES[:2],
        settings=hparams(
            v_num_grad_steps=12,
            v_lr=0.2,
            v_weight_decay=0.1,
            clamp_norm_factor=9.0,
            kl_factor=factor,
            argmax_factor=argmax,
            stop_loss=0.0,
        ),
    )
    deltas, clean, losses = value(
        model.model,
        model.tokenizer,
        [model.model.get_submodule(name) for name in modules],
        [t.replace("{}", request_.prompt) for t in TEMPLATES[:2]],
        request_.subject,
        request_.target_new,
        settings,
    )
    assert list(found.losses) == pytest.approx(losses, rel=1e-3)
    assert torch.allclose(found.clean, clean, atol=1e-5)
    assert float((found.deltas - deltas).norm() / deltas.norm()) < 1e-2


def test_a_search_ends_once_every_token_is_the_argmax_and_little_else_moved(
    model: EditableModel,
) -> None:
    settings = hparams(
        v_num_grad_steps=60, v_lr=0.5, clamp_norm_factor=99, stop_loss=0, kl_factor=0.0
    )
    last = model.residual(model.n_layers - 1)
    common = {"modules": [last], "templates": TEMPLATES[:1]}
    ends = {}
    for factor in (1.0, 0.1):
        wanted = replace(settings, argmax_factor=factor)
        found = optimise_value(model, Wish((EASY,)), settings=wanted, **common)  # type: ignore[arg-type]
        ends[factor] = (found.stop, len(found.losses))
    assert ends[1.0] == ("steps", 60)
    assert ends[0.1][0] == "match"
    assert ends[0.1][1] < 60


def test_values_searched_together_equal_values_searched_alone(
    model: EditableModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    wishes = [Wish((REQUEST,)), Wish((OTHER,)), Wish((REQUEST, SAME))]
    settings = hparams(stop_loss=6.2)
    common = {"modules": [model.residual(1)], "templates": TEMPLATES, "settings": settings}
    alone = [optimise_value(model, wish, **common) for wish in wishes]  # type: ignore[arg-type]
    for rows in (128, 1, 12):
        monkeypatch.setattr("editors.values._ROWS", rows)
        together = optimise_values(model, wishes, **common)  # type: ignore[arg-type]
        for one, other in zip(alone, together, strict=True):
            assert one.stop == other.stop
            assert list(one.losses) == pytest.approx(other.losses, rel=1e-4)
            assert torch.allclose(one.target, other.target, atol=1e-3)


def test_a_value_for_two_facts_weighs_them_alike(model: EditableModel) -> None:
    settings = hparams(v_num_grad_steps=2, stop_loss=0.0)
    common = {"modules": [model.residual(0)], "templates": TEMPLATES, "settings": settings}
    first, second, both = (
        optimise_value(model, Wish(facts), **common).nll[0]  # type: ignore[arg-type]
        for facts in ((REQUEST,), (SAME,), (REQUEST, SAME))
    )
    assert both == pytest.approx((first + second) / 2, rel=1e-5)


def test_one_value_serves_one_subject() -> None:
    with pytest.raises(InvalidRequest, match="one subject"):
        Wish((REQUEST, OTHER))
