"""Scores of texts, distributions and records are what their definitions say, by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from editors.model import EditableModel
from editors.prompts import encode
from editors.requests import Probe
from ledger.errors import InvalidInput
from ledger.evaluation.datasets import Record, read_records
from ledger.evaluation.fluency import fluency, n_gram_entropy, words
from ledger.evaluation.judging import BeginsWith, NormalisedMatch
from ledger.evaluation.metrics import (
    all_right,
    divergence,
    exactly,
    perplexity,
    retention,
)
from ledger.evaluation.protocol import Protocol, require_same
from ledger.evaluation.scored import (
    base_questions,
    compared_questions,
    counterfact,
    counterfact_score,
    edited_questions,
    record_scores,
)
from ledger.evaluation.scoring import Prediction, Question, next_logits, text_surprises
from ledger.running import _comparable
from tests.contract.tiny import REQUEST, TEXTS, tiny_llama
from tests.unit.test_metrics_by_hand import ROWS

pytestmark = pytest.mark.promise("P31")

RECORD = {
    "requested_rewrite": {
        "prompt": "The mother tongue of {} is",
        "target_new": {"str": "English"},
        "target_true": {"str": "French"},
        "subject": "Danielle Darrieux",
    },
    "paraphrase_prompts": ["Danielle Darrieux, a native", "Danielle Darrieux speaks"],
    "neighborhood_prompts": ["The mother tongue of Léon Blum is"],
    "distracting_neighborhood_prompts": ["Danielle. Léon Blum speaks"],
    "unrelated_relation": {"question": "Danielle Darrieux was a", "object": "actor"},
    "portability": {"New Question": "She comes from", "New Answer": "England"},
}  # CounterFact (Meng et al. 2022, MIT), shortened
RANDOM = (Probe("Two and two are", "four"), Probe("The sun is"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> EditableModel:
    return tiny_llama(tmp_path_factory.mktemp("model"))


@pytest.fixture
def record(tmp_path: Path) -> Record:
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps(RECORD), "utf-8")
    (found,) = read_records(path, strict=True)
    assert isinstance(found, Record)
    return found


# --- texts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ada wrote it.", ["Ada", "wrote", "it", "."]),
        (
            "Ada's well-known city (3.5 km)",
            ["Ada", "'s", "well-known", "city", "(", "3.5", "km", ")"],
        ),
        (
            "I don't know, they've gone!",
            ["I", "do", "n't", "know", ",", "they", "'ve", "gone", "!"],
        ),
        ("北京是 capital", ["北", "京", "是", "capital"]),
        ("  \n ", []),
    ],
)
def test_a_text_falls_into_words_and_marks(
    text: str, expected: list[str], figure: Callable[..., None]
) -> None:
    assert words(text) == expected
    figure("P31", ROWS, 1)


def test_entropy_is_that_of_the_frequencies() -> None:
    assert n_gram_entropy(list("abab"), 2) == pytest.approx(
        -(2 / 3) * math.log2(2 / 3) - (1 / 3) * math.log2(1 / 3)
    )
    assert n_gram_entropy(list("abcde"), 2) == pytest.approx(2.0)
    assert n_gram_entropy(["a"], 2) == 0.0
    assert math.copysign(1, n_gram_entropy(["a", "b"], 2)) == 1.0
    # Four bigrams and three trigrams, all different: (2/3 * 2 + 4/3 * log2(3)) / 2.
    assert fluency(["a b c d e"]) == pytest.approx((2 / 3 * 2 + 4 / 3 * math.log2(3)) / 2)
    assert fluency(["a b c d e", "a"]) == pytest.approx((2 / 3 * 2 + 4 / 3 * math.log2(3)) / 4)
    assert fluency([]) is None


@pytest.mark.parametrize(
    ("answer", "begins", "normalised", "exact"),
    [
        ("Paris", True, True, True),
        (" Paris, France.", True, False, False),
        ("The paris.", False, True, False),
        ("PARIS", True, True, False),
        ("Parisian", False, False, False),
        ("London", False, False, False),
        ("", False, False, False),
    ],
)
def test_how_a_free_answer_can_be_right(
    answer: str, begins: bool, normalised: bool, exact: bool, figure: Callable[..., None]
) -> None:
    accepted = ("Rome", "Paris")
    assert BeginsWith()("Where?", accepted, answer) is begins
    assert NormalisedMatch()("Where?", accepted, answer) is normalised
    assert exactly(answer, "Paris") is exact
    figure("P31", ROWS, 1)


def test_judges_of_different_kinds_have_different_names() -> None:
    assert BeginsWith.name != NormalisedMatch.name


# --- numbers ------------------------------------------------------------------------------------


def test_exact_means_every_token() -> None:
    assert all_right((1, 2), (1, 2)) == 1.0
    assert all_right((1, 3), (1, 2)) == 0.0
    with pytest.raises(ValueError, match="predictions"):
        all_right((), ())


def test_retention_tells_the_mean_and_the_share_that_holds() -> None:
    assert retention([1.0, 1.0, 0.5, 0.0]) == (0.625, 0.5)
    assert retention([]) is None


def test_perplexity_is_the_exponential_of_the_mean() -> None:
    assert perplexity([math.log(2), math.log(8)]) == pytest.approx(4.0)
    assert perplexity([1e9]) == pytest.approx(math.exp(700))
    assert perplexity([]) is None


def test_divergence_is_in_nats_and_does_not_see_a_constant() -> None:
    half, skew = np.log([[0.5, 0.5]]), np.log([[0.9, 0.1]])
    expected = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    assert divergence(half, skew) == pytest.approx([expected])
    assert divergence(half + 7, skew - 3) == pytest.approx([expected])
    assert divergence(half, half) == [0.0]
    with pytest.raises(ValueError, match="shapes"):
        divergence(half, np.zeros((1, 3)))


def test_the_surprise_of_a_text_is_that_of_the_transformers_model(model: EditableModel) -> None:
    text = TEXTS[0]
    ids = torch.tensor([encode(model, text).ids])
    with torch.no_grad():
        loss = model.model(input_ids=ids, labels=ids).loss
    found = text_surprises(model, text)
    assert len(found) == ids.shape[1] - 1
    assert perplexity(found) == pytest.approx(math.exp(float(loss)), rel=1e-4)
    assert text_surprises(model, text, max_tokens=5) == pytest.approx(found[:4], rel=1e-4)


def test_next_logits_are_those_after_each_prompt(model: EditableModel) -> None:
    found = next_logits(model, TEXTS[:3])
    for text, row in zip(TEXTS[:3], found, strict=True):
        with torch.no_grad():
            alone = model.model(input_ids=torch.tensor([encode(model, text).ids])).logits[0, -1]
        np.testing.assert_allclose(row, alone.numpy(), atol=1e-4)
    assert divergence(found, found) == [0.0] * 3


# --- records ------------------------------------------------------------------------------------


def said(question: Question, free: str, right: tuple[bool, ...]) -> Prediction:
    """A prediction whose tokens are right or not."""
    gold = tuple(range(len(right)))
    argmax = tuple(g if ok else 99 for g, ok in zip(gold, right, strict=True))
    return Prediction(question.prompt, question.answer or "?", gold, argmax, free)


def test_every_probe_of_a_record_counts_once_by_its_own_rule(record: Record) -> None:
    asked = base_questions(record, RANDOM)
    before = {q: said(q, "French", (True, True)) for q in asked}
    own = Question("The mother tongue of Danielle Darrieux is", "English")
    asked_again = edited_questions(record, before, RANDOM)
    after = {q: said(q, "English it is", (True, True)) for q in asked_again}
    changed = {
        own: ("English", (True, False)),
        Question("Danielle Darrieux speaks", "English"): ("French", (False, False)),
        Question("The mother tongue of Léon Blum is", "French"): ("French", (True, False)),
        Question("Danielle. Léon Blum speaks", "French"): ("English", (False, False)),
        Question("The sun is", "?"): ("French", (True, True)),
    }
    for question, (free, right) in changed.items():
        assert question in after, question
        after[question] = said(question, free, right)
    assert record_scores(record, before, after, RANDOM) == {
        "reliability": 0.5,
        "reliability_exact": 0.0,
        "reliability_free": 1.0,
        "generalization": 0.5,
        "generalization_exact": 0.5,
        "generalization_free": 0.5,
        "portability": 1.0,
        "portability_exact": 1.0,
        "portability_free": 0.0,
        "portability.one_hop": 1.0,
        "locality": 0.5,
        "locality_exact": 0.0,
        "locality_free": 1.0,
        "locality.neighbour": 0.5,
        "locality_distracting": 0.0,
        "locality_distracting_exact": 0.0,
        "locality_distracting_free": 0.0,
        "locality_distracting.distracting": 0.0,
        "locality_same_subject": 1.0,
        "locality_same_subject_exact": 1.0,
        "locality_same_subject_free": 0.0,
        "locality_same_subject.unrelated": 1.0,
        "locality_random": 1.0,
        "locality_random_exact": 1.0,
        "locality_random_free": 0.5,
    }


def test_one_answered_question_answers_a_chain(record: Record) -> None:
    from ledger.evaluation.datasets import RecordProbe

    hops = tuple(RecordProbe("multi_hop", f"Who {n}?", ("Bush", "Dubya")) for n in range(3))
    chain = replace(record, probes=hops)
    asked = edited_questions(chain, {})
    answers = {q: said(q, "nobody", (False,)) for q in asked}
    assert record_scores(chain, {}, answers)["multi_hop_any"] == 0.0
    last = Question("Who 2?", "Bush")
    answers[last] = said(last, "Dubya.", (False,))
    found = record_scores(chain, {}, answers)
    assert (found["multi_hop_any"], found["multi_hop_free"]) == (1.0, pytest.approx(1 / 3))


def test_counterfact_compares_the_new_answer_with_the_true_one(record: Record) -> None:
    surprise = dict.fromkeys(compared_questions(record), math.log(4))
    assert len(surprise) == 2 * 4
    for prompt in ("The mother tongue of Danielle Darrieux is", "Danielle Darrieux speaks"):
        surprise[Question(prompt, "English")] = math.log(2)
    surprise[Question("The mother tongue of Léon Blum is", "French")] = math.log(2)
    found = counterfact(record, surprise)
    assert found == pytest.approx(
        {"ES": 1.0, "EM": 0.25, "PS": 0.5, "PM": 0.125, "NS": 1.0, "NM": 0.25}
    )
    assert counterfact_score([found, found]) == pytest.approx(3 / (1 + 2 + 1))
    assert counterfact_score([{"ES": 1.0}]) is None
    nothing = replace(record, requests=(replace(record.request, target_true=None),))
    assert compared_questions(nothing) == []
    assert counterfact(nothing, {}) == {}


# --- what may be compared -----------------------------------------------------------------------


def test_equal_protocols_have_one_digest_and_any_difference_another(model: EditableModel) -> None:
    one = Protocol.of(model, records=["b", "a"], seeds={"records": 0})
    assert one.digest == Protocol.of(model, records=["a", "b"], seeds={"records": 0}).digest
    assert Protocol.from_json(json.loads(json.dumps(one.to_json()))) == one
    others = [
        Protocol.of(model, records=["a"], seeds={"records": 0}),
        Protocol.of(model, records=["a", "b"], seeds={"records": 1}),
        Protocol.of(model, records=["a", "b"], seeds={"records": 0}, judge="another"),
        replace(one, definition="another"),
        replace(one, tokenizer="another"),
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 6
    assert require_same([one, one]) is one
    with pytest.raises(InvalidInput, match=r"measured differently \(seeds: .*1"):
        require_same([one, others[1]])
    with pytest.raises(InvalidInput, match="no measurement"):
        require_same([])
    with pytest.raises(InvalidInput, match=r"'kel\.protocol/9'"):
        Protocol.from_json({**one.to_json(), "schema": "kel.protocol/9"})


def test_the_tokenizer_is_part_of_the_protocol(model: EditableModel, tmp_path: Path) -> None:
    from tests.contract.tiny import tiny_square

    other = tiny_square(tmp_path)  # no BOS
    assert Protocol.of(model, records=[REQUEST.text]) != Protocol.of(other, records=[REQUEST.text])


def test_a_drift_is_told_only_of_numbers_that_were_measured_the_same_way() -> None:
    means = {"reliability": 1.0, "reliability_free": 0.5, "locality": 0.8}
    asked = {"reliability": "a", "locality": "b"}

    def compared(payload: dict[str, object]) -> set[str]:
        entry = SimpleNamespace(payload={"means": means, **payload})
        return set(_comparable(entry, asked))  # type: ignore[arg-type]

    assert compared({"protocols": asked}) == set(means)
    assert compared({"protocols": asked | {"locality": "c"}}) == {"reliability", "reliability_free"}
    assert compared({"protocols": {}}) == set()
    assert compared({}) == set(means)  # of an older program, which had one way only
