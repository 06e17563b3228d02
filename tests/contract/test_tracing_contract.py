"""A causal trace is what restoring states one at a time gives, and leaves the model alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    FalconConfig,
    Gemma2Config,
    GPTNeoXConfig,
    MistralConfig,
    OPTConfig,
)

from editors.analysis.activations import active_units, rise_at
from editors.analysis.lens import read, shown, top_tokens
from editors.analysis.restoring import Run
from editors.analysis.tracing import (
    KINDS,
    Effects,
    Noise,
    default_window,
    subject_sigma,
    trace_fact,
)
from editors.architectures import architecture_of
from editors.errors import InvalidRequest
from editors.model import EditableModel
from editors.prompts import encode
from editors.trace import Trace
from tests.contract.harness import state
from tests.contract.tiny import TEXTS, _enliven, tiny_llama, tiny_tokenizer

TEXT, SUBJECT = "I think that Ada Lovelace was born in", (13, 25)
SMALL: dict[str, Any] = {
    "vocab_size": 400,
    "hidden_size": 16,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "attn_implementation": "eager",
}
FAMILIES = {
    # The position bias is made for the batch that goes in; the MLP's output is changed in place.
    "bloom": BloomConfig(n_layer=3, n_head=2, **SMALL),
    "falcon": FalconConfig(num_hidden_layers=3, num_attention_heads=2, **SMALL),
    "falcon-alibi": FalconConfig(
        num_hidden_layers=3,
        num_attention_heads=2,
        alibi=True,
        multi_query=False,
        parallel_attn=False,
        **SMALL,
    ),
    # Scales its embeddings after the module, and caps its logits.
    "gemma2": Gemma2Config(
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        pad_token_id=None,
        **SMALL,
    ),
    # A window shorter than the prompt.
    "mistral-window": MistralConfig(
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=24,
        sliding_window=4,
        **SMALL,
    ),
    "gpt_neox": GPTNeoXConfig(
        num_hidden_layers=3, num_attention_heads=2, intermediate_size=24, **SMALL
    ),
    "opt": OPTConfig(
        num_hidden_layers=3,
        num_attention_heads=2,
        ffn_dim=24,
        word_embed_proj_dim=16,
        max_position_embeddings=64,
        pad_token_id=1,
        **SMALL,
    ),
}


def noise(draws: int = 2) -> Noise:
    return Noise(0.5, torch.Generator().manual_seed(3), draws)


def traced(model: EditableModel, window: int = 3, **changes: Any) -> Effects:
    return trace_fact(model, TEXT, subject=SUBJECT, noise=noise(), window=window, **changes)


class Plain:
    """One restoration a forward pass, by the transformers model and hooks on named modules."""

    def __init__(self, model: EditableModel, token: int | None = None):
        self.model, encoded = model, encode(model, TEXT)
        self.ids = torch.tensor([encoded.ids])
        begin, end = SUBJECT
        self.places = [i for i, (a, b) in enumerate(encoded.spans) if a < end and b > begin]
        embedding = model.architecture.embedding
        width = model.model.get_submodule(embedding).weight.shape[1]
        self.noise = noise().draw(len(self.places), width)
        self.token = token
        self.edits: dict[str, Any] = {}
        self.clean = self.chance({})
        self.corrupting = {embedding: self.corrupt}
        self.corrupted = self.chance(self.corrupting)

    def chance(self, edits: dict[str, Any]) -> float:
        rows = self.ids.repeat(len(self.noise), 1)
        with torch.no_grad(), Trace(self.model.model, edit_outputs=edits):
            logits = self.model.model(input_ids=rows).logits[:, -1].float()
        if self.token is None:
            self.token = int(logits[0].argmax())
        return float(logits.softmax(-1)[:, self.token].mean())

    def corrupt(self, hidden: Tensor) -> Tensor:
        changed = hidden.clone()
        changed[:, self.places] += self.noise
        return changed

    def effects(self, template: str, window: int) -> Tensor:
        layers, length = range(self.model.n_layers), self.ids.shape[1]
        names = [template.format(layer) for layer in layers]
        clean: dict[str, Tensor] = {}

        def kept(name: str) -> Any:
            def keep(hidden: Tensor) -> Tensor:
                clean[name] = hidden.clone().reshape(-1, length, hidden.shape[-1])[0]
                return hidden

            return keep

        def restored(name: str, place: int) -> Any:
            def restore(hidden: Tensor) -> Tensor:
                changed = hidden.clone().reshape(-1, length, hidden.shape[-1])
                changed[:, place] = clean[name][place]
                return changed.reshape(hidden.shape)

            return restore

        self.chance({name: kept(name) for name in names})
        found = torch.zeros(length, len(layers), dtype=torch.float64)
        for layer in layers:
            # As in kmeng01/rome: centred, one more below than above for an even window.
            low, high = max(0, layer - window // 2), min(len(layers), layer - (-window // 2))
            for place in range(length):
                edits = {name: restored(name, place) for name in names[low:high]}
                found[place, layer] = self.chance(self.corrupting | edits) - self.corrupted
        return found


def templates(model: EditableModel) -> dict[str, str]:
    row = model.architecture
    return {
        "state": row.layer_template,
        "mlp": row.mlp_template,
        "attention": row.attention_template,
    }


def check(model: EditableModel, window: int) -> None:
    found, plain = traced(model, window), Plain(model)
    assert found.clean == pytest.approx(plain.clean, rel=1e-4)
    assert found.corrupted == pytest.approx(plain.corrupted, rel=1e-4)
    assert found.total == pytest.approx(plain.clean - plain.corrupted, abs=1e-6)
    for kind in KINDS:
        wanted = plain.effects(templates(model)[kind], 1 if kind == "state" else window)
        assert float(wanted.abs().max()) > 1e-5
        torch.testing.assert_close(found.of[kind], wanted, atol=1e-7, rtol=1e-3)


@pytest.mark.parametrize("window", [2, 3])
def test_all_restorations_at_once_are_each_alone(model: EditableModel, window: int) -> None:
    before = state(model)
    check(model, window)
    assert state(model) == before


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each trace went on from the corrupted run's keys and values."""
    found: list[bool] = []
    of = Run.of

    def noted(*args: Any, **more: Any) -> Run:
        run = of(*args, **more)
        found.append(run.continued)
        return run

    monkeypatch.setattr(Run, "of", noted)
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_every_way_to_build_a_layer_is_traced(family: str, ways: list[bool]) -> None:
    torch.manual_seed(5)
    inner = AutoModelForCausalLM.from_config(FAMILIES[family]).eval().requires_grad_(False)
    _enliven(inner)
    check(EditableModel(inner, tiny_tokenizer(bos=True), architecture_of(inner.config)), 2)
    assert ways == [family not in ("bloom", "falcon", "falcon-alibi")]


