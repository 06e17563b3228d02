"""What `kel facts` and `kel resolve` show, and how they exit."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from tests.unit.test_cli_fake import BATCH, KNOWN, RESOLVED, STATED, Runner


@pytest.fixture
def kel(monkeypatch, capsys) -> Runner:
    return Runner(monkeypatch, capsys)


def test_facts_are_listed_as_lines_as_csv_and_as_json(kel):
    out = kel("facts", "--at", "v3", "--search", "born").out
    for text in ("Ada Lovelace was born in", "Paris", "2026-01-02 03:04:05", "in place of 1"):
        assert text in out
    assert kel.ledger.calls["facts"] == [(("v3", "born"), {"only": None, "on": None})]
    assert "valid" not in out
    assert kel("facts", "--json").json["facts"][0]["supersedes"] == [1]
    kel.ledger.returns["facts"] = [replace(STATED, note='a, "b"\x1b[0m', reliability=None)]
    row, known = csv.DictReader(io.StringIO(kel("facts", "--csv").out))
    assert (known["edit"], known["method"], known["object"]) == ("", "", KNOWN.object)
    assert (row["edit"], row["object"], row["reliability"]) == ("3", "Paris", "")
    assert row["note"].startswith('a, "b"')
    assert "\x1b" not in row["note"]
    assert kel("facts", "--csv", "--json").status == 2
    kel.ledger.returns |= {"facts": [], "known_facts": []}
    assert kel("facts").out == "no facts\n"


def test_expired_and_current_facts_are_asked_for_by_a_day(kel):
    kel.ledger.returns["facts"] = [replace(STATED, valid_until="2026-01-31", source="the\tpress")]
    out = kel("facts", "--expired", "--on", "2026-02-01").out
    assert "until 2026-01-31" in out
    assert "the\\tpress" in out
    kel("facts", "--current")
    given = [options for _, options in kel.ledger.calls["facts"]]
    assert given == [{"only": "expired", "on": "2026-02-01"}, {"only": "current", "on": None}]
    assert kel("facts", "--expired", "--current").status == 2
    assert kel("facts", "--on", "2026-02-01").status == 2
    kel.ledger.returns["status"] = replace(kel.ledger.status(), expired=(3, 4))
    assert "3-4 (kel facts --expired lists them)" in kel("status").out


def test_a_resolve_tells_its_batches_and_exits_by_the_gate(kel):
    done = kel("resolve", "-m", "why")
    assert done.status == 0
    for text in ("applied", "v4", "in place of 1-3", "to take it back", "reliability 1.000"):
        assert text in done.out
    ((_, given),) = kel.ledger.calls["resolve_active"]
    assert (given["note"], given["dry_run"], given["ridge"]) == ("why", False, 0.0)
    kel.ledger.returns["undo"] = replace(RESOLVED, op="swap", edits=(1, 2, 3, 4, 5), back=(1, 2, 3))
    assert "reverted 4-5 and reapplied 1-3, now" in kel("undo").out
    refused = replace(BATCH, outcome="rejected", reasons=("reliability 0.5 is below 0.9",))
    kel.ledger.returns["resolve_active"] = [replace(RESOLVED, edits=(), resolved=refused)]
    done = kel("resolve", "--no-gate", "--dry-run", "--ridge", "0.5")
    assert done.status == 3
    assert "below 0.9" in done.out
    given = kel.ledger.calls["resolve_active"][-1][1]
    assert (given["gate"], given["dry_run"], given["ridge"]) == (None, True, 0.5)
