"""Files of records are read with bounded memory; what is wrong with one is told by its place."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.errors import InvalidInput
from ledger.evaluation.datasets import BadRecord, Record, located, read_records
from ledger.evaluation.datasets import files as module
from ledger.evaluation.datasets.check import EXAMPLES, check
from ledger.evaluation.datasets.files import items

GOOD = {"subject": "Ada Lovelace", "prompt": "{} lived in", "target_new": "Paris"}
KNOWEDIT = {
    "subject": "Ada",
    "prompt": "Ada lived in",
    "target_new": "Rome",
    "ground_truth": ["Oslo"],
}
HUNDRED = 100 << 20


def bad(tmp_path: Path, record: object) -> BadRecord:
    """The only record of a file, which must be bad."""
    (found,) = read_records(written(tmp_path, record))
    assert isinstance(found, BadRecord)
    return found


def good(tmp_path: Path, record: object) -> Record:
    """The only record of a file, which must be good."""
    (found,) = read_records(written(tmp_path, record), strict=True)
    assert isinstance(found, Record)
    return found


def written(tmp_path: Path, *records: object) -> Path:
    path = tmp_path / "facts.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records), "utf-8")
    return path


# --- one record ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "code", "says"),
    [
        ([[GOOD]], "shape", "not list"),
        ([], "shape", "not list"),
        ({"prompt": "a is", "target_new": "b"}, "invalid", "'subject' is missing"),
        (KNOWEDIT | {"subject": ["Ada"]}, "invalid", "subject must be a text, not list"),
        (KNOWEDIT | {"locality": {"A": [["x"]]}}, "field", "another kind"),
        (KNOWEDIT | {"locality": {"A": [{"ground_truth": "x"}]}}, "field", "'prompt'"),
        (KNOWEDIT | {"ground_truth": {"a": 1}}, "field", "not an object"),
        (KNOWEDIT | {"target_new": ""}, "invalid", "target_new is empty"),
        (KNOWEDIT | {"target_new": "  \u3000"}, "invalid", "target_new is empty"),
        (KNOWEDIT | {"subject": "Bob"}, "subject_missing", "is not in the prompt"),
        (KNOWEDIT | {"prompt": "Ada, Ada lived in"}, "subject_repeated", "2 times"),
        (GOOD | {"target_true": "Paris"}, "no_op", "nothing to edit"),
        (GOOD | {"prompt": "{} and {} lived in"}, "subject_repeated", "2 slots"),
        (KNOWEDIT | {"rephrase_prompt": "{} had a house in"}, "invalid", "has a slot"),
        (GOOD | {"neighbourhood": [{"prompt": "{} is"}]}, "invalid", "has a slot"),
        (GOOD | {"locality_hint": 1}, "invalid", "unknown field 'locality_hint'"),
        (GOOD | {"target_new": "x" * 501}, "invalid", "501 characters"),
        (GOOD | {"target_new": "a\ud800"}, "invalid", "lone surrogate"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_record_that_cannot_be_used_says_why(
    tmp_path: Path, record: object, code: str, says: str
) -> None:
    found = bad(tmp_path, record)
    assert (found.code, found.place) == (code, "line 1")
    assert says in found.reason
    assert "\n" not in str(found)


def test_slots_of_probes_that_no_request_carries_are_refused_too(tmp_path: Path) -> None:
    chain = {
        "requested_rewrite": [
            {"subject": s, "prompt": "{} is in", "target_new": {"str": "Rome"},
             "target_true": {"str": "Oslo"}}
            for s in ("Ada", "Bob")
        ],
        "questions": ["Where is {}?"],
        "new_answer": "Rome",
    }  # fmt: skip
    assert "multi_hop prompt" in bad(tmp_path, chain).reason


@pytest.mark.parametrize("empty", ["", [], [[]], [["", " "]], None])
def test_empty_answers_are_no_answers(tmp_path: Path, empty: object) -> None:
    probes = {"Relation_Specificity": [{"prompt": "Ada wrote", "ground_truth": empty}]}
    record = good(tmp_path, KNOWEDIT | {"ground_truth": empty, "locality": probes})
    assert record.request.target_true is None
    assert record.of("same_subject") == ()
    assert record.notes == ("1 probes without an answer left out",)


def test_columns_that_nobody_knows_are_noted(tmp_path: Path) -> None:
    record = good(tmp_path, KNOWEDIT | {"easy": True, "portability": {}})
    assert record.notes == ("column 'easy' is not known",)


@pytest.mark.parametrize(
    ("subject", "prompt", "language"),
    [
        ("Ada", "Ada was born in", "en"),
        ("IAAF", "IAAF的创立时间是什么时候？", "zh"),
        ("东京", "東京タワー 东京 はどこ", "ja"),
        ("서울", "Where is 서울", "ko"),
        ("Анна", "Анна родилась в", "und"),
        ("Анна", "The woman whose name is Анна was born in", "en"),
        ("42", "42 + 1 =", "und"),
    ],
)
def test_scripts_may_be_mixed(tmp_path: Path, subject: str, prompt: str, language: str) -> None:
    record = good(tmp_path, {"subject": subject, "prompt": prompt, "target_new": "1"})
    assert record.language == language
    assert record.request.text == prompt


# --- files --------------------------------------------------------------------------------------


def peak_of(path: Path) -> tuple[list[Record | BadRecord], int]:
    """What is read, and how many bytes were held at most."""
    tracemalloc.start()
    try:
        return list(read_records(path)), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.promise("P20")
def test_a_line_of_100_mb_is_told_and_passed_over(
    tmp_path: Path, figure: Callable[..., None]
) -> None:
    path = tmp_path / "facts.jsonl"
    with path.open("wb") as file:
        file.write(json.dumps(GOOD).encode() + b'\n{"subject": "')
        file.truncate(HUNDRED)
        file.seek(HUNDRED)
        file.write(b"\n" + json.dumps(GOOD).encode())
    (first, long, last), peak = peak_of(path)
    assert isinstance(first, Record)
    assert isinstance(long, BadRecord)
    assert isinstance(last, Record)
    assert (long.code, str(long)) == (
        "too_long",
        f"{path}, line 2: the line is longer than 8 MiB, which no record is",
    )
    assert last.place == "line 3"
    assert peak < 32 << 20
    figure("P20", "a line of 100 MB passed over: {} MB held", peak / 1e6)
    with pytest.raises(InvalidInput, match="line 2: the line is longer"):
        list(read_records(path, strict=True))


@pytest.mark.promise("P20")
def test_an_array_with_a_record_of_100_mb_is_refused(
    tmp_path: Path, figure: Callable[..., None]
) -> None:
    path = tmp_path / "facts.json"
    with path.open("wb") as file:
        file.write(b'[{"subject": "')
        file.write(b"a" * HUNDRED)
        file.write(b'"}]')
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match="longer than 8 MiB"):
            list(read_records(path))
        peak = tracemalloc.get_traced_memory()[1]
        assert peak < 96 << 20
        figure("P20", "a record of 100 MB refused: {} MB held", peak / 1e6)
    finally:
        tracemalloc.stop()


def test_an_array_is_read_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = [
        GOOD,
        {"ü": ["\\", '"]', "北京"]},
        1234567,
        -1.5e10,
        "a, b",
        None,
        True,
        [],
        [[1]],
        {},
    ]
    path = tmp_path / "facts.json"
    for text in (json.dumps(values), json.dumps(values, indent=3, ensure_ascii=False) + "\n \n"):
        path.write_text(text, "utf-8")
        for block in (1, 2, 3, 7, 64, 1 << 20):
            monkeypatch.setattr(module, "_BLOCK", block)
            found = list(items(path))
            assert [item.value for item in found] == values
            assert [item.place for item in found] == [f"record {n}" for n in range(len(values))]
    path.write_text(" [ ] ", "utf-8")
    assert list(items(path)) == []


@pytest.mark.parametrize(
    "text",
    ["[1 2]", "[1,]", "[1", "[1,", "[", "[]x", "[1] [2]", '[{"a": 1}', "[nul]", "[01]", '["\\x"]'],
)
def test_an_array_that_is_broken_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "facts.json"
    path.write_text(text, "utf-8")
    with pytest.raises(InvalidInput, match="is not UTF-8 JSON"):
        list(items(path))


@pytest.mark.parametrize("name", ["facts.jsonl", "facts.json"])
@pytest.mark.parametrize("change", ["longer", "touched", "replaced", "truncated"])
def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, name: str, change: str
) -> None:
    path = tmp_path / name
    lines = [json.dumps(GOOD | {"target_new": f"City {n}"}) for n in range(9)]
    text = f"[{','.join(lines)}]" if name.endswith(".json") else "\n".join(lines)
    path.write_text(text, "utf-8")
    reading = read_records(path)
    next(reading)
    if change == "longer":
        with path.open("a", encoding="utf-8") as file:
            file.write("\n")
    elif change == "touched":
        os.utime(path, ns=(1, 1))
    elif change == "replaced":
        other = tmp_path / "other"
        other.write_text(text, "utf-8")
        other.replace(path)
    else:
        os.truncate(path, 200)
    with pytest.raises(InvalidInput, match="was changed while it was read"):
        list(reading)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot read"):
        list(read_records(tmp_path / "none.jsonl"))
    with pytest.raises(InvalidInput, match="cannot read"):
        list(read_records(tmp_path))
    for name in ("hub:", "hub:a", "hub:a/b", "hub:a/b/", "hub:/a/b", "hub:a//b"):
        with pytest.raises(InvalidInput, match="write hub:owner/name/path"):
            located(name)
    for name in ("hub:../b/c", "hub:a/b/../c", "hub:a/b/c@..", "hub:a/b/c@-x", "hub:a/b/\nc"):
        with pytest.raises(InvalidInput):
            located(name)


# --- kel data check -----------------------------------------------------------------------------


def test_a_check_counts_what_a_file_holds(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        GOOD,
        GOOD | {"subject": "ada lovelace"},  # a duplicate: names differ in case only
        GOOD | {"target_new": "Rome"},  # a conflict with the first
        GOOD | {"target_true": "Paris"},  # a no-op that is refused
        KNOWEDIT | {"ground_truth": "Rome"},  # a no-op that is not
        KNOWEDIT | {"subject": "Bob"},
        KNOWEDIT | {"rephrase_prompt": "Ada stayed in", "extra": 1, "target_new": "Bern"},
        "nonsense",
    )
    report = check(path)
    assert (report.records, report.requests, report.faulty) == (5, 5, 3)
    assert report.shapes == {"kel": 3, "knowedit": 2}
    assert report.bad == {"no_op": 1, "subject_missing": 1, "shape": 1}
    assert (report.duplicates, report.conflicts, report.no_ops) == (1, 2, 2)
    assert report.subjects_missing == 1
    assert report.probes == {"paraphrase": 1}
    assert report.notes == {
        "the target is the answer it replaces": 1,
        "column 'extra' is not known": 1,
    }
    assert [e.place for e in report.examples["duplicates"]] == ["line 2"]
    assert [e.place for e in report.examples["conflicts"]] == ["line 3", "line 7"]
    assert "'Rome'; line 1: 'Paris'" in report.examples["conflicts"][0].text
    with pytest.raises(InvalidInput, match=r"line 4: .*nothing to edit"):
        check(path, strict=True)


def test_relations_of_a_data_set_count_more_than_its_wordings(tmp_path: Path) -> None:
    def rewrite(prompt: str, target: str) -> dict[str, object]:
        fact = {"subject": "Ada", "prompt": prompt, "relation_id": "P103"}
        targets = {"target_new": {"str": target}, "target_true": {"str": "Dutch"}}
        return {"requested_rewrite": fact | targets}

    path = written(tmp_path, rewrite("{} speaks", "French"), rewrite("{} talks", "Greek"))
    report = check(path)
    assert (report.duplicates, report.conflicts) == (0, 1)


def test_only_the_first_faults_are_told_and_all_are_counted(tmp_path: Path) -> None:
    report = check(written(tmp_path, *[{}] * 25))
    assert (report.records, report.faulty) == (0, 25)
    assert len(report.examples["bad"]) == EXAMPLES
