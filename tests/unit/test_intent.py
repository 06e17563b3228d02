"""Intents are found where there are some, nowhere else, and taken apart as they are labelled."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.intent import PARTS, judged, score, utterances
from ledger.demo.vocabulary import CHINESE, ENGLISH
from ledger.intent import InstructDetector, Proposal, Turn, detect
from ledger.intent.instruct import messages, parsed

GOAL = {"precision": 0.95, "recall": 0.85}


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("part", PARTS)
def test_the_rules_reach_their_goal(part, language):
    found = score(part, language)
    assert found.precision >= GOAL["precision"]
    assert found.recall >= GOAL["recall"]


def test_the_utterances_are_many_and_balanced():
    rows = [row for part in PARTS for row in utterances(part)]
    assert len(rows) >= 300
    assert len({(row["text"], row.get("question")) for row in rows}) == len(rows)
    for key in (lambda r: r["language"] == "zh", lambda r: r["intent"] is None):
        assert 0.45 <= sum(map(key, rows)) / len(rows) <= 0.55


def test_a_proposal_with_other_words_counts_as_wrong_twice():
    def wrong(message, previous=None):
        return Proposal("x", "{} is", "y")

    found = score("held_out", "en", wrong)
    assert (found.precision, found.recall) == (0.0, 0.0)
    assert not any(ok for row, _, ok in judged("held_out", wrong) if row["intent"] is None)


@pytest.mark.parametrize(("relations", "name", "told"), [
    (ENGLISH, "Vela Strom", "No, it is {}."), (CHINESE, "王伟", "不对，是{}。"),
])  # fmt: skip
def test_an_answer_to_a_phrasing_of_the_demo_world_can_be_corrected(relations, name, told):
    odd = []
    for relation in relations:
        old, new = relation.values[:2]
        for phrasing in relation.phrasings:
            turn = Turn(phrasing.replace("{}", name), old)
            found = detect(told.replace("{}", new), turn)
            want = Proposal(name, phrasing, new, old)
            if found is None or (found.subject, found.prompt) != (want.subject, want.prompt):
                odd.append(phrasing)
            else:
                assert (found.target_new, found.target_true) == (new, old)
    assert odd in ([], ["{}靠什么谋生？答案是"])  # a question and its answer in one


@pytest.mark.parametrize(("relations", "name"), [(ENGLISH, "Vela Strom"), (CHINESE, "王伟")])
@pytest.mark.parametrize("turn", [None, Turn("Ada Lovelace was born in", " London.")])
def test_the_beginning_of_a_sentence_states_nothing(relations, name, turn):
    begun = [p.replace("{}", name) for relation in relations for p in relation.phrasings]
    assert [text for text in begun if detect(text, turn)] == []


def test_a_proposal_says_what_it_rests_on_and_what_stood_there_before():
    found = detect("Change the capital of Kelonia from Arv to Mund")
    assert (found.target_true, found.evidence, found.confidence) == ("Arv", ("Change",), 0.9)
    found = detect("不对，是柏林。", Turn("阿达出生在哪里？", "伦敦。"))
    assert (found.target_true, found.evidence) == ("伦敦", ("不对", "是"))
    assert detect("Ada is Danish").confidence < detect("Ada was born in Paris").confidence
    cued = detect("Remember that Ada was born in Paris")
    assert cued.confidence > detect("Ada was born in Paris").confidence
    assert cued.request().text == "Ada was born in"


def test_a_short_correction_needs_a_question_to_rest_on():
    assert detect("No, it is Berlin.") is None
    assert detect("不对，是柏林。") is None
    assert detect("No, it is Berlin.", Turn("Hello there!", "Hi.")) is None


@given(st.text(max_size=60), st.text(max_size=40))
def test_any_text_is_taken(message, question):
    for text in (message, f"No, {message}", f"把{message}的首都改成{question}"):
        found = detect(text, Turn(question, message))
        assert found is None or found.request().prompt.count("{}") == 1


def test_a_long_text_is_no_statement():
    assert detect("Ada was born in Paris. " * 40) is None


# --- the instruct model's detector --------------------------------------------------------------

GOOD = {"intent": True, "subject": "Ada", "prompt": "{} was born in", "old": "London",
        "new": "Paris", "confidence": 0.75}  # fmt: skip
TURN = Turn("Where was Ada born?", "In London.")


def said(fields):
    return InstructDetector(lambda _: f"Here it is:\n```json\n{json.dumps(fields)}\n```")


def test_a_model_that_answers_in_the_asked_form_is_believed():
    found = said(GOOD)("Wrong, it is Paris", TURN)
    assert found == Proposal("Ada", "{} was born in", "Paris", "London", 0.75, ("Paris",))
    assert said({"intent": False})("Hello", None) is None


@pytest.mark.parametrize(
    "text",
    ["", "no", "{", "[1]", "null", '{"intent": true}', "{" * 5000, '{"intent": "yes"}',
     json.dumps({**GOOD, "new": "Rome"}),            # a word that nobody said
     json.dumps({**GOOD, "subject": "Bob"}),
     json.dumps({**GOOD, "prompt": "She was born in"}),
     json.dumps({**GOOD, "prompt": 3}),
     json.dumps({**GOOD, "confidence": "high"}),
     json.dumps({**GOOD, "new": ""})],
)  # fmt: skip
def test_a_model_that_answers_otherwise_proposes_nothing(text):
    assert parsed(text, "Wrong, it is Paris", TURN) is None


def test_the_model_is_shown_the_message_and_the_turn_before():
    (only,) = messages("Wrong, it is Paris", TURN)
    for text in ("Wrong, it is Paris", TURN.question, TURN.answer):
        assert text in only["content"]
    assert "Question before" not in messages("Hello", None)[0]["content"]
