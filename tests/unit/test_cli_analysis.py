"""What `kel trace`, `lens`, `activations` and `layers` are told is what the ledger is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from editors.requests import EditRequest
from ledger.errors import UnknownRevision
from ledger.options import Asked
from tests.unit.test_cli_fake import Runner

ADA = ("--subject", "Ada", "--prompt", "{} lives in")


@pytest.fixture
def kel(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(monkeypatch, capsys)


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    path = tmp_path / "facts.jsonl"
    lines = [
        {"subject": s, "prompt": "{} lives in", "target_new": "Rome", "target_true": true}
        for s, true in (("Ada", "Oslo"), ("Bob", None))
    ]
    path.write_text("\n".join(json.dumps(line) for line in lines), "utf-8")
    return path


def test_a_layer_is_a_number_or_a_rule(kel: Runner) -> None:
    one = ("edit", *ADA, "--target", "Rome")
    for text, value in (("3", 3), ("layerwise:2-6", "layerwise:2-6"), ("traced", "traced")):
        kel(*one, "--layer", text)
        assert kel.ledger.calls["edit"][-1][1]["layer"] == value
    for text in ("-1", "", "3.5", "1" * 30):
        result = kel(*one, "--layer", text)
        assert result.status == 2
        assert "--layer" in result.err


def test_a_trace_of_one_fact_or_of_a_file(kel: Runner, facts: Path) -> None:
    kel("trace", *ADA, "--draws", "4", "--window", "3", "--seed", "5", "--sigmas", "2.5",
        "--at", "v1", "-m", "why", "--dry-run")  # fmt: skip
    kel("trace", *ADA, "--answer", "Oslo")
    kel("trace", "--from", facts)
    kel("trace", "--from", facts, "--limit", "1")
    (one, two, many, first) = kel.ledger.calls["trace"]
    assert one == (
        ([Asked("Ada", "{} lives in")],),
        {"at": "v1", "sigmas": 2.5, "draws": 4, "window": 3, "seed": 5, "note": "why",
         "dry_run": True},
    )  # fmt: skip
    assert two[0] == ([Asked("Ada", "{} lives in", "Oslo")],)
    assert two[1]["draws"] == 10
    assert many[0] == ([Asked("Ada", "{} lives in", "Oslo"), Asked("Bob", "{} lives in")],)
    assert first[0] == (many[0][0][:1],)


def test_the_other_commands_pass_their_options_on(kel: Runner, facts: Path) -> None:
    kel("lens", "Ada lives in", "--watch", "Rome", "--watch", "Oslo", "--at", "base", "--at", "3")
    kel("activations", "Ada lives in", "--threshold", "0.5", "--layer", "static", "--jump", "7")
    kel("activations", "--from", facts)
    kel("layers", "--from", facts, "--rule", "wilke", "--rule", "layerwise:1-2")
    given = {"note": "", "dry_run": False}
    assert kel.ledger.calls["lens"] == [
        (("Ada lives in",), {"words": ("Rome", "Oslo"), "at": ("base", "3"), **given})
    ]
    one, file = kel.ledger.calls["activations"]
    settings: dict[str, Any] = {"at": "HEAD", **given}
    assert one == (
        (["Ada lives in"],),
        {**settings, "threshold": 0.5, "layer": "static", "jump": 7},
    )
    assert file[0] == (["Ada lives in", "Bob lives in"],)
    ((requests,), options), *_ = kel.ledger.calls["layers"]
    assert requests[0] == EditRequest("Ada", "{} lives in", "Rome", "Oslo")
    assert options == {**settings, "rules": ("wilke", "layerwise:1-2")}


@pytest.mark.parametrize("kind", ["trace", "lens", "activations", "layers"])
def test_what_is_stored_is_shown_again_and_nothing_is_computed(kel: Runner, kind: str) -> None:
    assert kel(kind, "--stored", "9").status == 0
    assert kel(kind, "--stored", "0").status == 0
    assert kel.ledger.calls["analysis"] == [((kind, 9), {}), ((kind, None), {})]
    assert not kel.ledger.calls[kind]
    kel.ledger.raises["analysis"] = UnknownRevision("no such entry")
    assert kel(kind, "--stored", "4").status == 2


@pytest.mark.parametrize("kind", ["trace", "lens", "activations", "layers"])
def test_a_picture_has_its_numbers_beside_it(kel: Runner, kind: str, tmp_path: Path) -> None:
    picture, numbers = tmp_path / "p.svg", tmp_path / "n.csv"
    result = kel(kind, "--stored", "9", "--plot", picture, "--csv", numbers)
    assert result.status == 0
    assert f"drawn: {picture}" in result.err
    assert picture.read_text("utf-8").startswith("<?xml")
    assert numbers.read_text("utf-8") == (tmp_path / "p.csv").read_text("utf-8")
    refused = kel(kind, "--stored", "9", "--plot", tmp_path / "p.gif")
    assert refused.status == 2
    assert "is no picture" in refused.err
    assert kel(kind, "--stored", "9", "--csv", tmp_path / "none" / "n.csv").status == 1


@pytest.mark.parametrize(
    "argv",
    [
        ("trace",),
        ("trace", "--subject", "Ada"),
        ("trace", "--subject", "Ada", "--prompt", "Bob lives in"),
        ("lens",),
        ("lens", "Ada lives in", "--stored", "9"),
        ("activations",),
        ("activations", "Ada lives in", "--stored", "9"),
        ("layers",),
    ],
)
def test_what_is_missing_or_too_much_is_a_usage_error(kel: Runner, argv: tuple[str, ...]) -> None:
    result = kel(*argv)
    assert result.status == 2
    assert result.err.startswith("kel: ")
    assert not any(kel.ledger.calls[kind] for kind in ("trace", "lens", "activations", "layers"))


def test_a_file_and_a_fact_exclude_each_other(kel: Runner, facts: Path) -> None:
    assert kel("trace", "--from", facts, *ADA).status == 2
    assert kel("activations", "Ada lives in", "--from", facts).status == 2


def test_the_embedded_model_is_traced_edited_by_rules_and_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("KEL_LEDGER", "KEL_AUTHOR", "KEL_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    place, source = tmp_path / "ledger", tmp_path / "facts.jsonl"

    def run(*argv: str) -> Any:
        status = main([*argv, "--ledger", str(place), "--json", "--quiet"])
        body = json.loads(capsys.readouterr().out)
        assert status == 0, body
        return body

    assert main(["init", str(place), "--base", "demo", "--quiet"]) == 0
    capsys.readouterr()
    known = run("demo", "facts", "--limit", "60")["facts"]
    one = known[0]
    two = next(f for f in known if f["relation"] == one["relation"]
               and f["target_true"] != one["target_true"])  # fmt: skip
    shared = ("subject", "prompt", "target_true", "paraphrases")
    lines = [
        {**{name: fact[name] for name in shared}, "target_new": other["target_true"]}
        for fact, other in ((one, two), (two, one))
    ]
    source.write_text("\n".join(json.dumps(line) for line in lines), "utf-8")
    traced = run("trace", "--from", str(source), "--draws", "2")
    assert traced["metrics"]["total_effect"] > 0.3  # the model recalls through its subjects
    quick = ("--set", "v_num_grad_steps=2")  # where an edit is put is chosen before any step
    for rule in ("static", "layerwise", "layerwise-raw", "wilke:3-4", "traced"):
        done = run("edit", "--from", str(source), "--layer", rule, "--no-gate", "--dry-run", *quick)
        layers = {outcome["layer"] for outcome in done["outcomes"]}
        assert layers <= set(range(8))
        if rule == "wilke:3-4":
            assert layers <= {3, 4}
    edit = run("edit", "--from", str(source), "--layer", "static", "--no-gate")
    assert [outcome["layer"] for outcome in edit["outcomes"]] == [4] * len(edit["outcomes"])
    shown = run("show", "1")
    assert shown["hparams"]["layer"] == 4
    assert shown["details"]["evidence"]["layer_choice"] == {"rule": "static", "depth": 17 / 32}
    prompt = lines[0]["prompt"].replace("{}", lines[0]["subject"])
    lens = run("lens", prompt, "--at", "base", "--at", "HEAD")
    before, after = lens["content"]["readings"]
    assert before["tokens"][-1] != after["tokens"][-1]
    assert run("layers", "--from", str(source))["content"]["rules"][0]["mean"] == 4.0
    assert len(run("activations", prompt)["content"]["mean"]) == 8
    assert run("trace", "--stored", str(traced["entry"]))["content"] == traced["content"]
    assert run("verify")["ok"]
