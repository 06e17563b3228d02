"""`kel methods` lists every registered method, with the defaults of the model at hand."""

from __future__ import annotations

import json

import pytest

from cli.main import main
from editors.hparams import lookup
from editors.methods import METHODS
from ledger.catalogue import _STORED, methods
from tests.sim.columns_editor import register
from tests.sim.tiny_ledger import tiny_ledger

NAMES = [editor.name for editor in METHODS]


def test_every_registered_method_is_listed_and_its_storage_is_known():
    views = methods(None)
    assert [view.name for view in views] == NAMES
    assert [view.paper for view in views] == [editor.paper for editor in METHODS]
    assert set(NAMES) <= set(_STORED)


def test_without_a_ledger_no_layer_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KEL_LEDGER", raising=False)
    assert main(["methods", "--json"]) == 0
    captured = capsys.readouterr()
    found = {item["name"]: item for item in json.loads(captured.out)["methods"]}
    assert list(found) == NAMES
    assert "not known" in captured.err
    assert not any({"layer", "layers"} & set(item["defaults"]) for item in found.values())
    assert found["ft"]["defaults"]["loss"] == "target_new"
    assert "loss" not in found["ft-m"]["defaults"]
    assert found["ft"]["removal"] == "exact for a whole batch only"
    assert main(["methods", "--ledger", str(tmp_path / "none")]) == 2


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_in_a_ledger_the_defaults_are_those_an_edit_would_use(tmp_path, monkeypatch, kind):
    register(monkeypatch)
    with tiny_ledger(tmp_path, kind) as ledger:
        found = {view.name: view for view in ledger.methods()}
        config = ledger.workspace.live.model.model.config
        for name in NAMES:
            values, source = lookup(name, config)
            assert found[name].source == source
            assert values.items() <= found[name].defaults.items()
    toy = found["columns"]
    assert (toy.stores, toy.defaults["ridge"]) == ("low rank or dense (kel show)", 0.0)
    assert "--set" in toy.source
