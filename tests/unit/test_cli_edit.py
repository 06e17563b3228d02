"""What the options of a command say is what the ledger is asked to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from editors.requests import EditRequest, Probe
from ledger.errors import EditorFailure
from ledger.evaluation.gates import Gate
from ledger.options import EditOptions
from tests.unit.test_cli_fake import Runner, outcome

EDIT_ONE = ("edit", "--subject", "Ada", "--prompt", "{} lives in", "--target", "Rome")


@pytest.fixture
def kel(monkeypatch, capsys) -> Runner:
    return Runner(monkeypatch, capsys)


@pytest.fixture
def facts(tmp_path) -> Path:
    path = tmp_path / "facts.jsonl"
    targets = ("Rome", "Nowhere", "Oslo")
    lines = [{"subject": "Ada", "prompt": "{} lives in", "target_new": name} for name in targets]
    path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    return path


def test_the_options_become_the_request(kel):
    kel(
        *EDIT_ONE,
        *("--target-true", "Oslo", "--paraphrase", "Ada's home is", "--paraphrase", "Home of Ada:"),
        *("--neighbour", "1+1=2=Two", "--neighbour", "Bob lives in"),
        *("--same-subject", "Ada works in=Bonn", "--portability", "Ada's country is=Italy"),
    )
    (request,), _ = kel.ledger.calls["edit"][0]
    assert request == EditRequest(
        "Ada",
        "{} lives in",
        "Rome",
        "Oslo",
        paraphrases=("Ada's home is", "Home of Ada:"),
        neighbourhood=(Probe("1+1=2", "Two"), Probe("Bob lives in")),
        same_subject=(Probe("Ada works in", "Bonn"),),
        portability=(Probe("Ada's country is", "Italy"),),
    )


def test_without_options_the_defaults_of_the_ledger_count(kel):
    kel(*EDIT_ONE)
    _, settings = kel.ledger.calls["edit"][0]
    assert callable(settings.pop("retested"))
    assert settings == {
        "method": "rome",
        "layer": None,
        "overrides": None,
        "gate": Gate(),
        "note": "",
        "dry_run": False,
        "retry": 0,
    }


def test_the_settings_are_passed_on(kel):
    kel(
        *EDIT_ONE,
        *("--method", "ft", "--layer", "0", "--set", "lr=0.5", "--set", "norm=none"),
        *("--set", "layers=[1, 2]", "--set", "x=NaN", "-m", "why", "--dry-run", "--retry", "3"),
        *("--min-reliability", "0.5", "--min-locality", "0", "--max-broken", "0"),
    )
    _, settings = kel.ledger.calls["edit"][0]
    assert settings["overrides"] == {"lr": 0.5, "norm": "none", "layers": [1, 2], "x": "NaN"}
    assert settings["gate"] == Gate(0.5, 0.0, 0)
    assert (settings["method"], settings["layer"], settings["retry"]) == ("ft", 0, 3)
    assert (settings["note"], settings["dry_run"]) == ("why", True)


def test_the_ledger_knows_every_setting(kel):
    kel(*EDIT_ONE)
    assert set(kel.ledger.calls["edit"][0][1]) <= set(EditOptions.__annotations__)


def test_no_gate_is_no_gate(kel):
    kel(*EDIT_ONE, "--no-gate")
    assert kel.ledger.calls["edit"][0][1]["gate"] is None


def test_an_invalid_fact_is_2_and_the_ledger_is_not_opened(kel):
    result = kel("edit", "--subject", "Ada", "--prompt", "Bob lives in", "--target", "Rome")
    assert result.status == 2
    assert "is not in the prompt" in result.err
    assert not kel.ledger.calls


def test_a_rejected_edit_is_shown_with_its_reasons_and_is_3(kel):
    request = EditRequest("Ada", "{} lives in", "Rome")
    kel.ledger.returns["edit"] = outcome(request, "rejected")
    result = kel(*EDIT_ONE)
    assert result.status == 3
    assert "reliability 0.50 is below 0.90" in result.out
    body = kel(*EDIT_ONE, "--json").json
    assert (body["outcome"], body["reasons"]) == ("rejected", ["reliability 0.50 is below 0.90"])


def test_a_file_gives_a_line_an_edit_and_a_summary(kel, facts):
    result = kel("edit", "--from", facts)
    lines = result.out.splitlines()
    assert [line.split()[0] for line in lines] == ["applied", "rejected", "applied", "3"]
    assert lines[-1] == "3 requests: 2 applied, 1 rejected"
    assert result.status == 3
    assert result.err == ""


def test_a_file_as_one_document(kel, facts):
    body = kel("edit", "--from", facts, "--json").json
    assert list(body) == ["schema", "outcomes", "summary"]
    assert [item["outcome"] for item in body["outcomes"]] == ["applied", "rejected", "applied"]
    assert body["summary"] == {"applied": 2, "rejected": 1}


def test_a_file_without_rejections_is_0(kel, facts):
    facts.write_text(facts.read_text().replace("Nowhere", "Bonn"))
    assert kel("edit", "--from", facts).status == 0


def test_a_file_is_given_to_the_method_in_batches(kel, facts):
    kel("edit", "--from", facts, "--batch", "2")
    kel("edit", "--from", facts)
    assert [k["batch"] for _, k in kel.ledger.calls["edit_many"]] == [2, 2, 2, 1, 1, 1]
    for argv in ((*EDIT_ONE, "--batch", "2"), ("edit", "--from", facts, "--batch", "0")):
        assert kel(*argv).status == 2
    assert "--batch goes with --from" in kel(*EDIT_ONE, "--batch", "2").err


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("--ridge", "1"), "--ridge goes with --resolve-batch"),
        (("--no-gate",), "--no-gate goes with --resolve-batch"),
        (("--resolve-batch", "--no-retest"), "leave --no-retest out"),
        (("--resolve-batch", "--ridge", "-1"), "--ridge"),
    ],
)
def test_options_of_a_revert_that_make_no_sense_together_are_refused(kel, argv, told):
    result = kel("revert", "1", *argv)
    assert (result.status, dict(kel.ledger.calls)) == (2, {})
    assert told in result.err


def test_a_bad_line_is_found_before_anything_is_changed(kel, facts):
    facts.write_text(facts.read_text() + '\n{"subject": 1}')
    result = kel("edit", "--from", facts)
    assert result.status == 2
    assert f"{facts}, line 4" in result.err
    assert not kel.ledger.calls


def test_a_failure_in_the_middle_says_how_far_it_came(kel, facts):
    kel.ledger.raises["edit_many"] = EditorFailure("no")
    result = kel("edit", "--from", facts)
    assert result.status == 6
    assert result.err.startswith("0 of 3 requests were done; the same command goes on from there.")
    assert kel("edit", "--from", facts, "--quiet").err == "kel: no\n"


def test_a_file_and_a_fact_exclude_each_other(kel, facts):
    result = kel("edit", "--from", facts, "--target-true", "x")
    assert result.status == 2
    assert "--from and --target-true" in result.err


@pytest.mark.parametrize(
    ("argv", "method", "args", "kwargs"),
    [
        (("log", "-n", "5"), "log", (5, None), {}),
        (("diff", "best", "HEAD"), "diff", ("best", "HEAD"), {}),
        (("tag", "best"), "tag", ("best", "HEAD"), {"note": ""}),
        (("tag", "best", "v1", "-m", "x"), "tag", ("best", "v1"), {"note": "x"}),
        (("ask", "p", "--at", "v1"), "ask", ("p",), {"at": "v1"}),
        (
            ("revert", "1", "ab"),
            "revert",
            (("1", "ab"),),
            {"note": "", "author": None, "retest": True, "dry_run": False},
        ),
        (
            ("revert", "1", "--no-retest"),
            "revert",
            (("1",),),
            {"note": "", "author": None, "retest": False, "dry_run": False},
        ),
        (
            ("revert", "--resolve-batch", "1", "-m", "x"),
            "resolve_batch",
            (("1",),),
            {"note": "x", "gate": Gate(), "ridge": None},
        ),
        (
            ("revert", "1", "--resolve-batch", "--ridge", "2", "--no-gate"),
            "resolve_batch",
            (("1",),),
            {"note": "", "gate": None, "ridge": 2.0},
        ),
        (("methods",), "methods", (), {}),
        (("reapply", "1", "-m", "x"), "reapply", (("1",),), {"note": "x", "author": None}),
        (("undo",), "undo", (), {"note": "", "author": None}),
        (("branch", "t", "--at", "v1", "-m", "x"), "branch", ("t", "v1"), {"note": "x"}),
        (("branch", "t", "--close"), "close_branch", ("t",), {"note": ""}),
        (("switch", "t", "-m", "x"), "switch", ("t",), {"note": "x"}),
        (
            ("merge", "t"),
            "merge",
            ("t",),
            {
                "take": (),
                "rest": None,
                "allow_interference": False,
                "threshold": None,
                "resolve": False,
                "ridge": 0.0,
                "gate": Gate(),
                "dry_run": False,
                "note": "",
            },
        ),
        (
            (
                "merge",
                "t",
                "--take",
                "1",
                "--take",
                "2",
                "--theirs",
                "--threshold",
                "1",
                "--allow-interference",
                "--resolve",
                "--ridge",
                "2",
                "--no-gate",
                "--dry-run",
            ),
            "merge",
            ("t",),
            {
                "take": ("1", "2"),
                "rest": "theirs",
                "allow_interference": True,
                "threshold": 1.0,
                "resolve": True,
                "ridge": 2.0,
                "gate": None,
                "dry_run": True,
                "note": "",
            },
        ),
        (("replay", "--to", "v1", "--out", "d"), "replay", ("v1", Path("d")), {}),
        (
            ("test", "--at", "v1", "1", "2"),
            "test",
            ("v1", ("1", "2")),
            {"affected_by": None, "threshold": None},
        ),
        (
            ("test", "--affected-by", "1", "--threshold", "0.2"),
            "test",
            ("HEAD", ()),
            {"affected_by": "1", "threshold": 0.2},
        ),
        (
            ("interference", "1", "--at", "v1", "--threshold", "0.2", "--plot", "x.svg"),
            "interference",
            ("1",),
            {"at": "v1", "threshold": 0.2, "plot": Path("x.svg")},
        ),
        (("verify", "--weights"), "verify", (True, None), {}),
        (
            ("stats", "--layer", "3", "--layer", "4", "--tokens", "9"),
            "stats",
            ((3, 4),),
            {"method": "rome", "corpus": None, "tokens": 9, "tolerance": None},
        ),
        (
            ("stats", "--method", "memit", "--tokens", "auto"),
            "stats",
            ((),),
            {"method": "memit", "corpus": None, "tokens": None, "tolerance": 0.1},
        ),
        (
            ("stats", "--part", "2/3", "--out", "d"),
            "stats_part",
            ((2, 3), Path("d"), ()),
            {"method": "rome", "corpus": None, "tokens": None},
        ),
        (("stats", "--merge", "."), "stats_merge", ((Path("."),),), {}),
        (
            ("export", "d", "--at", "v1"),
            "export",
            (Path("d"), "v1"),
            {
                "form": "merged",
                "private": False,
                "link": False,
                "compress": False,
                "max_shard_bytes": None,
            },
        ),
        (
            ("export", "d", "--form", "adapter", "--private", "--link", "--compress"),
            "export",
            (Path("d"), "HEAD"),
            {
                "form": "adapter",
                "private": True,
                "link": True,
                "compress": True,
                "max_shard_bytes": None,
            },
        ),
        (
            ("push", "owner/x", "--form", "adapter", "--private", "--compress", "--pr"),
            "push",
            ("owner/x", "HEAD"),
            {"form": "adapter", "private": True, "compress": True, "pull_request": True},
        ),
        (
            ("pull", "owner/x", "d", "--revision", "r", "--base", "b", "--no-replay"),
            "pull",
            ("owner/x", Path("d")),
            {"revision": "r", "base": "b", "replay": False, "anchor": None},
        ),
        (("gc", "--dry-run"), "gc", (True,), {}),
    ],
)
def test_arguments_reach_the_ledger(kel, argv, method, args, kwargs):
    assert kel(*argv).status == 0
    assert kel.ledger.calls[method] == [(args, kwargs)]


def test_init_is_told_everything(kel, tmp_path):
    probes = tmp_path / "probes.txt"
    probes.write_text("p")
    named = ("--base", "b", "--revision", "r", "--dtype", "bfloat16", "--probes", probes)
    kel("init", "d", *named, "--chat-template", "--db", "postgresql://h/d")
    assert kel.ledger.calls["init"] == [
        (
            (Path("d"),),
            {
                "base": "b",
                "revision": "r",
                "dtype": "bfloat16",
                "device": "cpu",
                "chat_template": True,
                "database": "postgresql://h/d",
                "probes": probes,
                "author": None,
            },
        )
    ]


@pytest.mark.parametrize(
    ("argv", "variable", "expected"),
    [
        (("status",), None, None),
        (("--ledger", "a", "status"), None, Path("a")),
        (("status", "--ledger", "b"), None, Path("b")),
        (("--ledger", "a", "status", "--ledger", "b"), None, Path("b")),
        (("status",), "e", Path("e")),
        (("--ledger", "a", "status"), "e", Path("a")),
        (("status", "--ledger", "b"), "e", Path("b")),
    ],
)
def test_the_ledger_is_named_before_or_after_the_command(
    kel, monkeypatch, argv, variable, expected
):
    if variable:
        monkeypatch.setenv("KEL_LEDGER", variable)
    kel(*argv)
    assert kel.ledger.calls["open"] == [((expected,), {})]


def test_init_makes_the_ledger_that_is_named(kel):
    kel("--ledger", "a", "init", "--base", "b")
    kel("init", "--base", "b")
    assert [args for args, _ in kel.ledger.calls["init"]] == [(Path("a"),), (Path(),)]


@pytest.mark.parametrize(
    ("text", "size"),
    [("5GB", 5 * 10**9), ("1.5 MiB", 3 * 2**19), ("12kb", 12_000), ("7", 7), ("2 TB", 2 * 10**12)],
)
def test_a_size_is_read_as_transformers_reads_it(kel, text, size):
    kel("export", "out", "--max-shard-size", text)
    ((_, given),) = kel.ledger.calls["export"]
    assert given["max_shard_bytes"] == size


@pytest.mark.parametrize("text", ["0", "1.5", "5XB", "-1GB", "1e3", "", "9" * 19, "9999999999TB"])
def test_what_is_no_size_is_refused(kel, text):
    result = kel("export", "out", "--max-shard-size", text)
    assert (result.status, "is no size" in result.err) == (2, True)
