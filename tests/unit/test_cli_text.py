"""Text is only text: nothing a fact, a note or an answer holds acts on the terminal."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.documents import document
from cli.layout import Table, many, numbers, pairs, short, size, value_text
from cli.text import Span, cut, escape, escape_json, pad, width
from ledger.views import Answer, DiffView, GcView
from tests.unit.test_cli_fake import EDIT, LOG, STATUS, Runner, outcome

pytestmark = pytest.mark.promise("P19")

PAYLOADS = [
    "\x1b[2J\x1b[H",
    "\x1b]0;title\x07",
    "\x9b31m",
    "\x9d8;;http://x\x9c",
    "a\rb",
    "a\bb",
    "a\tb",
    "a\nkel: forged",
    "a\u2028b\u2029c",
    "\u202egnp.exe",
    "\u2066x\u2069",
    "zero\u200bwidth\ufeff",
    "\x7f\x00\x0c\x0b",
    "\U000e0041tag",
    "\ud800",
]
FORBIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


@pytest.fixture
def kel(monkeypatch, capsys) -> Runner:
    return Runner(monkeypatch, capsys)


def acts_on_a_terminal(text: str) -> list[str]:
    joiners = "\n\u200c\u200d"
    return [c for c in text if unicodedata.category(c) in FORBIDDEN and c not in joiners]


@given(st.text(st.characters()))
def test_escaped_text_is_one_harmless_line(text):
    shown = escape(text)
    assert acts_on_a_terminal(shown) == []
    assert "\n" not in shown


@given(st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp"))))
def test_harmless_text_is_shown_as_it_is(text):
    assert escape(text) == text


@given(st.dictionaries(st.text(st.characters()), st.text(st.characters()), max_size=3))
def test_json_is_harmless_and_means_the_same(content):
    content.pop("schema", None)
    shown = document("x", content)
    assert acts_on_a_terminal(shown) == []
    assert json.loads(shown) == {"schema": "kel.x/1", **content}


@given(st.text(), st.integers(0, 30))
def test_padded_and_cut_text_has_the_width_that_was_asked_for(text, columns):
    shown = cut(escape(text), columns)
    assert width(shown) <= max(columns, 1)
    assert width(pad(shown, 40)) == 40


@pytest.mark.parametrize("payload", PAYLOADS, ids=ascii)
@pytest.mark.parametrize("form", [(), ("--json",)], ids=["lines", "json"])
def test_a_payload_in_any_field_of_any_command_stays_text(kel, payload, form):
    kel.ledger.returns = {
        "status": type(STATUS)(**{**vars(STATUS), "ledger": payload, "tags": {payload: 1}}),
        "log": [
            type(LOG)(
                **{**vars(LOG), "facts": (payload,), "note": payload, "author": payload, "op": "x"}
            )
        ],
        "show": type(EDIT)(
            **{
                **vars(EDIT),
                "fact": dict.fromkeys(EDIT.fact, payload),
                "note": payload,
                "details": {payload: [payload]},
                "hparams": {payload: payload},
                "probes": {payload: [payload, {"prompt": payload, "answer": payload}]},
            }
        ),
        "diff": DiffView(1, 2, (1,), (), {1: payload}, {payload: {"old": None, "new": "x"}}),
        "tags": {payload: 1},
        "ask": Answer(1, payload, payload),
        "gc": GcView((), (payload,), 1, True),
    }
    commands = [("status",), ("log",), ("log", "--oneline"), ("show", "1"), ("diff", "1", "2")]
    commands += [("tag",), ("ask", "p"), ("ask", "p", "--compare"), ("gc",)]
    for command in commands:
        result = kel(*command, *form)
        assert result.status == 0
        assert acts_on_a_terminal(result.out + result.err) == [], command
        assert "\nkel: forged" not in result.out or command[0] in ("ask", "log")


@pytest.mark.parametrize("payload", PAYLOADS, ids=ascii)
def test_a_payload_in_the_arguments_stays_text(kel, payload):
    for command in (("show", payload), (payload,), ("status", f"--{payload}"), ("tag", payload)):
        result = kel(*command)
        assert acts_on_a_terminal(result.out + result.err) == []
        assert result.err.count("\n") <= 1


def test_a_payload_in_an_outcome_stays_text(kel, tmp_path):
    path = tmp_path / "facts.jsonl"
    path.write_text('{"subject": "A", "prompt": "{} is", "target_new": "B"}')
    payload = "\x1b[31mB"

    def hostile(request):
        made = outcome(request, "rejected")
        return type(made)(**{**vars(made), "before": payload, "reasons": (payload,)})

    from editors.requests import EditRequest

    request = EditRequest("A", "{} is", "B")
    kel.ledger.returns = {"edit": hostile(request), "edit_many": hostile(request)}
    one = ("edit", "--subject", "A", "--prompt", "{} is", "--target", "B")
    for command in (one, ("edit", "--from", path)):
        result = kel(*command)
        assert acts_on_a_terminal(result.out) == []
        assert "\\x1b[31mB" in result.out


def test_columns_are_aligned_for_wide_and_combining_characters():
    rows = [("北京", "x"), ("Beijing", "y"), ("e\u0301", "z")]
    lines = ["".join(_text(part) for part in line) for line in Table((), rows).lines(None)]
    assert [width(line[: line.index(mark)]) for line, mark in zip(lines, "xyz", strict=True)] == [
        9,
        9,
        9,
    ]


def test_wide_characters_take_two_columns_and_combining_ones_none():
    assert [width(text) for text in ("北京", "ａ", "e\u0301", "a\u20dd", "\u200d")] == [
        4,
        2,
        1,
        1,
        0,
    ]
    assert cut("北京大学", 5) == "北京…"


def test_a_table_that_is_too_wide_shortens_its_widest_column_only():
    table = Table(("edit", "fact", "answer"), [("1", "f" * 90, "Paris")], right=(0,))
    lines = ["".join(_text(part) for part in line) for line in table.lines(50)]
    assert max(width(line) for line in lines) == 50
    assert "f…" in lines[1]
    assert lines[1].endswith("Paris")
    assert lines[1].startswith("   1")
    assert any("f" * 90 in _text(part) for part in table.lines(None)[1])


def test_two_wide_columns_share_what_is_left():
    lines = Table((), [("a" * 90, "b" * 80)]).lines(60)
    assert width("".join(_text(part) for part in lines[0])) == 60


def test_small_forms():
    assert numbers((1, 2, 3, 7)) == "1-3, 7"
    assert numbers(()) == "-"
    assert many((1, 2, 3, 7)) == "1-3, 7"
    assert many(()) == "-"
    assert many(range(1, 4000, 2)) == "2,000: 1, 3, 5 and 1,997 more (kel log)"
    assert many([*range(1, 90_000), *range(100_000, 100_050, 2)]) == (
        "90,024: 1-89999, 100000, 100002 and 23 more (kel log)"
    )
    assert [size(n) for n in (0, 999, 1000, 18_400_000, 10**15)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "18.4 MB",
        "1000.0 TB",
    ]
    assert short(None) == ""
    assert value_text({"a": (1, "北")}) == '{"a": [1, "北"]}'
    assert value_text([0.123456, 2]) == "0.1235, 2"
    assert value_text([1e-6 * i for i in range(20)]) == "0 … 1.9e-05 (20 values)"
    assert pairs([("a", ""), ("b", "x")]).rows == [(Span("b", "dim"), "x")]


def test_characters_beyond_the_first_plane_are_escaped_as_a_pair():
    assert escape_json('"\U000e0041"') == '"\\udb40\\udc41"'
    assert json.loads(escape_json('"\U000e0041"')) == "\U000e0041"


def _text(part: object) -> str:
    return part.text if isinstance(part, Span) else str(part)
