"""Metrics of a model of five words whose probabilities are known: every row is computed by hand.

The next word depends on the last one only. All probabilities are powers of 1/2, so that a surprise
is a number of bits, and logits that are meant to be equal are: the model adds nothing but zeros.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction as F

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from editors.architectures import architecture_of
from editors.model import EditableModel
from ledger.evaluation.judging import BeginsWith
from ledger.evaluation.metrics import (
    all_right,
    divergence,
    margin,
    perplexity,
    preferred,
    token_accuracy,
)
from ledger.evaluation.scored import kept_scores
from ledger.evaluation.scoring import Question, next_logits, predict, surprises, text_surprises
from tests.contract.tiny import tiny_llama

pytestmark = pytest.mark.promise("P31")

WORDS = ("<s>", ".", "a", "b", "c", "d", "e")  # "." ends a text; the order decides ties
# Bits of each word after each word: 3 is a probability of 1/8.
BITS = {
    "a": {".": 5, "a": 5, "b": 1, "c": 2, "d": 3, "e": 4},
    "b": {".": 3, "a": 4, "b": 4, "c": 2, "d": 2, "e": 2},  # c, d and e are equal
    "c": {".": 1, "a": 2, "b": 3, "c": 5, "d": 4, "e": 5},
    "d": {".": 5, "a": 2, "b": 4, "c": 5, "d": 3, "e": 1},
    "e": {".": 2, "a": 2, "b": 2, "c": 3, "d": 4, "e": 4},  # the end, a and b are equal
}
FREE = {"a": "b c", "b": "c", "c": "", "d": "e", "e": ""}
ROWS = "{} rows computed by hand: equal"
WIDTH = 16  # the norm of a unit vector of 16 numbers is exactly 4 times it


@pytest.fixture(scope="module")
def model() -> EditableModel:
    """Embeddings are unit vectors, attention and MLPs add zero, the head holds the table."""
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        rms_norm_eps=0.0,
        bos_token_id=0,
        eos_token_id=1,
        attn_implementation="eager",
    )
    made = LlamaForCausalLM(config).eval().requires_grad_(False)
    for name, parameter in made.named_parameters():
        parameter.fill_(1.0 if "norm" in name else 0.0)
    made.model.embed_tokens.weight.copy_(torch.eye(len(WORDS), WIDTH))
    made.lm_head.weight.fill_(-100.0 / 4)
    for word, row in BITS.items():
        for following, bits in row.items():
            place = WORDS.index(following), WORDS.index(word)
            made.lm_head.weight[place] = -bits * math.log(2) / 4
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<s>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token=".")
    return EditableModel(made, fast, architecture_of(made.config))


def test_the_probabilities_are_those_of_the_table(model: EditableModel) -> None:
    for word, row in BITS.items():
        assert sum(F(1, 2**bits) for bits in row.values()) == 1
        (logits,) = next_logits(model, [word])
        assert logits[1:].tolist() == pytest.approx([-b * math.log(2) for b in row.values()])
        top = min(row.values())
        equal = [logits[WORDS.index(w)] for w, bits in row.items() if bits == top]
        assert len(set(equal)) == 1


# Prompt, answer, the argmax words at the answer's places, right tokens, mean bits.
ANSWERS: list[tuple[str, str, str, F, F]] = [
    ("a", "b", "b", F(1), F(1)),
    ("a", "c", "b", F(0), F(2)),
    ("a", "a", "b", F(0), F(5)),
    ("a", "e", "b", F(0), F(4)),
    ("d", "e", "e", F(1), F(1)),
    ("d", "c", "e", F(0), F(5)),
    ("c", "a", ".", F(0), F(2)),
    ("c", "c", ".", F(0), F(5)),
    # Ties: the argmax is the one with the lowest number.
    ("b", "c", "c", F(1), F(2)),
    ("b", "d", "c", F(0), F(2)),
    ("b", "e", "c", F(0), F(2)),
    ("b", "a", "c", F(0), F(4)),
    ("e", "a", ".", F(0), F(2)),
    ("e", "b", ".", F(0), F(2)),
    # The last word of a prompt decides, however long it is.
    ("c a", "b", "b", F(1), F(1)),
    ("d d d d d d d d e a", "c", "b", F(0), F(2)),
    ("a b c d e b", "d", "c", F(0), F(2)),
    # Answers of several words: what is scored is fed in, right or wrong.
    ("a", "b c", "b c", F(1), F(3, 2)),
    ("a", "b d", "b c", F(1, 2), F(3, 2)),
    ("a", "c b", "b .", F(0), F(5, 2)),
    ("a", "d e", "b e", F(1, 2), F(2)),
    ("a", "b c a", "b c .", F(2, 3), F(5, 3)),
    ("b", "e a b", "c . b", F(1, 3), F(5, 3)),
    ("d", "e e e e", "e . . .", F(1, 4), F(13, 4)),
    ("e d", "e a b c", "e . b c", F(3, 4), F(3, 2)),
    ("b a", "b c d e a b", "b c . e . b", F(2, 3), F(11, 6)),
]


@pytest.mark.parametrize(("prompt", "answer", "argmax", "right", "bits"), ANSWERS)
def test_an_answer_is_scored_as_by_hand_alone_and_among_others(
    model: EditableModel,
    prompt: str,
    answer: str,
    argmax: str,
    right: F,
    bits: F,
    figure: Callable[..., None],
) -> None:
    """Among others it is padded: on the right to be scored, on the left to be answered freely."""
    asked, free = Question(prompt, answer), FREE[prompt[-1]]
    others = [Question(row[0], row[1]) for row in ANSWERS]
    (alone,) = predict(model, [asked])
    assert [WORDS[token] for token in alone.gold] == answer.split()
    assert [WORDS[token] for token in alone.argmax] == argmax.split()
    assert alone.free.strip() == free
    assert token_accuracy(alone.argmax, alone.gold) == float(right)
    assert all_right(alone.argmax, alone.gold) == float(right == 1)
    begins = free == answer or free.startswith(f"{answer} ")
    assert BeginsWith()(prompt, (answer,), alone.free) is begins
    (surprise,) = surprises(model, [asked])
    assert surprise == pytest.approx(float(bits) * math.log(2), abs=1e-6)
    place = others.index(asked)
    for order in (others, others[::-1]):
        at = place if order is others else len(others) - 1 - place
        assert predict(model, order)[at] == alone
        assert surprises(model, order)[at] == surprise
    figure("P31", ROWS, 1)


@pytest.mark.parametrize("prompt", ["a", "d", "b", "c b", "c d a", "e e e e e e e e d"])
def test_what_the_model_says_freely_is_its_argmax(
    model: EditableModel, prompt: str, figure: Callable[..., None]
) -> None:
    """Padded on the left and on the right it says the same."""
    asked = [Question(prompt), Question("a b c d e a b c d e c a"), Question("b")]
    for order in (asked[:1], asked, asked[::-1]):
        found = predict(model, order)[order.index(asked[0])]
        assert found.free.strip() == found.answer == FREE[prompt[-1]]
        assert found.argmax == found.gold
    figure("P31", ROWS, 1)


# Prompt, wanted, other, whether the wanted one is preferred, its margin.
COMPARED: list[tuple[str, str, str, bool, float]] = [
    ("a", "b", "c", True, 1 / 4),
    ("a", "e", "d", False, -1 / 16),
    ("b", "c", "d", False, 0.0),  # a tie is not preferred
    ("b", "d", "c", False, 0.0),
    ("a", "b c", "c", True, 2**-1.5 - 1 / 4),  # the geometric mean of 1/2 and 1/4
    ("a", "b c a", "b", False, 2 ** (-5 / 3) - 1 / 2),
    ("d", "c", "e a", False, 1 / 32 - 2**-1.5),
]


@pytest.mark.parametrize(("prompt", "wanted", "other", "first", "difference"), COMPARED)
def test_two_answers_are_compared_as_by_hand(
    model: EditableModel,
    prompt: str,
    wanted: str,
    other: str,
    first: bool,
    difference: float,
    figure: Callable[..., None],
) -> None:
    pair = surprises(model, [Question(prompt, wanted), Question(prompt, other)])
    pairs = [(pair[0], pair[1])]
    assert preferred(pairs) == float(first)
    assert margin(pairs) == pytest.approx(difference, abs=1e-6)
    figure("P31", ROWS, 1)


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("a b", [1]),
        ("b d", [2]),
        ("a b c", [1, 2]),
        ("a a a", [5, 5]),
        ("e d c b a", [4, 5, 3, 4]),
        ("c a b c a b c", [2, 1, 2, 2, 1, 2]),
    ],
)
def test_a_text_surprises_as_by_hand(
    model: EditableModel, text: str, bits: list[int], figure: Callable[..., None]
) -> None:
    found = text_surprises(model, text)
    assert found == pytest.approx([n * math.log(2) for n in bits], abs=1e-6)
    assert perplexity(found) == pytest.approx(2 ** (sum(bits) / len(bits)), rel=1e-6)
    figure("P31", ROWS, 1)


@pytest.mark.parametrize(
    ("first", "second", "bits"),
    [
        ("a", "b", F(37, 32)),  # -1/32 + 3/2 + 0 - 1/8 - 1/8 - 1/16
        ("b", "a", F(7, 8)),  # 1/16 - 3/16 + 0 + 1/4 + 1/2 + 1/4
        ("d", "e", F(43, 32)),  # 0 - 1/8 - 1/16 + 1/8 + 3/2 - 3/32
        ("c", "c", F(0)),
        ("e c", "c", F(0)),
    ],
)
def test_distributions_diverge_as_by_hand(
    model: EditableModel, first: str, second: str, bits: F, figure: Callable[..., None]
) -> None:
    found = divergence(next_logits(model, [first]), next_logits(model, [second]))
    assert found == pytest.approx([float(bits) * math.log(2)], abs=1e-6)
    figure("P31", ROWS, 1)


@pytest.mark.parametrize(
    ("before", "after", "scores"),
    [
        ("a", "c a", (1.0, 1.0, 1.0)),  # both say "b c"
        ("a", "b", (0.5, 0.0, 0.0)),  # after "b" the words "b c" have the argmax "c c"
        ("d", "a", (0.0, 0.0, 0.0)),
        ("c", "e", (1.0, 1.0, 1.0)),  # both end at once: the free answers decide
        ("c", "d", (0.0, 0.0, 0.0)),
    ],
)
def test_what_is_to_stay_is_compared_as_by_hand(
    model: EditableModel,
    before: str,
    after: str,
    scores: tuple[float, float, float],
    figure: Callable[..., None],
) -> None:
    """Another prompt stands for another model."""
    (said,) = predict(model, [Question(before)])
    (found,) = predict(model, [Question(after, said.answer or None)])
    assert kept_scores(said, found) == scores
    figure("P31", ROWS, 1)


def test_a_model_that_looks_back_says_the_same_alone_and_padded(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Its attention would see padding, on either side."""
    looking = tiny_llama(tmp_path_factory.mktemp("looking"))
    prompts = ["Ada", "The capital of France is", "I think that you know where they live now"]
    asked = [Question(prompt, answer) for prompt in prompts for answer in ("Paris, France", "old")]
    together, turned = predict(looking, asked), predict(looking, asked[::-1])[::-1]
    assert together == turned == [predict(looking, [one])[0] for one in asked]
    alone = np.array([surprises(looking, [one])[0] for one in asked])
    np.testing.assert_allclose(surprises(looking, asked), alone, rtol=1e-5)
