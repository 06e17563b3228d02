"""Files of requests that cannot be used: exit 2, the file and the line named, nothing edited."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import FACT, QUICK, Kel, write_lines

GOOD = {"subject": "Alan Turing", "prompt": "{} lived in", "target_new": "Paris"}
REWRITE = {
    "subject": "Alan Turing",
    "prompt": "{} lived in",
    "target_new": {"str": "Paris"},
    "target_true": {"str": "London"},
}
KNOWEDIT = {**GOOD, "prompt": "Alan Turing lived in", "ground_truth": ["London"]}
ZSRE = {"subject": "Alan Turing", "src": "Where did Alan Turing live?", "alt": "Paris"}


def of(**changes: Any) -> dict[str, Any]:
    return GOOD | changes


LINES = {
    "broken": ('{"subject": "Ada",', "not JSON"),
    "half a text": ('{"subject": "Ad', "not JSON"),
    "two records": ("{} {}", "not JSON"),
    "a list": ([GOOD], "a record is a JSON object, not list"),
    "a text": ('"Ada"', "a record is a JSON object, not str"),
    "null": ("null", "a record is a JSON object, not NoneType"),
    "empty record": ({}, "give at least subject, prompt and target_new"),
    "unknown shape": ({"question": "who?", "answer": "Ada"}, "no known shape has the keys"),
    "no subject": ({"prompt": "a is", "target_new": "b"}, "field 'subject' is missing"),
    "no target": ({"subject": "a", "prompt": "a is"}, "field 'target_new' is missing"),
    "another field": (of(target="Rome"), "unknown field 'target'"),
    "slot in subject": (of(subject="Alan {}"), "slot"),
    "two slots": (of(prompt="{} and {}"), "2 slots"),
    "slot in paraphrase": (of(paraphrases=["{} stayed in"]), "write it out"),
    "slot in probe": (of(neighbourhood=[{"prompt": "{} stayed in"}]), "write it out"),
    "subject elsewhere": (of(prompt="He lived in"), "not in the prompt"),
    "number": (of(target_new=5), "target_new must be a text, not int"),
    "nothing": (of(target_new=None), "target_new must be a text, not NoneType"),
    "list": (of(subject=["Ada"]), "subject must be a text, not list"),
    "text for a list": (of(paraphrases="He had a home in"), "paraphrases must be a sequence"),
    "numbers in a list": (of(paraphrases=[1]), "paraphrase must be a text, not int"),
    "probe of texts": (of(neighbourhood=["Bob lived in"]), "must hold probes, not str"),
    "probe without prompt": (of(portability=[{"answer": "x"}]), "field 'prompt' is missing"),
    "probe with more": (of(same_subject=[{"prompt": "x", "to": 1}]), "unknown field 'to'"),
    "NUL": (of(subject="A\0"), "control character U+0000"),
    "surrogate": ('{"subject": "A\\ud800", "prompt": "{}", "target_new": "x"}', "lone surrogate"),
    "huge": (of(prompt="{}" + "x" * 1_000_000), "prompt has 1000002 characters"),
    "deep": ("[" * 100_000, "not JSON"),
    "huge number": (f'{{"subject": {"9" * 5000}}}', "not JSON"),
    "NaN": ('{"subject": NaN, "prompt": "{}", "target_new": "x"}', "must be a text, not float"),
    "rewrites": ({"requested_rewrite": [REWRITE]}, "split them into records"),
    "rewrite without target": ({"requested_rewrite": {"subject": "a"}}, "misses the field"),
    "rewrite of texts": ({"requested_rewrite": REWRITE | {"target_true": "x"}}, "another kind"),
    "zsre without target": ({"src": "Who?", "subject": "a"}, "misses the field 'alt'"),
    "zsre of a list": (ZSRE | {"portability": ["x"]}, "another kind"),
    "knowedit of a list": (KNOWEDIT | {"locality": ["x"]}, "another kind"),
    "knowedit of nothing": (KNOWEDIT | {"locality": {"A": None}}, "another kind"),
    "knowedit of texts": (KNOWEDIT | {"portability": {"A": ["x"]}}, "another kind"),
}  # fmt: skip


@pytest.mark.parametrize("case", LINES)
def test_a_bad_line_is_named_before_any_other_is_edited(kel: Kel, tmp_path: Path, case: str):
    record, says = LINES[case]
    source = write_lines(tmp_path / "facts.jsonl", [GOOD, "", record, GOOD])
    line = kel.refused(2, "edit", "--from", str(source), *QUICK)
    assert line.startswith(f"kel: {source}, line 3: ")
    assert says in line
    assert len(line) < 5000


@pytest.mark.parametrize(
    ("data", "place", "says"),
    [
        (b'{"subject": "Andr\xe9"}\n', "line 1", "not UTF-8"),
        (json.dumps(GOOD).encode() + b"\n\xff\n", "line 2", "not UTF-8"),
        (json.dumps(GOOD).encode("utf-16"), "line 1", "not UTF-8"),
        (b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), "line 1", "not JSON"),
        (b"\x00\x01\x02\x03", "line 1", "not JSON"),
    ],
    ids=["latin-1", "second line", "utf-16", "byte order mark", "binary"],
)
def test_a_file_that_is_not_utf_8_is_2(kel: Kel, tmp_path: Path, data, place, says):
    source = tmp_path / "facts.jsonl"
    source.write_bytes(data)
    kel.refused(2, "edit", "--from", str(source), says=[f"{source}, {place}: {says}"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{}", "holds a list of records"),
        ("[1]", "record 0: a record is a JSON object, not int"),
        (json.dumps([GOOD, {}]), "record 1: no known shape"),
        ("[", "not UTF-8 JSON"),
        ("[" * 100_000, "not UTF-8 JSON"),
        (f"[{'9' * 5000}]", "not UTF-8 JSON"),
    ],
    ids=["object", "number", "second record", "broken", "deep", "huge number"],
)
def test_a_list_of_records_that_is_broken_is_2(kel: Kel, tmp_path: Path, text: str, says: str):
    source = tmp_path / "facts.json"
    source.write_text(text)
    kel.refused(2, "edit", "--from", str(source), says=[str(source), says])


def test_what_is_no_file_is_2(kel: Kel, tmp_path: Path):
    kel.refused(2, "edit", "--from", str(tmp_path), says=["--from", "is a directory"])
    kel.refused(2, "edit", "--from", str(tmp_path / "none"), says=["--from", "does not exist"])
    source = write_lines(tmp_path / "facts.jsonl", [GOOD])
    kel.refused(2, "edit", "--from", str(source), *FACT, says=["--from", "--subject"])


def test_a_file_without_requests_is_nothing_to_do(kel: Kel, tmp_path: Path):
    source = write_lines(tmp_path / "facts.jsonl", ["", "  "])
    assert kel.json("edit", "--from", str(source))["outcomes"] == []


def test_braces_are_only_text(kel: Kel, tmp_path: Path):
    """Nothing is filled into a target, and nothing is looked up in a prompt."""
    fact = of(prompt="{} {0.__class__} {x!r} %s is", target_new="{0.__class__.__mro__} {}")
    source = write_lines(tmp_path / "facts.jsonl", [fact])
    (outcome,) = kel.json("edit", "--from", str(source), "--no-gate", *QUICK)["outcomes"]
    recorded = kel.json("show", str(outcome["edit"]))["fact"]
    assert (recorded["prompt"], recorded["target_new"]) == (fact["prompt"], fact["target_new"])
    assert "Alan Turing {0.__class__} {x!r} %s is -> {0.__cl" in kel("log", "--oneline").out


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no probes"),
        ("Ada is\nAda is\n", "asks the same prompt twice"),
        ("Ada is\n\n{\n", "line 3: not JSON"),
        ('{"answer": "x"}', "line 1: misses the field 'prompt'"),
        ('{"prompt": 5}', "line 1: probe prompt must be a text, not int"),
        ('{"prompt": ["x"]}', "line 1: probe prompt must be a text, not list"),
        ('{"a":' * 100_000, "line 1: not JSON"),
        ("a\0b", "line 1: probe prompt has a control character"),
    ],
)
def test_probes_that_cannot_be_asked_are_2(bare: Kel, tiny_base, tmp_path, text: str, says: str):
    source = tmp_path / "probes.txt"
    source.write_text(text)
    argv = ("init", str(tmp_path / "new"), "--base", str(tiny_base), "--probes", str(source))
    bare.refused(2, *argv, says=[str(source), says])
    assert not (tmp_path / "new").exists()
