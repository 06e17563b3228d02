"""Requests are read from the field's record shapes, or refused by file and record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from editors.requests import EditRequest, Probe
from ledger.errors import InvalidInput
from ledger.evaluation.datasets import (
    KINDS,
    BadRecord,
    Record,
    drawn,
    locality_pool,
    read_records,
    read_requests,
    to_request,
)

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


HOPS = {
    "case_id": 7430,
    "requested_rewrite": [
        {
            "prompt": "The company that produced {} is",
            "target_new": {"str": "SpaceX"},
            "target_true": {"str": "Ford Motor Company"},
            "subject": "Ford Thunderbird",
            "relation_id": "P176",
            "question": "Which company is Ford Thunderbird produced by?",
        },
        {
            "prompt": "{} was founded by",
            "target_new": {"str": "George W. Bush"},
            "target_true": {"str": "Elon Musk"},
            "subject": "SpaceX",
            "relation_id": "P112",
            "question": "Who founded SpaceX?",
        },
    ],
    "questions": ["Who founded the maker of Ford Thunderbird?"],
    "new_answer": "George W. Bush",
    "new_answer_alias": ["Bush", "Dubya"],
    "new_single_hops": [
        {"question": "Who founded SpaceX?", "answer": "George W. Bush", "answer_alias": []},
        {"question": "Where was Bush born?", "answer": "New Haven", "answer_alias": ["NH"]},
    ],
}  # MQuAKE (princeton-nlp, MIT), shortened
PARALLEL = {
    "en": {
        "case_id": 0,
        "subject": "Mariana Pineda",
        "src": "What is the original language of Mariana Pineda?",
        "rephrase": "Which language is associated with Mariana Pineda?",
        "old": "Spanish",
        "alt": "Tamil",
        "loc": "What language was used in Jealousy?",
        "loc_ans": "Spanish",
        "port": "In which state is Tamil spoken?",
        "port_ans": "Tamil Nadu",
    },
    "zh": {
        "case_id": 0,
        "subject": "玛丽安娜·皮内达",
        "src": "玛丽安娜·皮内达的原始语言是什么？",
        "rephrase": "与玛丽安娜·皮内达相关的语言是什么？",
        "old": "西班牙语",
        "alt": "泰米尔语",
        "loc": "《嫉妒》中使用的是什么语言？",
        "loc_ans": "西班牙语",
        "port": "泰米尔语在哪个邦是官方语言？",
        "port_ans": "泰米尔纳德邦",
    },
}  # BMIKE-53 (ercong21/MultiKnow, MIT)
CHINESE = {
    "prompt": "请解释如下成语：在劫难逃",
    "target_old": "命运",
    "target_new": "原指命中注定要遭受灾祸。",
    "portability": [{"prompt": "如何理解其中的“劫”?", "answer": "灾难"}],
    "locality": [{"prompt": "请给下面的字注音：玩弄", "answer": "wán nòng"}],
    "rephrase": ["请问‘在劫难逃’是什么意思？", "成语‘在劫难逃’怎么解释？"],
    "type": "idiom",
    "index": 278,
}  # CKnowEdit, CCKS 2024 (zjunlp, MIT)
KNOWN = {
    "known_id": 1,
    "subject": "Beats Music",
    "attribute": "Apple",
    "template": "{} is owned by",
    "prompt": "Beats Music is owned by",
    "relation_id": "P127",
}  # kmeng01/rome (MIT)
RELATION = {
    "relation": "city in country",
    "prompt_templates": ["{} is part of", "{} is in the country of"],
    "prompt_templates_zs": ["{} is located in the country of"],
    "subject": "New York City",
    "object": "United States",
}  # evandez/relations (MIT)
ALL = {
    "counterfact": ROME,
    "counterfact-flat": FLAT,
    "zsre": MEND,
    "knowedit": KNOWEDIT,
    "kel": OURS,
    "mquake": HOPS,
    "bmike53": PARALLEL,
    "cknowedit": CHINESE,
    "known": KNOWN,
    "lre": RELATION,
}


def _file(tmp_path: Path, *records: object, name: str = "facts.jsonl") -> Path:
    path = tmp_path / name
    text = (
        json.dumps(list(records))
        if name.endswith(".json")
        else "\n".join(json.dumps(record) for record in records)
    )
    path.write_text(text, "utf-8")
    return path


def _good(tmp_path: Path, *records: object, **options) -> list[Record]:
    found = list(read_records(_file(tmp_path, *records), strict=True, **options))
    assert all(isinstance(record, Record) for record in found)
    return found


def _read(tmp_path, *records, name="facts.jsonl"):
    return list(read_requests(_file(tmp_path, *records, name=name)))


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


# --- records ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ALL)
@pytest.mark.parametrize("name", ["facts.jsonl", "facts.json"])
def test_each_shape_is_told_by_its_keys(tmp_path: Path, shape: str, name: str) -> None:
    records = list(read_records(_file(tmp_path, ALL[shape], name=name)))
    assert {record.shape for record in records} == {shape}
    assert all(probe.kind in KINDS for record in records for probe in record.probes)


def test_chained_edits_stay_together_and_are_asked_over_all_hops(tmp_path: Path) -> None:
    (record,) = _good(tmp_path, HOPS)
    assert [request.target_new for request in record.requests] == ["SpaceX", "George W. Bush"]
    assert record.relations == ("P176", "P112")
    (question,) = record.of("multi_hop")
    assert question.answers == ("George W. Bush", "Bush", "Dubya")
    assert [p.prompt for p in record.of("paraphrase")] == [
        "Which company is Ford Thunderbird produced by?",
        "Who founded SpaceX?",
    ]
    assert [(p.prompt, p.answers) for p in record.of("portability")] == [
        ("Where was Bush born?", ("New Haven", "NH"))
    ]
    with pytest.raises(InvalidInput, match="2 requests"):
        _ = record.request
    assert list(read_requests(_file(tmp_path, HOPS))) == list(record.requests)
    with pytest.raises(InvalidInput, match="2 requests"):
        to_request(HOPS)


def test_a_parallel_record_becomes_one_a_language_with_the_others_as_consequences(
    tmp_path: Path,
) -> None:
    english, chinese = _good(tmp_path, PARALLEL)
    assert (english.language, chinese.language) == ("en", "zh")
    assert english.id != chinese.id
    assert chinese.request.prompt == "{}的原始语言是什么？"
    assert chinese.request.target_true == "西班牙语"
    assert ("in_en", PARALLEL["en"]["src"], ("Tamil",)) in {
        (p.group, p.prompt, p.answers) for p in chinese.of("portability")
    }
    (only,) = _good(tmp_path, PARALLEL, language="zh")
    assert only == chinese
    with pytest.raises(InvalidInput, match="2 records"):
        to_request(PARALLEL)


def test_a_chinese_record_without_a_subject_is_about_what_its_wordings_share(
    tmp_path: Path,
) -> None:
    (record,) = _good(tmp_path, CHINESE)
    assert (record.request.subject, record.language) == ("在劫难逃", "zh")
    assert record.notes == ("subject found in the wordings",)
    assert [p.answers for p in record.of("neighbourhood")] == [("wán nòng",)]
    (named,) = _good(tmp_path, CHINESE | {"subject": "成语"})
    assert (named.request.prompt, named.notes) == ("请解释如下{}：在劫难逃", ())
    (bad,) = read_records(_file(tmp_path, CHINESE | {"rephrase": ["一二三"]}))
    assert isinstance(bad, BadRecord)
    assert "add a subject" in bad.reason


def test_known_facts_are_marked_as_such(tmp_path: Path) -> None:
    known, relation = _good(tmp_path, KNOWN, RELATION)
    assert known.known
    assert relation.known
    assert (known.request.prompt, known.request.target_new) == ("{} is owned by", "Apple")
    assert (known.name, known.relations) == ("1", ("P127",))
    assert relation.request.paraphrases == (
        "New York City is in the country of",
        "New York City is located in the country of",
    )


def test_probes_keep_all_their_answers_and_the_data_sets_word_for_them(tmp_path: Path) -> None:
    probes = {"Subject_Aliasing": [{"prompt": "Who?", "ground_truth": [["A", "B"], ["C", "A"]]}]}
    (record,) = _good(tmp_path, KNOWEDIT | {"portability": probes})
    (probe,) = record.of("portability")
    assert (probe.group, probe.answers) == ("subject_aliasing", ("A", "B", "C"))
    assert record.request.portability == (Probe("Who?", "A"),)
    assert record.notes == ("1 probes without an answer left out",)


def test_easyedits_own_form_of_probes_is_read(tmp_path: Path) -> None:
    probes = {"neighborhood": {"prompt": ["a is", "b is"], "ground_truth": ["x", ["y", "z"]]}}
    (record,) = _good(tmp_path, KNOWEDIT | {"locality": probes})
    assert [(p.prompt, p.answers) for p in record.of("neighbourhood")] == [
        ("a is", ("x",)),
        ("b is", ("y", "z")),
    ]


def test_neighbours_that_name_the_edit_are_no_part_of_the_request(tmp_path: Path) -> None:
    (record,) = _good(tmp_path, ROME | {"distracting_neighborhood_prompts": ["Danielle is. Léon"]})
    assert [p.prompt for p in record.of("distracting")] == ["Danielle is. Léon"]
    assert len(record.request.neighbourhood) == 1


@pytest.mark.parametrize(
    ("extra", "group"),
    [
        ({"inverse question": "Who is the son of Babur?"}, ("inverse", ("Nebaioth",))),
        ({"alter_subject_question": "Who is X's father?"}, ("subject_replace", ("Babur",))),
    ],
)
def test_zsre_with_other_consequences(tmp_path: Path, extra, group) -> None:
    (record,) = _good(tmp_path, {k: v for k, v in MEND.items() if k != "portability"} | extra)
    assert [(p.group, p.answers) for p in record.of("portability")] == [group]


def test_a_record_has_the_same_id_wherever_it_stands(tmp_path: Path) -> None:
    first = {r.shape: r.id for r in _good(tmp_path, ROME, MEND, OURS)}
    turned = {key: OURS[key] for key in reversed(OURS)}
    again = {r.shape: r.id for r in _good(tmp_path, turned, MEND, ROME)}
    assert first == again
    assert len(set(first.values())) == 3
    twice = [r.id for r in _good(tmp_path, OURS, OURS, OURS)]
    assert twice == [first["kel"], first["kel"] + "~2", first["kel"] + "~3"]


def test_what_a_seed_draws_does_not_depend_on_the_order(tmp_path: Path) -> None:
    facts = [OURS | {"target_new": f"City {number}"} for number in range(40)]

    def chosen(records: list[dict], seed: int) -> list[str]:
        found = _good(tmp_path, *records, seed=seed, limit=10)
        return [record.request.target_new for record in found]

    some = chosen(facts, 0)
    assert len(set(some)) == 10
    assert some == sorted(some, key=lambda name: int(name.split()[1]))  # the order of the file
    assert set(chosen(facts[::-1], 0)) == set(some)
    assert set(chosen(facts, 1)) != set(some)
    assert [r.request.target_new for r in _good(tmp_path, *facts, limit=3)] == [
        "City 0",
        "City 1",
        "City 2",
    ]
    with pytest.raises(InvalidInput, match="0 records"):
        _good(tmp_path, *facts, limit=0)


def test_bad_records_are_handed_over_and_do_not_count(tmp_path: Path) -> None:
    source = _file(tmp_path, {}, OURS, OURS | {"prompt": "Bob was"}, ROME, MEND)
    found = list(read_records(source, limit=2))
    assert [type(r).__name__ for r in found] == ["BadRecord", "Record", "BadRecord", "Record"]
    assert [r.place for r in found] == ["line 1", "line 2", "line 3", "line 4"]
    assert [r.code for r in found if isinstance(r, BadRecord)] == ["shape", "subject_missing"]
    bad = [r for r in read_records(source, limit=1, seed=5) if isinstance(r, BadRecord)]
    assert len(bad) == 2
    with pytest.raises(InvalidInput, match=r"facts\.jsonl, line 1: no known shape"):
        list(read_records(source, strict=True))


def test_a_shape_can_be_told(tmp_path: Path) -> None:
    plain = {"subject": "Ada", "prompt": "Ada lived in", "target_new": "Rome", "cond": "x"}
    (bad,) = read_records(_file(tmp_path, plain))
    assert isinstance(bad, BadRecord)
    assert "unknown field 'cond'" in bad.reason
    (record,) = _good(tmp_path, plain, shape="knowedit")
    assert record.request == EditRequest("Ada", "{} lived in", "Rome")
    (bad,) = read_records(_file(tmp_path, plain), shape="nonsense")
    assert isinstance(bad, BadRecord)
    assert "there are mquake" in bad.reason


# --- random locality ----------------------------------------------------------------------------


def test_the_pool_of_random_probes_comes_from_records_or_from_pairs(tmp_path: Path) -> None:
    pairs = [{"loc": f"question {n}", "loc_ans": f"answer {n}"} for n in range(20)]
    source = _file(tmp_path, MEND, FLAT, PARALLEL, *pairs, pairs[0], {"loc": "no answer"}, ROME)
    pool = locality_pool(source)
    assert len(pool) == 24
    assert pool[0] == Probe(MEND["loc"], "The String")
    some = drawn(pool, 5, seed=0)
    assert len(some) == 5
    assert set(some) == set(drawn(pool[::-1], 5, seed=0))
    assert some != drawn(pool, 5, seed=1)
    with pytest.raises(InvalidInput, match="take 1 to 24"):
        drawn(pool, 25, seed=0)
    with pytest.raises(InvalidInput, match="no locality pair"):
        locality_pool(_file(tmp_path, ROME))


# --- the published files ------------------------------------------------------------------------


GOOD = {
    "counterfact_rome.json": ("counterfact", 2020, 2020),
    "counterfact_easyedit.json": ("counterfact-flat", 17537, 17537),
    "counterfact_portability_gpt4.json": ("counterfact", 826, 826),
    "counterfact_distracting_neighbor.json": ("counterfact", 645, 645),
    "zsre_mend_eval_portability_gpt4.json": ("zsre", 864, 864),
    "zsre_inverse_relation.json": ("zsre", 304, 306),
    "zsre_subject_replace.json": ("zsre", 237, 242),
    "knowedit_zsre_test_all_1301.json": ("knowedit", 1069, 1069),
    "knowedit_wiki_counterfact_test.json": ("knowedit", 686, 686),
    "knowedit_wiki_recent_train.json": ("knowedit", 440, 440),
    "mquake_hard.json": ("mquake", 344, 344),
    "zh_bmike53_zsre_test.json": ("bmike53", 1213, 2 * 614),
    "zh_bmike53_counterfact_test.json": ("bmike53", 1628, 2 * 826),
    "zh_cknowedit_ccks2024.json": ("cknowedit", 354, 564),
    "known_1000.json": ("known", 952, 952),
    "lre_relations_factual.json": ("lre", 7756, 7756),
}


@pytest.mark.data
@pytest.mark.parametrize("name", GOOD)
def test_the_published_files_are_read(name: str) -> None:
    """All records but those whose subject is absent, or whose texts no request can hold."""
    if not (DATA / name).is_file():
        pytest.skip(f"the benchmark file {name} is not beside the checkout")
    shape, good, total = GOOD[name]
    found = list(read_records(DATA / name))
    records = [record for record in found if isinstance(record, Record)]
    assert {record.shape for record in records} == {shape}
    assert len(records) == good
    assert len(found) == total
    assert len({record.id for record in records}) == good


@pytest.mark.data
def test_the_thesis_pool_of_random_probes(tmp_path: Path) -> None:
    source = DATA / "zsre_mend_eval_portability_gpt4.json"
    if not source.is_file():
        pytest.skip(f"the benchmark file {source.name} is not beside the checkout")
    pool = locality_pool(source)
    assert len(pool) > 500
    assert len(set(drawn(pool, 100, seed=0))) == 100


def test_the_validity_of_a_fact_is_read_from_our_own_records(tmp_path):
    record = {"subject": "Ada", "prompt": "{} lives in", "target_new": "Rome"}
    told = {"valid_from": "2026-01-01", "valid_until": "2026-12-31", "source": "a letter"}
    path = tmp_path / "facts.jsonl"
    path.write_text(json.dumps(record | told) + "\n", "utf-8")
    (request,) = read_requests(path)
    assert {name: getattr(request, name) for name in told} == told
