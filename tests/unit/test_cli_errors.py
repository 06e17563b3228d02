"""Every kind of failure is one line, one document and its own exit status."""

from __future__ import annotations

import errno

import click
import pytest

from cli.errors import Interrupted, OutputClosed, describe
from editors import errors as editor_errors
from ledger import errors, views
from ledger.verify import Finding
from store import errors as store_errors
from tests.unit.test_cli_fake import EDIT, SHA, STATUS, Runner

pytestmark = pytest.mark.promise("P35")

EDIT_ONE = ("edit", "--subject", "Ada", "--prompt", "{} lives in", "--target", "Rome")


@pytest.fixture
def kel(monkeypatch, capsys) -> Runner:
    return Runner(monkeypatch, capsys)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.LedgerError("the disk is full"), 1),
        (OSError(errno.ENOSPC, "No space left on device", "x.db"), 1),
        (errors.InvalidInput("no"), 2),
        (errors.NoLedger("there is no ledger here"), 2),
        (errors.UnknownRevision("there is no edit 9", near=["v1"]), 2),
        (editor_errors.InvalidRequest("subject is empty"), 2),
        (errors.GateRejected("no"), 3),
        (errors.IntegrityFailure("no"), 4),
        (errors.BaseMismatch("no"), 4),
        (store_errors.ObjectCorrupt("no"), 4),
        (errors.StaleVersion(1, 2), 5),
        (errors.Busy("no"), 5),
        (errors.EditorFailure("no"), 6),
        (editor_errors.EditFailed("no"), 6),
        (errors.SchemaTooNew("no"), 7),
        (errors.RemoteFailure("no"), 8),
        (KeyboardInterrupt(), 130),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_a_failure_has_its_status_one_line_and_one_document(kel, error, status):
    kel.ledger.raises["show"] = error
    plain, json = kel("show", "9"), kel("show", "9", "--json")
    assert plain.status == json.status == status
    assert plain.out == ""
    assert plain.err.startswith("kel: ")
    assert plain.err.strip().count("\n") == 0
    told = json.json["error"]
    assert list(json.json) == ["schema", "error"]
    assert json.json["schema"] == "kel.error/1"
    assert told["exit"] == status
    assert plain.err.strip() == f"kel: {told['message']}" == json.err.strip()
    assert kel.ledger.closed


