"""Branches from the command line: every digest by another program, elsewhere, and by the audit."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger import EditRequest, Ledger
from ledger.auditing.views import EditShare
from tests.e2e.harness import FACT, QUICK, SETTINGS, Kel, copied, refolded

FREE = ("--no-gate", "--allow-interference")


@pytest.fixture(scope="module")
def grown(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """From the small ledger on (v4, edits 1 and 2): `trial` from v2 with edit 5, main with 6."""
    folder = copied(template, tmp_path_factory.mktemp("grown") / "l")
    with Ledger.open(folder, author="ada") as ledger:
        ledger.branch("trial", "v2")
        ledger.switch("trial")
        ledger.edit(EditRequest("Alan Turing", "{} lived in", "Paris"), gate=None, **SETTINGS)
        ledger.switch("main")
        ledger.edit(EditRequest("Ada Lovelace", "{} lived in", "Rome"), gate=None, **SETTINGS)
        ledger.merge("trial", gate=None, allow_interference=True)
    return folder


@pytest.fixture
def kel(grown: Path, tmp_path: Path, clean: None) -> Kel:
    return Kel(copied(grown, tmp_path / "ledger"))


def test_every_version_has_the_bits_that_the_page_on_formats_gives(kel: Kel):
    entries = [e for e in kel.json("log")["entries"] if e["op"] in ("switch", "merge")]
    assert [(e["op"], e["version"], e["edits"]) for e in reversed(entries)] == [
        *[("switch", 5, []), ("switch", 7, [5]), ("merge", 9, [5])],
    ]
    assert {e["version"]: e["branch"] for e in kel.json("log")["entries"]} == {
        **dict.fromkeys((0, 1, 2, 3, 4, 7, 8, 9), "main"),
        **dict.fromkeys((5, 6), "trial"),
    }
    digests = {e["version"]: e["weights_digest"] for e in kel.json("log")["entries"]}
    assert {v: refolded(kel.place, v) for v in (5, 6, 7, 9)} == {
        v: digests[v] for v in (5, 6, 7, 9)
    }
    assert digests[5] == digests[2]
    assert digests[7] == digests[4]
    assert kel("verify", "--weights").status == 0


def test_a_bundle_takes_branches_along(kel: Kel, bare: Kel, tmp_path: Path):
    kel.json("export", str(tmp_path / "b"), "--form", "bundle")
    assert bare.json("import", str(tmp_path / "b"), str(tmp_path / "l"))["replayed"]
    bare.place = tmp_path / "l"
    assert bare.json("branch") == kel.json("branch")
    assert bare.json("replay", "--to", "trial")["matches"]
    assert (
        bare.json("switch", "trial")["weights_digest"]
        == kel.json("switch", "trial")["weights_digest"]
    )
    assert bare("verify", "--weights", "--anchor", str(tmp_path / "b")).status == 0


def test_what_a_branch_gave_out_is_recognised(kel: Kel, tmp_path: Path):
    kel.json("export", str(tmp_path / "m"), "--at", "trial")
    found = kel.json("identify", str(tmp_path / "m"))
    assert (found["by"], found["versions"]) == ("digest", [6])
    view = kel.json("audit", str(tmp_path / "m"))
    states = {EditShare(**edit).edit: edit["state"] for edit in view["edits"]}
    assert (view["verdict"], states) == (
        *("clean", {1: "active", 2: "active", 4: "reverted", 5: "active", 6: "active"}),
    )


def test_an_edit_of_another_branch_is_not_called_reverted(kel: Kel):
    kel.json("switch", "trial")
    status = kel.json("status")
    assert (status["active"], status["reverted"], status["elsewhere"]) == ([1, 2, 5], [], [4, 6])
    assert "on another branch, made on main" in kel("show", "6").out
    assert "reverted" not in kel("show", "6").out


def test_failures_are_one_line_and_leave_every_byte(kel: Kel):
    for status, argv, says in (
        (5, ("branch", "trial"), ["a branch trial already"]),
        (5, ("branch", "kept"), ["a tag kept"]),
        (5, ("tag", "trial"), ["a branch trial"]),
        (2, ("branch", "v1"), ["cannot be a branch"]),
        (2, ("branch", "x", "--at", "trail"), ["Did you mean trial"]),
        (5, ("branch", "main", "--close"), ["current"]),
        (5, ("switch", "main"), ["current branch already"]),
        (2, ("switch", "trail"), ["no branch 'trail'", "trial"]),
        (2, ("merge", "main"), ["is the current branch"]),
        (2, ("log", "--branch", "x"), ["no branch 'x'"]),
        (2, ("bisect", "--probe", "x", "--good", "main", "--bad", "trial"), ["not before", "v"]),
    ):
        kel.refused(status, *argv, says=says)


def test_a_merge_that_asks_ends_with_5_and_changes_nothing(kel: Kel):
    kel.json("edit", *FACT[:-1], "Rome", *QUICK, "--no-gate")
    kel.json("switch", "trial")
    kel.json("edit", *FACT[:-1], "London", *QUICK, "--no-gate")
    before = kel.json("status")
    asked = kel("merge", "main", *FREE, "--json")
    assert (asked.status, asked.body["outcome"]) == (5, "conflict")
    assert [c["chosen"] for c in asked.body["conflicts"]] == [None]
    assert kel.json("status") == before
    done = kel.json("merge", "main", *FREE, "--theirs")
    assert (done["outcome"], done["added"], done["removed"]) == ("merged", [6, 7], [8])
    assert kel.json("merge", "main")["outcome"] == "up to date"
    assert kel.json("undo")["weights_digest"] == before["weights_digest"]


@pytest.mark.slow
def test_the_embedded_model_on_two_branches(bare: Kel, tmp_path: Path):
    """Each branch says its own; united it says both, and a solved union as well."""
    bare.json("init", str(tmp_path / "l"), "--base", "demo")
    bare.place = tmp_path / "l"

    def edit(subject: str, prompt: str, target: str) -> None:
        argv = ("--subject", subject, "--prompt", prompt, "--target", target)
        assert bare.json("edit", *argv)["outcome"] == "applied"

    def said(subject: str, at: str = "HEAD") -> str:
        return str(bare.json("ask", f"{subject} was born in", "--at", at)["text"]).strip(" .")

    bare.json("branch", "trial")
    edit("Varle Gilval", "{} was born in", "Lumora")
    bare.json("switch", "trial")
    edit("Trigal Drodir", "{} was born in", "Lumora")
    edit("Zumbrum Belmo", "{} was born in", "Nethering")
    assert (said("Varle Gilval"), said("Varle Gilval", "main")) == ("Estavar", "Lumora")
    bare.json("switch", "main")
    plain = bare("merge", "trial", "--allow-interference", "--json").body
    assert plain["outcome"] == "merged"
    united = {"Varle Gilval": "Lumora", "Trigal Drodir": "Lumora", "Zumbrum Belmo": "Nethering"}
    assert {name: said(name) for name in united} == united
    bare.json("undo")
    solved = bare("merge", "trial", "--resolve", "--json").body
    assert solved["outcome"] == "merged"
    assert {name: said(name) for name in united} == united
    assert bare("test").status == 0
    assert bare("verify", "--weights").status == 0