def test_a_model_that_cannot_be_continued_is_traced_in_whole_passes(
    llama: EditableModel, ways: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    continued = traced(llama)
    monkeypatch.setattr("editors.analysis.restoring.agree", lambda *_: False)
    whole = traced(llama)
    assert ways == [True, False]
    for kind in KINDS:
        torch.testing.assert_close(continued.of[kind], whole.of[kind], atol=1e-7, rtol=1e-3)


def test_what_stands_before_the_restored_token_is_not_computed_again(
    llama: EditableModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    widths = []
    forward = llama.model.forward

    def counted(*args: Any, **more: Any) -> Any:
        widths.append(more["input_ids"].shape[1])
        return forward(*args, **more)

    monkeypatch.setattr(llama.model, "forward", counted)
    found = traced(llama)
    first, length = found.subject[0], len(found.tokens)
    # The clean pass, the corrupted one, the comparison, and one pass a kind and position.
    later = [length - position for position in range(first, length)] * len(KINDS)
    assert sorted(widths) == sorted([length, length, length - first, *later])


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> EditableModel:
    return tiny_llama(tmp_path_factory.mktemp("llama"))


def test_chunks_make_no_difference(llama: EditableModel, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = traced(llama)
    monkeypatch.setattr("editors.analysis.restoring._ROW_TOKENS", 1)
    parts = traced(llama)
    for kind in KINDS:
        torch.testing.assert_close(whole.of[kind], parts.of[kind], atol=1e-8, rtol=1e-4)


def test_restoring_everything_that_is_read_brings_the_whole_effect_back(
    llama: EditableModel,
) -> None:
    found = traced(llama)
    first, last = found.subject
    assert "".join(found.tokens[first : last + 1]).strip() == "Ada Lovelace"
    assert found.prompt_last[-1] == pytest.approx(found.total, abs=1e-7)
    assert bool((found.of["state"][:first] == 0).all())
    assert found.of["state"][first:-1, -1].abs().max() < 1e-8


def test_the_answer_is_the_models_own_unless_one_is_given(llama: EditableModel) -> None:
    own = traced(llama)
    assert own.known
    assert own.answer == shown(llama, top_tokens(llama, TEXT)[-1])
    given = traced(llama, answer="Warsaw")
    assert not given.known
    assert given.answer == " Warsaw"
    assert given.tokens == own.tokens
    assert given.clean < own.clean


def test_noise_comes_from_the_generator_alone(llama: EditableModel) -> None:
    torch.manual_seed(1)
    one = traced(llama)
    torch.manual_seed(2)
    assert torch.equal(one.of["mlp"], traced(llama).of["mlp"])
    other = trace_fact(
        llama, TEXT, subject=SUBJECT, noise=Noise(0.5, torch.Generator().manual_seed(4), 2)
    )
    assert other.corrupted != one.corrupted


def test_what_cannot_be_traced_is_refused(llama: EditableModel) -> None:
    with pytest.raises(InvalidRequest, match="window of 0"):
        traced(llama, window=0)
    with pytest.raises(InvalidRequest, match="drops the subject"):
        trace_fact(llama, TEXT, subject=(0, 0), noise=noise())


def test_noise_is_measured_on_the_subjects_and_a_window_is_a_share_of_the_depth(
    llama: EditableModel,
) -> None:
    ids = encode(llama, "Ada Lovelace").ids + encode(llama, "Marie Curie").ids
    weight = llama.model.get_submodule(llama.architecture.embedding).weight
    expected = float(weight[list(ids)].std())
    assert subject_sigma(llama, ["Ada Lovelace", "Marie Curie"]) == pytest.approx(expected)
    assert [default_window(depth) for depth in (1, 8, 12, 32, 48)] == [1, 2, 2, 7, 10]


def test_the_lens_counts_ranks_and_batches_as_one_text_alone(model: EditableModel) -> None:
    before = state(model)
    watched = [[5, 60], [70, 80], [1, 2]]
    together = read(model, TEXTS[:3], watched)
    assert state(model) == before
    for text, ids, reading in zip(TEXTS[:3], watched, together, strict=True):
        (alone,) = read(model, [text], [ids])
        assert (alone.tokens, alone.ranks) == (reading.tokens, reading.ranks)
        assert alone.chances == pytest.approx(reading.chances, rel=1e-4)
        encoded = torch.tensor([encode(model, text).ids])
        with torch.no_grad():
            logits = model.model(input_ids=encoded).logits[0, -1]
        for place, token in enumerate(ids):
            chance = float(logits.softmax(-1)[token])
            assert reading.watched[place][-1] == pytest.approx(chance, rel=1e-4)
            assert reading.ranks[place][-1] == 1 + int((logits > logits[token]).sum())


def test_active_units_are_those_of_the_last_tokens_key(model: EditableModel) -> None:
    before = state(model)
    counts = active_units(model, TEXTS, 0.05)
    assert state(model) == before
    assert counts.shape == (len(TEXTS), model.n_layers)
    for text, row in zip(TEXTS, counts.tolist(), strict=True):
        ids = torch.tensor([encode(model, text).ids])
        names = [model.projection(layer) for layer in range(model.n_layers)]
        with torch.no_grad(), Trace(model.model, inputs=names) as trace:
            model.model(input_ids=ids)
        keys = [trace.input(name).reshape(-1, model.d_mlp)[-1] for name in names]
        assert row == [int((key > 0.05).sum()) for key in keys]
    assert bool((active_units(model, TEXTS, -1e9) == model.d_mlp).all())


def test_the_rise_is_that_of_the_thesis() -> None:
    assert rise_at([100, 200, 600], 2) == (400, 0.5, 0.25)
    assert rise_at([600, 300], 1) == (-300, 1.0, 2.0)
    assert rise_at([100, 200], 0) is None
    assert rise_at([100, 0], 1) is None


def test_a_token_without_a_text_of_its_own_can_be_stored(tmp_path: Path) -> None:
    model = tiny_llama(tmp_path)
    assert shown(model, 0) == "<s>"
    nul = model.tokenizer.convert_tokens_to_ids("Ā")  # the byte 0 in the byte-level alphabet
    assert "\0" not in shown(model, nul)
