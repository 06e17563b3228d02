"""What `kel rebase` shows, what it hands on, and how it exits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ledger.errors import NoLedger
from ledger.evaluation.gates import Gate
from ledger.rebasing.views import RebaseOptions
from tests.unit.test_cli_fake import REBASED, Runner

KEYS = "schema directory source options base version facts rows counts conflicts notes done dry_run"
DONE = replace(REBASED, counts={**REBASED.counts, "failed": 0}, rows=REBASED.rows[:2], facts=2)


@pytest.fixture
def kel(monkeypatch, capsys) -> Runner:
    return Runner(monkeypatch, capsys)


def test_every_fact_is_told_once_and_what_is_missing_ends_with_one(kel):
    done = kel("rebase", "--onto", "/models/new")
    assert (done.status, done.err) == (1, "")
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["known", "kept", "failed"]
    assert "1 -> -     Ada is -> old  reliability 1.000" in lines[0]
    assert "4 -> -     Ada is -> old  too\\x1b weak" in lines[2]
    for text in (
        "2 of 3 facts are in the new model",
        "version 3 of 0123456789ab on demo",
        "1 known, 1 kept, 1 failed",
        "a layer moved",
        "edit 2: the base says",
    ):
        assert done.out.count(text) == 1
    ((args, given),) = kel.ledger.calls["rebase"]
    assert args == ("/models/new", Path("/new"), "HEAD")
    assert given == {"revision": None, "device": None, "dtype": None, "options": RebaseOptions(),
                     "dry_run": False}  # fmt: skip


def test_all_survived_exits_with_zero_and_lost_ones_are_named(kel):
    kel.ledger.returns["rebase"] = DONE
    assert kel("rebase", "--onto", "x").status == 0
    lost = replace(DONE.rows[1], holds=False)
    counts = {**DONE.counts, "lost": 1}
    kel.ledger.returns["rebase"] = replace(DONE, rows=(DONE.rows[0], lost), counts=counts)
    done = kel("rebase", "--onto", "x")
    assert done.status == 1
    assert "LOST      edit 2: Ada is -> old" in done.out


def test_the_document_is_the_view_and_the_report_is_the_same(kel):
    for argv in (("--onto", "x"), ("--report",)):
        found = kel("rebase", *argv, "--json").json
        assert found["schema"] == "kel.rebase/1"
        assert list(found) == KEYS.split()
        assert found["rows"][1]["edit"] == 1
    told = kel("rebase", "--report")
    assert told.status == 1
    assert [line.split()[0] for line in told.out.splitlines()[:3]] == ["known", "kept", "failed"]
    kel.ledger.returns["rebase_report"] = replace(REBASED, done=False)
    assert "3 of 3 facts are settled" in kel("rebase", "--report").out


def test_a_dry_run_lists_and_exits_with_zero(kel):
    kel.ledger.returns["rebase"] = replace(REBASED, done=False, dry_run=True)
    done = kel("rebase", "--onto", "x", "--dry-run")
    assert done.status == 0
    assert "3 facts would be carried over; nothing was written" in done.out
    assert done.out.splitlines()[0].startswith("known")
    assert "ledger" not in done.out


def test_options_are_handed_on(kel, tmp_path):
    corpus = tmp_path / "texts"
    corpus.write_text("a text\n", "utf-8")
    kel("rebase", "--onto", "x", "--into", "y", "--from", "v2", "--revision", "r", "--method",
        "memit", "--batch", "5", "--layer", "static", "--set", "v_lr=0.1", "--keep-known",
        "--corpus", str(corpus), "--device", "cuda", "--dtype", "float32", "--max-broken",
        "3")  # fmt: skip
    ((args, given),) = kel.ledger.calls["rebase"]
    assert args == ("x", Path("y"), "v2")
    assert (given["revision"], given["device"], given["dtype"]) == ("r", "cuda", "float32")
    assert given["options"] == RebaseOptions(
        method="memit", batch=5, layer="static", overrides={"v_lr": 0.1},
        gate=Gate(max_broken=3), keep_known=True, corpus=corpus,
    )  # fmt: skip
    kel("rebase", "--onto", "x", "--no-gate")
    assert kel.ledger.calls["rebase"][1][1]["options"].gate is None


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ((), "either --onto"),
        (("--onto", "x", "--report"), "either --onto"),
        (("--onto", "x", "--batch", "2"), "--batch goes with --method"),
        (("--onto", "x", "--no-gate", "--max-broken", "1"), "exclude each other"),
        (("--onto", "x", "--set", "v_lr"), "NAME=VALUE"),
        (("--onto", "x", "--layer", "-1"), "neither the number"),
    ],
)
def test_wrong_usage_is_refused_before_the_ledger_is_asked(kel, argv, says):
    done = kel("rebase", *argv)
    assert done.status == 2
    assert says in done.err
    assert "rebase" not in kel.ledger.calls


def test_an_interrupt_says_how_far_it_came(kel):
    kel.ledger.raises["rebase"] = KeyboardInterrupt()
    kel.ledger.returns["rebase_report"] = replace(REBASED, rows=REBASED.rows[:1], done=False)
    done = kel("rebase", "--onto", "x", "--into", "y")
    assert done.status == 130
    assert "1 of 3 facts are settled in y, which is at version 1; the same command" in done.err
    kel.ledger.raises["rebase_report"] = NoLedger("nothing there")
    assert "no new ledger was made" in kel("rebase", "--onto", "x").err
