"""A tiny base and a small ledger on it, made once; each test has a copy of the ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger import EditRequest, Ledger
from tests.contract.tiny import OTHER, REQUEST, tiny_llama
from tests.e2e.harness import SETTINGS, Kel, copied


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of random weights, 3 layers, float32."""
    folder = tmp_path_factory.mktemp("tiny") / "base"
    tiny_llama(folder)
    return folder


@pytest.fixture(scope="session")
def probes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two random probes, so that measuring costs nothing."""
    path = tmp_path_factory.mktemp("probes") / "probes.txt"
    path.write_text("The capital of Poland is\nThe old city\n", "utf-8")
    return path


@pytest.fixture(scope="session")
def template(tiny_base: Path, probes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Edits 1 and 2 active, 3 rejected, 4 reverted; version 3 is the tag `kept`."""
    folder = tmp_path_factory.mktemp("ledgers") / "template"
    third = EditRequest("Warsaw", "The capital of Poland is {}", "Paris")
    with Ledger.init(folder, base=str(tiny_base), probes=probes, author="ada") as ledger:
        ledger.edit(REQUEST, gate=None, **SETTINGS)
        ledger.edit(OTHER, gate=None, **SETTINGS)
        strict = {**SETTINGS, "overrides": {**SETTINGS["overrides"], "v_lr": 1e-6}}
        assert ledger.edit(third, **strict).outcome == "rejected"
        ledger.edit(third, gate=None, **SETTINGS)
        ledger.tag("kept")
        ledger.revert(["4"])
    return folder


@pytest.fixture
def ledger(template: Path, tmp_path: Path) -> Path:
    """A copy of the small ledger."""
    return copied(template, tmp_path / "ledger")


@pytest.fixture
def kel(ledger: Path, clean: None) -> Kel:
    """Commands on the copy."""
    return Kel(ledger)


@pytest.fixture
def bare(clean: None) -> Kel:
    """Commands on no ledger in particular."""
    return Kel()


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the caller's environment decides."""
    for name in ("KEL_LEDGER", "KEL_DEBUG", "HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KEL_AUTHOR", "ada")
