"""Requests are read from the field's record shapes, or refused by file and record."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest

from editors.requests import Probe
from ledger.errors import InvalidInput
from ledger.evaluation.datasets import read_requests

DATA = Path(__file__).parents[3] / "shared" / "data"

ROME = {
    "case_id": 0,
    "requested_rewrite": {
        "prompt": "The mother tongue of {} is",
        "target_new": {"str": "English"},
        "target_true": {"str": "French"},
        "subject": "Danielle Darrieux",
    },
    "paraphrase_prompts": ["Danielle Darrieux, a native"],
    "neighborhood_prompts": ["The mother tongue of Léon Blum is"],
}  # CounterFact (Meng et al. 2022, MIT)
FLAT = {
    "prompt": "The mother tongue of Danielle Darrieux is",
    "target_new": "English",
    "subject": "Danielle Darrieux",
    "ground_truth": "French",
    "rephrase_prompt": "Where Danielle Darrieux is from, people speak",
    "locality_prompt": "Michel Rocard is a native speaker of",
    "locality_ground_truth": "French",
}  # the same record in EasyEdit's form (MIT)
MEND = {
    "subject": "Nebaioth",
    "src": "Who is Nebaioth's father?",
    "rephrase": "Who was the father of Nebaioth?",
    "alt": "Babur",
    "answers": ["Ishmael"],
    "loc": "nq question: what is the last episode called",
    "loc_ans": "The String",
    "portability": {"New Question": "Who is the son of Babur?", "New Answer": "Nebaioth"},
}  # zsRE (Levy et al. 2017) as in MEND and EasyEdit (MIT)
KNOWEDIT = {
    "subject": "Wang Jipeng",
    "prompt": "Who is listed as Wang Jipeng father?",
    "target_new": "Wang Chonghua",
    "ground_truth": ["Wang Yanjun"],
    "rephrase_prompt": "What is the name of Wang Jipeng father?",
    "locality": {"Relation_Specificity": [{"prompt": "Wang Jipeng lives in", "ground_truth": []}]},
    "portability": {"Reasoning": [{"prompt": "The son is", "ground_truth": [["A", "B"]]}]},
}  # KnowEdit (zjunlp, MIT)
OURS = {
    "subject": "Ada",
    "prompt": "{} was born in",
    "target_new": "Paris",
    "neighbourhood": [{"prompt": "Bob was born in", "answer": "Rome"}],
}


def _read(tmp_path, *records, name="facts.jsonl"):
    path = tmp_path / name
    text = (
        json.dumps(list(records))
        if name.endswith(".json")
        else "\n".join(json.dumps(record) for record in records)
    )
    path.write_text(text, "utf-8")
    return list(read_requests(path))


@pytest.mark.parametrize("name", ["facts.jsonl", "facts.json"])
def test_both_forms_of_counterfact_give_the_same_fact(tmp_path, name):
    rome, flat = _read(tmp_path, ROME, FLAT, name=name)
    assert rome.fact == flat.fact
    assert rome.prompt == "The mother tongue of {} is"
    assert rome.neighbourhood == (Probe("The mother tongue of Léon Blum is", "French"),)
    assert flat.neighbourhood == (Probe("Michel Rocard is a native speaker of", "French"),)
    assert flat.paraphrases == ("Where Danielle Darrieux is from, people speak",)


def test_zsre_in_mend_form_carries_locality_and_portability(tmp_path):
    (request,) = _read(tmp_path, MEND)
    assert (request.prompt, request.target_new) == ("Who is {}'s father?", "Babur")
    assert request.target_true == "Ishmael"
    assert request.portability == (Probe("Who is the son of Babur?", "Nebaioth"),)
    assert request.neighbourhood[0].answer == "The String"


def test_knowedit_keeps_probes_that_have_an_answer(tmp_path):
    (request,) = _read(tmp_path, KNOWEDIT)
    assert request.target_true == "Wang Yanjun"
    assert request.same_subject == ()
    assert request.portability == (Probe("The son is", "A"),)


def test_our_own_schema_is_read(tmp_path):
    (request,) = _read(tmp_path, OURS)
    assert request.text == "Ada was born in"
    assert request.neighbourhood == (Probe("Bob was born in", "Rome"),)


def test_the_bad_record_is_named(tmp_path):
    with pytest.raises(InvalidInput, match=r"facts\.jsonl, line 2: .*subject"):
        _read(tmp_path, OURS, {**OURS, "subject": "Nobody", "prompt": "Ada was born in"})


def test_an_unknown_shape_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="line 1"):
        _read(tmp_path, {"question": "?", "answer": "!"})


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("counterfact_rome.json", 0.95),
        ("counterfact_easyedit.json", 0.90),
        ("zsre_mend_eval_portability_gpt4.json", 0.85),
        ("knowedit_zsre_test_all_1301.json", 0.85),
        ("knowedit_wiki_counterfact_test.json", 0.90),
    ],
)
def test_the_published_files_are_read(tmp_path, name, least):
    """Most records are valid; the others (subject absent or twice) are refused one by one."""
    if not (DATA / name).is_file():
        pytest.skip(f"the benchmark file {name} is not beside the checkout")
    records = json.loads((DATA / name).read_text("utf-8"))[:400]
    good = 0
    for record in records:
        path = tmp_path / "one.jsonl"
        path.write_text(json.dumps(record), "utf-8")
        with suppress(InvalidInput):
            good += len(list(read_requests(path)))
    assert good >= least * len(records), good / len(records)
