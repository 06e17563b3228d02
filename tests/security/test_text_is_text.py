"""P19: a text is only text, in the model card and on the terminal."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import yaml

from editors.requests import EditRequest
from ledger import Ledger
from ledger.cards import model_card
from tests.e2e.harness import QUICK, SETTINGS, Kel

pytestmark = pytest.mark.promise("P19")

MARKUP = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<!-- ", "</td></tr></table>",
    "&lt;b&gt; &#60;i&#62;", "[x](javascript:alert(1))", "![x](http://evil.example/x.png)",
    "**b** _i_ ~~s~~ `c`", "``` x", "| a | b |", "a | --- | b", "# title", "- item", "1. item",
    "---", "...", "> quote", "\\", "\\|", "\\\\| a", "$x$", "<http://evil.example>",
    "https://evil.example/x", "[^1]", "[a]: http://evil.example", "{{7*7}} {% x %}", "%s %(x)s",
    "key: value", "'quoted' \"twice\"", "!!python/object:os.system", "*anchor &anchor", "\u2028x",
    "=cmd|'/c calc'!A1", "@SUM(1)", "+1", "\u202eevil", "a\u200bb", "\ufeffx", "\u2066x\u2069",
]  # fmt: skip
ESCAPED = re.compile(r"\\[!-/:-@\[-`{-~]")
FREE = re.compile(r"[`*_{}\[\]<>#|~$&\\]|://")


def manifest(subject: str = "Ada", target: str = "Paris", base: str = "owner/name") -> Any:
    fact = {
        "edit": 1,
        "hash": "0" * 64,
        "subject": subject,
        "prompt": "{} lived in",
        "target_new": target,
        "target_true": None,
        "method": "rome",
        "layers": [3],
        "metrics": {"reliability": 1.0},
    }
    return {
        "schema": "kel.release/1",
        "version": 1,
        "entry": {"seq": 2, "hash": "1" * 64},
        "base": {
            "id": base,
            "revision": "2" * 40,
            "dtype": "float32",
            "digest": "3" * 64,
            "model_type": "llama",
        },
        "weights_digest": "4" * 64,
        "tensors": {},
        "facts": [fact],
        "form": "merged",
        "private": False,
        "merkle_root": "5" * 64,
        "methods": [{"method": "rome", "hparams": {"v_lr": 0.5}, "edits": [1]}],
        "measured": {"protocols": ["kel.eval/1 x"], "test": None},
    }


@pytest.mark.parametrize("text", MARKUP, ids=ascii)
def test_a_fact_has_no_effect_on_the_card(text: str):
    """The same lines as for a harmless fact; what Markdown or HTML would read is escaped."""
    harmless, card = (model_card(manifest(*t)) for t in (("x", "y"), (f"x{text}", f"{text}y")))
    assert front_matter(card) == front_matter(harmless)
    old, new = harmless.splitlines(), card.splitlines()
    assert len(old) == len(new)
    changed = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
    ((_, row),) = changed
    cells = re.split(r"(?<!\\)(?:\\\\)*\|", row)
    assert len(cells) == len(changed[0][0].split("|"))
    assert not FREE.search(ESCAPED.sub("", "".join(cells)))
    assert hidden(card) == ""


@pytest.mark.parametrize("text", [*MARKUP, "x\n---\nkey: value", "\x1b[2J", 'x", "y'], ids=ascii)
def test_the_name_of_a_base_has_no_effect_on_the_card(text: str):
    harmless, card = model_card(manifest()), model_card(manifest(base=f"a{text}"))
    assert list(front_matter(card)) == list(front_matter(harmless))
    assert front_matter(card)["base_model"] == f"a{text}"
    assert len(card.split("\n")) == len(harmless.split("\n"))
    body = card.split("\n---\n", 1)[1]
    title = next(line for line in body.splitlines() if line.startswith("# "))
    assert not FREE.search(ESCAPED.sub("", title[2:]))
    (line,) = [line for line in body.splitlines() if line.startswith("- base: ")]
    assert line.count("`") == 6
    assert hidden(body) == ""


def front_matter(card: str) -> dict[str, Any]:
    """The card's head, as a YAML reader sees it."""
    _, head, _ = card.split("---\n", 2)
    found: dict[str, Any] = yaml.safe_load(head)
    return found


def hidden(text: str) -> str:
    """Characters that a reader does not see, or that act on a terminal; newline is none."""
    return "".join(
        char
        for char in text
        if char != "\n" and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    )


# --- on the terminal ------------------------------------------------------------------------------

ODD = "A\u202ed\u200ba\u2028\u2066 {0.__class__} <b>"
NOTE = "\x1b[2J\x9b31m\x07\r\n\t\u202e note"
COMMANDS = (
    ("log",), ("log", "--oneline"), ("show", "5"), ("show", "3"), ("status",),
    ("diff", "v0", "HEAD"), ("tag",), ("test",), ("ask", ODD, "--compare"), ("replay",),
    ("verify",), ("gc", "--dry-run"),
    ("ask", "Ada Lovelace was born in"), ("revert", ODD), ("show", "\x1b[2J"), ("ask", "\x1b[2J"),
    ("tag", "\x1b]0;x\x07"), ("edit", "--from", "\x1b[2J.jsonl"), ("\x1b[2J",), ("--\x1b[2J",),
    ("export", "\x1b[2J/x"), ("edit", "--set", "\x1b[2J"), ("replay", "--to", "\u202e"),
    ("edit", "--subject", "\x1b[2J", "--prompt", "{} is", "--target", "x"),
)  # fmt: skip


@pytest.fixture
def odd(ledger: Path, kel: Kel) -> Kel:
    """The small ledger with an edit, a note and an author that try to move the cursor."""
    with Ledger.open(ledger, author="\x1b[31mada\u202e") as opened:
        opened.edit(EditRequest(ODD, "{} lived in", f"x{ODD}"), gate=None, note=NOTE, **SETTINGS)
        opened.tag("odd", note=NOTE)
    return kel


@pytest.mark.parametrize("form", ["text", "json", "debug"])
def test_no_text_acts_on_the_terminal(odd: Kel, form: str, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = ""
    for argv in COMMANDS:
        result = odd(*argv, *{"text": (), "json": ("--json",), "debug": ("--debug",)}[form])
        assert hidden(result.out + result.err) == "", argv
        shown += result.out + result.err
        if form == "json":
            assert json.loads(result.out)["schema"]
    assert ("\\x1b" if form != "json" else "\\u001b") in shown
    assert "\\u202e" in shown
    assert "{0.__class__} <b>" in shown


def test_a_file_of_odd_facts_is_told_without_effect(kel: Kel, tmp_path: Path):
    source = tmp_path / "facts.jsonl"
    fact = {"subject": ODD, "prompt": "{} lived in", "target_new": ODD}
    source.write_text(json.dumps(fact) + "\n")
    result = kel("edit", "--from", str(source), "--no-gate", *QUICK)
    assert result.status == 0
    assert hidden(result.out + result.err) == ""
    assert kel.json("show", "5")["fact"]["subject"] == ODD  # recorded as it was given
