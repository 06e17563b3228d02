"""The commands on a ledger of the embedded model: found as git finds, read without the model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import cli
from cli.main import main

ROOT = Path(cli.__file__).parents[1]
SLOW = ("torch", "transformers", "alembic", "huggingface_hub")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A new ledger; `main` is given the folder, everything else is found from within."""
    folder = tmp_path_factory.mktemp("kel") / "ledger"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEL_AUTHOR", "Ada L.")
        patch.delenv("KEL_LEDGER", raising=False)
        assert main(["init", str(folder), "--base", "demo", "--quiet"]) == 0
    return folder


@pytest.fixture
def kel(capsys, monkeypatch):
    for name in ("KEL_LEDGER", "KEL_AUTHOR", "KEL_DEBUG"):
        monkeypatch.delenv(name, raising=False)

    def run(*argv: str):
        status = main([*argv, "--json"])
        return status, json.loads(capsys.readouterr().out)

    return run


def test_a_ledger_is_found_from_a_folder_inside_it(kel, place, monkeypatch):
    inside = place / "notes" / "deep"
    inside.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(inside)
    status, body = kel("status")
    assert status == 0
    assert body["ledger"] == str(place)
    assert body["version"] == 0


@pytest.mark.parametrize("where", ["before", "after", "variable"])
def test_a_ledger_is_found_by_name(kel, place, tmp_path, monkeypatch, where):
    monkeypatch.chdir(tmp_path)
    named = ("--ledger", str(place))
    if where == "variable":
        monkeypatch.setenv("KEL_LEDGER", str(place))
    argv = {"before": (*named, "status"), "after": ("status", *named)}.get(where, ("status",))
    assert kel(*argv)[1]["ledger"] == str(place)


def test_outside_of_a_ledger_the_status_is_2(kel, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, body = kel("log")
    assert (status, body["error"]["code"]) == (2, "NoLedger")
    assert "kel init" in body["error"]["message"]


def test_a_base_without_a_chat_template_is_refused_and_leaves_nothing(kel, tmp_path):
    folder = tmp_path / "chat"
    status, body = kel("init", str(folder), "--base", "demo", "--chat-template")
    assert (status, body["error"]["code"]) == (2, "UnsupportedModel")
    assert "has no chat template" in body["error"]["message"]
    assert not folder.exists()


def test_a_second_init_is_a_conflict(kel, place):
    status, body = kel("init", str(place), "--base", "demo")
    assert (status, body["error"]["exit"]) == (5, 5)


def test_the_author_is_the_one_of_the_environment(kel, place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setenv("KEL_AUTHOR", "Grace H.")
    assert kel("tag", "start", "base")[0] == 0
    assert kel("tag")[1]["tags"] == {"start": 0}
    newest, *_, first = kel("log")[1]["entries"]
    assert (newest["op"], newest["author"]) == ("tag", "Grace H.")
    assert (first["op"], first["author"]) == ("init", "Ada L.")
    assert kel("undo")[1]["tag"] == "start"
    assert kel("tag")[1]["tags"] == {}


def test_unknown_names_are_2_and_a_new_ledger_verifies(kel, place, monkeypatch):
    monkeypatch.chdir(place)
    for argv in (("show", "9"), ("diff", "v0", "v9"), ("revert", "9"), ("tag", "x", "nowhere")):
        status, body = kel(*argv)
        assert (status, body["error"]["code"]) == (2, "UnknownRevision")
    assert kel("verify")[0] == 0


def test_reading_commands_import_neither_the_model_libraries_nor_migrations(place):
    code = f"""
import sys
from cli.main import main
read = (["log"], ["log", "--oneline"], ["status"], ["show", "1"], ["diff", "v0", "v0"], ["tag"])
assert [main(argv) for argv in read] == [0, 0, 0, 2, 0, 0]
print([name for name in {SLOW!r} if name in sys.modules])
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert result.stdout.endswith("[]\n")