def test_success_is_zero_and_the_code_is_the_name_of_the_error(kel):
    assert kel("show", "1").status == 0
    kel.ledger.raises["show"] = errors.UnknownRevision("there is no edit 9.", near=["v1"])
    assert kel("show", "9", "--json").json["error"] == {
        "code": "UnknownRevision",
        "exit": 2,
        "message": "there is no edit 9. Did you mean v1?",
    }


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("frob",),
        ("show",),
        ("log", "-n", "0"),
        ("init",),
        ("revert",),
        ("status", "--frob"),
        ("edit",),
        (*EDIT_ONE, "--min-locality", "2"),
        (*EDIT_ONE, "--no-gate", "--max-broken", "1"),
        (*EDIT_ONE, "--set", "steps"),
        (*EDIT_ONE, "--set", "a=1", "--set", "a=2"),
        (*EDIT_ONE, "--portability", "no answer"),
        (*EDIT_ONE, "--neighbour", "=x"),
        ("edit", "--from", "missing.jsonl"),
        ("stats", "--corpus", "missing.txt"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2_and_touches_no_ledger(kel, argv):
    result, json = kel(*argv), kel(*argv, "--json")
    assert result.status == json.status == 2
    assert "See 'kel" in result.err
    assert result.err.splitlines()[-1].startswith("kel: ")
    assert json.json["error"]["exit"] == 2
    assert not kel.ledger.calls


def test_an_error_of_several_lines_is_told_on_one(kel):
    kel.ledger.raises["status"] = errors.LedgerError("one\n  two\x1b[2J\tthree")
    assert kel("status").err == "kel: one two\\x1b[2J three\n"


def test_an_unexpected_error_says_how_to_see_more(kel):
    kel.ledger.raises["status"] = ZeroDivisionError("division by zero")
    result = kel("status", "--json")
    assert result.status == 1
    assert "unexpected ZeroDivisionError: division by zero." in result.err
    assert "--debug" in result.err
    assert result.json["error"]["code"] == "ZeroDivisionError"


@pytest.mark.parametrize("where", ["before", "after", "environment"])
def test_debug_shows_the_traceback(kel, monkeypatch, where):
    kel.ledger.raises["status"] = errors.LedgerError("no")
    if where == "environment":
        monkeypatch.setenv("KEL_DEBUG", "1")
    argv = {"before": ("--debug", "status"), "after": ("status", "--debug")}
    result = kel(*argv.get(where, ("status",)))
    assert result.err.startswith("Traceback")
    assert result.err.endswith("kel: no\n")
    assert result.status == 1


def test_an_interrupted_reader_changed_nothing(kel):
    kel.ledger.raises["show"] = KeyboardInterrupt()
    assert kel("show", "1").err == "kel: interrupted; nothing was changed\n"


def test_an_interrupted_writer_says_what_it_left_behind(kel):
    kel.ledger.raises["edit"] = KeyboardInterrupt()
    assert kel(*EDIT_ONE).err == "kel: interrupted; nothing was changed\n"

    entries = iter([9, 10])
    kel.ledger.status = lambda: type(STATUS)(
        **{**vars(STATUS), "entries": next(entries), "version": 4}
    )
    result = kel(*EDIT_ONE)
    assert result.status == 130
    assert result.err == (
        "kel: interrupted; 1 entry had been recorded, the ledger is at version 4\n"
    )


def test_an_interrupted_collection_does_not_claim_that_nothing_was_changed(kel):
    kel.ledger.raises["gc"] = KeyboardInterrupt()
    result = kel("gc")
    assert result.status == 130
    assert "nothing was changed" not in result.err


def test_an_interrupted_init_does_not_claim_anything(kel):
    kel.ledger.raises["init"] = KeyboardInterrupt()
    result = kel("init", "--base", "demo")
    assert (result.status, result.err.strip()) == (130, "kel: interrupted")


def test_an_end_of_file_inside_a_command_is_no_interrupt(kel):
    kel.ledger.raises["show"] = EOFError("short file")
    result = kel("show", "1")
    assert result.status == 1
    assert "unexpected EOFError: short file" in result.err


def test_findings_of_verify_set_the_status(kel):
    def status(*severities):
        kel.ledger.returns["verify"] = [
            Finding(severity, "code.x", "entry 3", "text") for severity in severities
        ]
        return kel("verify").status, kel("verify", "--json").json["ok"]

    assert status() == (0, True)
    assert status("info") == (0, True)
    assert status("info", "warning") == (1, False)
    assert status("warning", "error", "info") == (4, False)
    assert "1 error" in kel("verify").out


def test_a_replay_with_other_bits_is_4(kel):
    kel.ledger.returns["replay"] = views.ReplayView(3, False, "f" * 64, SHA, {}, None)
    result = kel("replay")
    assert result.status == 4
    assert "NOT as recorded" in result.out
    assert kel("replay", "--json").json["matches"] is False


def test_an_edit_that_no_longer_holds_is_1(kel):
    row = views.TestRow(1, "f", {"reliability": 0.2}, {"reliability": 1.0}, "Oslo", False)
    kel.ledger.returns["test"] = views.TestView(3, (row,), {}, {}, None)
    result = kel("test")
    assert result.status == 1
    assert "0 of 1 edits hold" in result.out
    assert "reliability 0.200 (was 1.000)" in result.out


def test_a_reverted_and_a_rejected_edit_are_shown_as_such(kel):
    kel.ledger.returns["show"] = type(EDIT)(**{**vars(EDIT), "active": False})
    assert kel("show", "1").out.startswith("edit 1  reverted")
    kel.ledger.returns["show"] = type(EDIT)(**{**vars(EDIT), "active": False, "rejected": True})
    assert kel("show", "1").out.startswith("edit 1  rejected")


def test_statuses_of_the_errors_of_the_command_line_itself():
    assert describe(Interrupted("x")).exit == 130
    assert describe(click.Abort()).exit == 130
    assert issubclass(OutputClosed, Exception)
