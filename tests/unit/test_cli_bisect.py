"""What `kel bisect` shows."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.test_cli_fake import BROKEN, FACT, Runner


def test_the_break_and_what_was_tried_are_shown(monkeypatch, capsys):
    kel = Runner(monkeypatch, capsys)
    done = kel("bisect", "--probe", "Ada was", "--good", "v1", "--bad", "HEAD", "--expect", "x")
    assert done.status == 0
    for text in ("v2 is the first bad version: apply of 3", FACT, "good", "London", "Paris"):
        assert text in done.out
    given = {"good": "v1", "bad": "HEAD", "expect": "x", "run": None}
    assert kel.ledger.calls["bisect"] == [(("Ada was",), given)]
    odd = replace(BROKEN, op=None, monotone=False, odd=(5, 7), last_good=0)
    kel.ledger.returns["bisect"] = odd
    out = kel("bisect", "--run", "true", "--good", "v1", "--bad", "v2").out
    assert "some of 3" in out
    assert "v5, v7 are on the wrong side" in out
    assert "after v0 and before it was skipped" in out
    assert kel("bisect", "--good", "v1", "--bad", "v2").status == 2
    assert kel("bisect", "--good", "v1", "--bad", "v2", "--run", "a", "--probe", "b").status == 2
