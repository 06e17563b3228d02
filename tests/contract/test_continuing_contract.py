"""A continued pass gives the scores and gradients of whole passes, in every family of the table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from editors.architectures import ARCHITECTURES, architecture_of
from editors.climbing import Climb
from editors.continuing import CONTINUED, DIFFERENT, UNCACHED, Capture, Cut
from editors.keys import subject_keys
from editors.model import EditableModel
from editors.neurons import integrate
from editors.rows import Wish, wish_rows
from editors.scoring import Scorer, captured
from editors.values import ValueHparams, optimise_value
from tests.contract.harness import subject_states
from tests.contract.tiny import OTHER, REQUEST, TEMPLATES, tiny_tokenizer

SIZE: dict[str, Any] = {
    "vocab_size": 400,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
    "ffn_hidden_size": 48,
    "ffn_dim": 48,
    "word_embed_proj_dim": 32,
    "max_position_embeddings": 128,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
# A window shorter than the rows; ALiBi; attention and MLP in a row where the default is parallel.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in ARCHITECTURES},
    "gptj": ("gptj", {"rotary_dim": 4}),
    "mistral-window": ("mistral", {"sliding_window": 5}),
    "gemma2-window": ("gemma2", {"sliding_window": 5}),
    "falcon-alibi": ("falcon", {"alibi": True, "parallel_attn": False}),
    "gpt_neox-sequential": ("gpt_neox", {"use_parallel_residual": False}),
}
WISHES = (Wish((REQUEST,)), Wish((OTHER,)))


@pytest.fixture(scope="module", params=sorted(VARIANTS))
def family(request: pytest.FixtureRequest) -> EditableModel:
    kind, extra = VARIANTS[request.param]
    torch.manual_seed(5)
    size = {k: v for k, v in SIZE.items() if (kind, k) != ("falcon", "head_dim")}
    config = AutoConfig.for_model(kind, **{**size, **extra}, attn_implementation="eager")
    model = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.15) if parameter.ndim == 2 else parameter.add_(0.1)
    return EditableModel(model, tiny_tokenizer(bos=kind == "llama"), architecture_of(config))


PLACES: dict[str, Callable[[EditableModel], list[str]]] = {
    "mlp": lambda model: [model.projection(1)],
    "first": lambda model: [model.projection(0)],
    "residual": lambda model: [model.residual(1)],
    "last": lambda model: [model.residual(2)],
    "two": lambda model: [model.projection(1), model.attention_output(1)],
}


def seen(
    model: EditableModel, modules: list[str], chosen: list[int], *, whole: bool
) -> tuple[str, list[Tensor]]:
    rows = [wish_rows(model, wish, TEMPLATES) for wish in WISHES]
    scorer = Scorer(captured(model, rows, [modules]), rows, modules)
    zero = torch.zeros(len(rows), len(modules), model.d_model)
    with pytest.MonkeyPatch.context() as patch:
        if whole:
            patch.setattr("editors.scoring.agree", lambda *_: False)
        scorer([0, 1], zero)
    generator = torch.Generator().manual_seed(1)
    deltas = torch.randn(zero[chosen].shape, generator=generator).requires_grad_()
    scores = scorer(chosen, deltas)
    total = torch.stack([s.nll + s.kept.exp().square().sum() for s in scores]).sum()
    (gradient,) = torch.autograd.grad(total, deltas)
    found = [gradient, *(x.detach() for s in scores for x in (s.nll, s.kept, s.clean))]
    return scorer.forward, found


@pytest.mark.parametrize("place", sorted(PLACES))
def test_continued_passes_equal_whole_passes(place: str, family: EditableModel) -> None:
    modules = PLACES[place](family)
    for chosen in ([0, 1], [1]):
        forward, found = seen(family, modules, chosen, whole=False)
        assert forward == CONTINUED
        forward, expected = seen(family, modules, chosen, whole=True)
        assert forward.startswith("whole")
        for one, other in zip(found, expected, strict=True):
            assert float((one - other).norm()) <= 2e-4 * float(other.norm())


@pytest.mark.parametrize("family", ["llama"], indirect=True)
def test_what_no_delta_changes_is_run_once(family: EditableModel) -> None:
    layers, runs = family.model.model.layers, {"q": [], "gate": [], "last": []}  # type: ignore
    watched = {"q": layers[1].self_attn.q_proj, "gate": layers[1].mlp.gate_proj}
    watched["last"] = layers[2].mlp.gate_proj
    hooks = [
        module.register_forward_hook(lambda _, x, __, n=name: runs[n].append(x[0].shape[:-1]))
        for name, module in watched.items()
    ]
    settings = ValueHparams(
        v_num_grad_steps=4, v_lr=0.1, v_weight_decay=0.0, clamp_norm_factor=9.0, kl_factor=0.1
    )
    modules = [family.projection(1)]
    found = optimise_value(
        family, WISHES[0], modules=modules, templates=TEMPLATES, settings=settings
    )
    for hook in hooks:
        hook.remove()
    assert len(found.losses) == 4
    assert len(runs["q"]) == len(runs["gate"]) == 1
    rows = wish_rows(family, WISHES[0], TEMPLATES)
    assert [shape.numel() for shape in runs["last"][1:]] == 4 * [len(rows.scored) + len(rows.kept)]


def test_continued_integrals_equal_whole_ones(
    family: EditableModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    attributed: dict[str, Any] = {"prompt": REQUEST.text, "answer": "London, old", "points": 4}
    found, forward = integrate(family, **attributed)
    assert forward == CONTINUED
    monkeypatch.setattr("editors.continuing._standard", lambda layer: False)
    expected, forward = integrate(family, **attributed)
    assert forward.startswith("whole")
    assert float((found - expected).norm()) <= 2e-4 * float(expected.norm())


@pytest.mark.parametrize("ways", ["residual", "projection", "uncached", "different"])
def test_a_climb_sees_what_whole_passes_over_the_edited_model_see(
    ways: str, family: EditableModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("editors.climbing._ROWS", 5)
    if ways == "uncached":
        monkeypatch.setattr("editors.continuing._standard", lambda layer: False)
    if ways == "different":
        monkeypatch.setattr("editors.climbing.agree", lambda *_: False)
    module = family.projection(2) if ways == "projection" else family.residual(2)
    requests = (REQUEST, OTHER)
    climb = Climb(family, requests, TEMPLATES, module)
    weights: dict[str, Tensor] = {}
    before = {name: family.weight(name).clone() for name in map(family.parameter_name, range(3))}
    for layer in range(3):
        keys, states = climb.to(layer, weights)
        for name, weight in weights.items():
            family.set_weight_(name, weight)
        expected = subject_keys(family, requests, layers=[layer], templates=TEMPLATES)[layer]
        wanted = subject_states(family, requests, module)
        for name, weight in before.items():
            family.set_weight_(name, weight)
        assert torch.allclose(keys, expected, atol=1e-4 * float(expected.abs().max()))
        assert torch.allclose(states, wanted, atol=1e-4 * float(wanted.abs().max()))
        name = family.parameter_name(layer)
        weights[name] = family.weight(name) * 1.5
    forwards = {"uncached": UNCACHED, "different": DIFFERENT}
    assert climb.forward == forwards.get(ways, CONTINUED)


def test_a_tail_from_the_start_is_a_whole_pass(family: EditableModel) -> None:
    rows = [(5, 6, 7, 8, 9), (9, 8, 7)]
    capture = Capture.of(family, rows, starts=[0, 2])
    whole, _ = capture.tail([Cut(0, 0, 5), Cut(1, 0, 3)], start=0).logits(torch.tensor([4, 7]))
    captured = capture.logits.reshape(-1, whole.shape[1])[[4, 7]]
    assert torch.allclose(whole, captured, atol=1e-5)
    tail, _ = capture.tail([Cut(1, 1, 3), Cut(0, 4, 5)], start=2).logits(torch.tensor([1, 2]))
    assert torch.allclose(tail, whole.flip(0), atol=1e-5)


def test_a_model_that_cannot_be_continued_is_run_whole_and_says_so(
    model: EditableModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ValueHparams(
        v_num_grad_steps=8, v_lr=0.1, v_weight_decay=0.01, clamp_norm_factor=9.0, kl_factor=0.1
    )
    search: dict[str, Any] = {
        "modules": [model.projection(0)],
        "templates": TEMPLATES,
        "settings": settings,
    }
    plain = optimise_value(model, WISHES[0], **search)
    monkeypatch.setattr("editors.continuing._takes_positions", lambda model: False)
    wrong = optimise_value(model, WISHES[0], **search)
    monkeypatch.setattr("editors.continuing._standard", lambda layer: False)
    uncached = optimise_value(model, WISHES[0], **search)
    assert plain.evidence()["forward"] == CONTINUED
    assert wrong.evidence()["forward"] == "whole: a continued pass gave other logits"
    assert uncached.evidence()["forward"] == "whole: no keys and values are kept for each layer"
    for other in (wrong, uncached):
        assert list(other.losses) == pytest.approx(plain.losses, rel=1e-4)
        assert torch.allclose(other.target, plain.target, atol=1e-4)
