"""What `kel branch`, `kel switch` and `kel merge` show, and what they refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger.views import ChangeOutcome
from tests.unit.test_cli_fake import ASKED, EDIT, FACT, LOG, MERGED, RESOLVED, SHA, STATUS, Runner


@pytest.fixture
def kel(monkeypatch, capsys) -> Runner:
    return Runner(monkeypatch, capsys)


def test_branches_are_listed_beside_the_current_one(kel):
    heading, *rows = [line.split() for line in kel("branch").out.splitlines()]
    assert heading[-3:] == ["only", "on", "main"]
    assert rows == [["trial", "v2", "1,", "4", "v1", "4", "2"], ["*", "main", "v3", "1-2"]]


def test_a_branch_is_opened_closed_and_switched_to(kel):
    assert kel("branch", "trial").out == "trial begins at v3\n"
    assert kel("branch", "trial", "--close").out == "trial is closed; its last version is v3\n"
    assert kel("switch", "trial").out.startswith("on trial, now v4 (as v2)  + 4, - 1-2  weights ")


def test_a_merge_says_what_came_what_was_decided_and_what_it_did(kel):
    done = kel("merge", "trial")
    assert done.status == 0
    for text in (
        *("merged trial (v2) into main, common version v1, now v4", "comes 4", "goes 2"),
        *("2: Paris", "4: Rome", "London", "theirs", "moves by more than 0.4", "0.750", "4 by 0.5"),
        *("a note", "no longer hold: 1", FACT, "reliability 1.000 (was 0.500)"),
    ):
        assert text in done.out
    assert "decide" not in done.out
    assert "--resolve" not in done.out


def test_what_is_to_be_decided_ends_with_5_and_says_how(kel):
    kel.ledger.returns["merge"] = replace(
        MERGED, outcome="conflict", conflicts=(ASKED, replace(ASKED, ours=None)), rows=()
    )
    done = kel("merge", "trial")
    assert (done.status, done.err) == (5, "")
    for text in ("nothing was merged", "undecided", "taken out", "--take ID", "--resolve solves"):
        assert text in done.out
    assert kel("merge", "trial", "--json").json["conflicts"][1]["ours"] is None


def test_a_refused_merge_ends_with_3(kel):
    kel.ledger.returns["merge"] = replace(MERGED, outcome="rejected", reasons=("too low",))
    done = kel("merge", "trial")
    assert done.status == 3
    assert "rejected: trial (v2) into main" in done.out
    assert "why  too low" in done.out


def test_a_merge_that_was_solved_again_shows_its_batches(kel):
    kel.ledger.returns["merge"] = replace(MERGED, resolved=(RESOLVED,))
    assert "facts in one batch, at v4" in kel("merge", "trial", "--resolve").out


def test_nothing_to_merge_is_no_failure(kel):
    kel.ledger.returns["merge"] = replace(MERGED, outcome="up to date")
    done = kel("merge", "trial")
    assert (done.status, done.out) == (0, "main has all of trial (v2) already\n")


@pytest.mark.parametrize(
    "argv",
    [
        ("branch", "--at", "v1"),
        ("branch", "--close"),
        ("branch", "x", "--close", "--at", "v1"),
        ("switch",),
        ("merge",),
        ("merge", "x", "--ours", "--theirs"),
        ("merge", "x", "--ridge", "1"),
        ("merge", "x", "--threshold", "-1"),
    ],
)
def test_options_that_do_not_go_together_are_refused(kel, argv):
    done = kel(*argv)
    assert (done.status, done.out) == (2, "")
    assert not kel.ledger.calls


@pytest.mark.parametrize(
    ("op", "says"),
    [
        ("switch", "back on trial, now v4"),
        ("merge", "as before the last merge of trial, now v4"),
        ("branch", "branch trial is again what it was before"),
    ],
)
def test_an_undo_says_what_it_took_back(kel, op, says):
    kel.ledger.returns["undo"] = ChangeOutcome(op, (), 4, SHA, branch="trial")
    assert says in kel("undo").out


def test_an_edit_of_another_branch_is_told_as_such(kel):
    kel.ledger.returns["show"] = replace(EDIT, active=False, elsewhere=True, branch="trial")
    assert "edit 1  on another branch, made on trial" in kel("show", "1").out


def test_log_and_status_name_branches_where_there_are_several(kel):
    assert "main" not in kel("log").out + kel("log", "--oneline").out + kel("status").out
    about = {"name": "trial", "version": 2}
    kel.ledger.returns["log"] = [
        replace(LOG, op="merge", facts=(), payload=about | {"undo": True}),
        replace(LOG, op="merge", payload=about),
        replace(LOG, op="switch", facts=(), payload=about, branch="trial"),
        replace(LOG, op="branch", facts=(), payload=about),
        replace(LOG, op="branch", facts=(), payload=about | {"version": None}),
    ]
    long, short = kel("log").out, kel("log", "--oneline", "--branch", "trial").out
    assert kel.ledger.calls["log"][-1] == ((None, "trial"), {})
    for text in ("trial (to v2, taken back)", "trial (at v2)", "trial closed"):
        assert text in long
        assert text in short
    assert "  on trial  " in long
    kel.ledger.returns["status"] = replace(
        STATUS, branch="trial", branches={"trial": 3, "main": 2}, elsewhere=(7,)
    )
    lines = [line.split() for line in kel("status").out.splitlines()]
    for line in (["branch", "trial"], ["elsewhere", "7"], ["branches", "main", "=", "v2"]):
        assert line in lines
