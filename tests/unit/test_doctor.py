"""`kel doctor` tells what is missing or broken, and changes nothing by looking."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import constants

from cli.main import main
from ledger import doctor, hub
from ledger.base import demo_folder
from ledger.doctor import DISTRIBUTION, EXTRAS, Check, examine
from ledger.setup import create
from store.layout import Layout
from tests.sim.places import address, ask, copied, unguard

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
NEEDED = list(PROJECT["dependencies"])
NEEDED += [
    f'{line}; extra == "{extra}"'
    for extra, lines in PROJECT["optional-dependencies"].items()
    for line in lines
]
NEWEST = "999.0"
REAL = hub.configured
Look = Callable[..., dict[str, Check]]


@pytest.fixture
def installed(monkeypatch) -> dict[str, str | None]:
    """Versions that differ from NEWEST; None is missing."""
    versions: dict[str, str | None] = {}

    def version(name: str) -> str:
        found = versions.get(name, NEWEST)
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return found

    asked = {DISTRIBUTION: {"Requires-Python": PROJECT["requires-python"]}}
    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(metadata, "requires", {DISTRIBUTION: NEEDED}.__getitem__)
    monkeypatch.setattr(metadata, "metadata", asked.__getitem__)
    monkeypatch.setattr(doctor, "configured", lambda: (True, False))
    monkeypatch.delenv("KEL_LEDGER", raising=False)
    return versions


@pytest.fixture
def look(installed, monkeypatch, tmp_path) -> Look:
    """The checks by name, as seen from a folder without a ledger."""
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)

    def found(directory: Path | None = None) -> dict[str, Check]:
        view = examine(directory)
        assert view.ok == all(check.status != "problem" for check in view.checks)
        assert all(bool(check.todo) == (check.status != "ok") for check in view.checks)
        assert len({check.name for check in view.checks}) == len(view.checks)
        return {check.name: check for check in view.checks}

    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("doctor") / "ledger"
    create(folder, base="demo", revision=None, dtype=None, device="cpu", probes=None,
           author="ada", seed=0)  # fmt: skip
    return folder


@pytest.fixture
def ledger(made, tmp_path) -> Path:
    return copied(made, tmp_path / "ledger")


def other_model(folder: Path, **values: str) -> None:
    """The ledger as if it had been made with another base or device."""
    unguard(folder, "model")
    for column, value in values.items():
        ask(folder, f"UPDATE model SET {column} = ?", value)


# --- the program and the machine ----------------------------------------------------------------


def test_each_requirement_of_the_project_is_compared(look):
    found = look()
    names = {line.partition(">=")[0] for line in PROJECT["dependencies"]}
    assert names < set(found)
    assert found["torch"] == Check("torch", "ok", f"{NEWEST} (2.6 or newer is needed)")
    assert found["python"].found.endswith("(3.11 or newer is needed)")
    assert all(found[name].status == "ok" for name in (*names, "kel", "python"))


def test_each_extra_of_the_project_says_what_it_is_for(look):
    assert set(EXTRAS) == set(PROJECT["optional-dependencies"]) - {"dev"}
    found = look()
    for extra, use in EXTRAS.items():
        assert found[f"extra {extra}"].status == "ok"
        assert use in found[f"extra {extra}"].found


@pytest.mark.parametrize(
    ("version", "status"),
    [("2.5.9", "problem"), ("2.6.0+cu126", "ok"), ("2.13.0", "ok"), (None, "problem")],
)
def test_a_package_that_is_needed_is_new_enough_or_a_problem(look, installed, version, status):
    installed["torch"] = version
    found = look()["torch"]
    assert found.status == status
    assert (found.todo == "pip install 'torch>=2.6'") == (status == "problem")


@pytest.mark.parametrize(
    ("version", "told"), [(None, "psycopg is missing"), ("3.1.9", "psycopg 3.1.9 is below 3.2")]
)
def test_an_extra_that_is_missing_is_a_note(look, installed, version, told):
    installed["psycopg"] = version
    found = look()["extra postgres"]
    assert (found.status, told in found.found) == ("note", True)
    assert "pip install 'knowledge-edit-ledger[postgres]'" in found.todo


def test_without_an_installation_nothing_is_guessed(look, installed):
    installed[DISTRIBUTION] = None
    found = look()
    assert found["kel"].status == "note"
    assert "torch" not in found


def test_an_extra_of_a_newer_project_is_a_reason_to_install_again(look, monkeypatch):
    monkeypatch.setattr(metadata, "requires", lambda name: PROJECT["dependencies"])
    assert look()["extra large"].todo == "install kel again"


def test_a_gpu_is_named_and_one_that_torch_cannot_see_is_a_note(look, monkeypatch):
    assert look()["device"].found.startswith("cpu (")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "12.6")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    found = look()["device"]
    assert (found.status, "CUDA 12.6 and finds no GPU" in found.found) == ("note", True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    device = SimpleNamespace(name="H200", total_memory=141e9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: device)
    found = look()["device"]
    assert found.status == "ok"
    assert "cuda:0 (H200, 141 GB); cuda:1 (H200, 141 GB)" in found.found


@pytest.mark.parametrize(("module", "name"), [("torch", "device"), ("numpy", "base")])
def test_what_cannot_be_imported_is_told_and_not_met(made, module, name):
    code = (
        f"import sys; sys.modules[{module!r}] = None; from cli.main import main; sys.exit(main())"
    )
    argv = [sys.executable, "-W", "ignore", "-c", code, "--ledger", str(made), "doctor", "--json"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    found = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1
    assert found[name]["status"] == "problem"
    assert module in found[name]["found"]


# --- the Hub ------------------------------------------------------------------------------------


def test_a_token_is_told_and_never_shown(installed, monkeypatch, capsys):
    def refused(*_):
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(doctor, "configured", REAL)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijkl")
    main(["doctor"])
    told = capsys.readouterr()
    assert "configured (not shown)" in told.out
    assert "HF_HUB_OFFLINE is set" in told.out
    assert "abcdefghijkl" not in told.out + told.err


def test_a_token_that_cannot_be_sent_is_a_problem(look, monkeypatch):
    monkeypatch.setattr(doctor, "configured", REAL)
    monkeypatch.setenv("HF_TOKEN", "hf_ä secret")
    found = look()["hub token"]
    assert found.status == "problem"
    assert "secret" not in found.found + found.todo


def test_no_token_is_a_note(look, monkeypatch):
    monkeypatch.setattr(doctor, "configured", lambda: (False, False))
    assert [look()[name].status for name in ("hub token", "hub access")] == ["note", "ok"]


# --- the ledger ---------------------------------------------------------------------------------


def test_no_ledger_here_is_a_note_and_none_where_one_was_named_a_problem(
    look, monkeypatch, tmp_path
):
    assert look()["ledger"].status == "note"
    assert look(tmp_path / "none")["ledger"].status == "problem"
    monkeypatch.setenv("KEL_LEDGER", str(tmp_path / "none"))
    assert look()["ledger"].status == "problem"
    assert "database" not in look()


def test_a_sound_ledger_is_all_ok_and_nothing_of_it_changes(look, ledger):
    def content():
        files = (path for path in ledger.rglob("*") if path.is_file() and "cache" not in path.parts)
        return {path: path.read_bytes() for path in files}

    before, found = content(), look(ledger)
    names = ["ledger", "store", "database", "base", "ledger device", "disk"]
    assert list(found)[-6:] == names
    assert [found[name].status for name in names] == ["ok"] * 6
    assert (
        found["database"].found
        == f"{address(ledger) or ledger / 'ledger.db'}, schema 0006, entries: 1"
    )
    assert content() == before


@pytest.mark.parametrize(("revision", "status"), [("0003", "note"), ("9999", "problem")])
def test_another_schema_is_told_and_not_upgraded(look, ledger, revision, status):
    ask(ledger, "UPDATE alembic_version SET version_num = ?", revision)
    for _ in range(2):
        found = look(ledger)
        assert (found["database"].status, revision in found["database"].found) == (status, True)
        assert "base" not in found


def test_a_damaged_database_is_a_problem(look, ledger):
    (ledger / "ledger.db").write_bytes(b"no database")
    found = look(ledger)
    assert (found["database"].status, found["disk"].status) == ("problem", "ok")
    assert "damaged" in found["database"].found


def test_a_store_that_cannot_be_written_is_a_problem(look, ledger, monkeypatch):
    Layout(ledger).objects.mkdir(exist_ok=True)
    monkeypatch.setattr(os, "access", lambda place, mode: place != Layout(ledger).objects)
    found = look(ledger)["store"]
    assert found.status == "problem"
    assert found.found == f"{Layout(ledger).objects} cannot be written"


def test_a_base_with_other_bytes_or_gone_is_a_problem(look, ledger, tmp_path):
    copy = Path(shutil.copytree(demo_folder(), tmp_path / "base"))
    other_model(ledger, base_id=str(copy), path=str(copy))
    assert look(ledger)["base"].status == "ok"
    config = copy / "config.json"
    config.write_bytes(config.read_bytes() + b" ")
    found = look(ledger)["base"]
    assert (found.status, "config.json" in found.found) == ("problem", True)
    shutil.rmtree(copy)
    found = look(ledger)["base"]
    assert (found.status, "is gone" in found.found) == ("problem", True)


def test_a_base_of_the_hub_that_is_not_here_is_fetched_later(look, ledger, tmp_path, monkeypatch):
    def refused(*_):
        raise AssertionError("the Hub was asked")

    monkeypatch.setattr(hub, "snapshot", refused)
    other_model(ledger, base_id="owner/name", revision="a" * 40, path=str(tmp_path / "gone"))
    assert look(ledger)["base"].status == "note"


@pytest.mark.parametrize(
    ("device", "accelerate", "status"),
    [("cuda:7", NEWEST, "problem"), ("auto", NEWEST, "ok"), ("auto", None, "problem")],
)
def test_a_ledger_whose_device_is_not_here(look, installed, ledger, device, accelerate, status):
    installed["accelerate"] = accelerate
    other_model(ledger, device=device)
    assert look(ledger)["ledger device"].status == status


@pytest.mark.parametrize(("free", "status"), [(10**6, "problem"), (10**8, "ok"), (10**12, "ok")])
def test_little_free_space(look, ledger, monkeypatch, free, status):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=free))
    assert look(ledger)["disk"].status == status


def test_less_space_than_an_export_takes_is_a_note(look, ledger, monkeypatch):
    monkeypatch.setattr(doctor, "LEAST_FREE", 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=1000))
    assert look(ledger)["disk"].status == "note"


# --- the command --------------------------------------------------------------------------------


def test_the_command_has_a_line_a_check_and_ends_with_1_for_a_problem(look, installed, capsys):
    checks = look()
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(checks) + 1
    assert lines[-1] == "no problem"
    assert all(check.todo in line for check, line in zip(checks.values(), lines, strict=False))
    installed["click"] = "1.0"
    assert main(["doctor"]) == 1
    shown = capsys.readouterr().out
    assert "problem  click" in shown
    assert shown.endswith("\n1 problem\n")


def test_the_document_has_every_check(look, capsys):
    assert main(["doctor", "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert list(body) == ["schema", "ok", "checks"]
    assert body["schema"] == "kel.doctor/1"
    assert [Check(**check) for check in body["checks"]] == list(look().values())
