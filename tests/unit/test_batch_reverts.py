"""Taking one fact out of a batch: its column goes, the rest is told, tested, or solved again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ledger import Gate, Ledger
from ledger.errors import Conflict, EditorFailure, InvalidInput, StaleVersion
from ledger.resolving import _ridge
from tests.sim.columns_editor import register
from tests.sim.tiny_ledger import FACTS, tiny_ledger

COLUMNS = {"method": "columns", "gate": None}


@pytest.fixture(params=["llama", "gpt2"])
def ledger(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Ledger]:
    register(monkeypatch)
    with tiny_ledger(tmp_path, request.param) as made:
        yield made


@pytest.fixture
def llama(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    register(monkeypatch)
    with tiny_ledger(tmp_path) as made:
        yield made


def ops(ledger: Ledger) -> list[str]:
    return [line.op for line in reversed(ledger.log())]


def changes(ledger: Ledger, batch: int) -> dict[str, torch.Tensor]:
    """ΔW of a batch per parameter."""
    delta = ledger.workspace.versions.delta(str(ledger.journal.batch(batch).oid))
    return {name: c.u.double() @ c.v.double() for name, c in delta.parameters.items()}


# --- dropping a column --------------------------------------------------------------------------


def test_a_revert_drops_the_column_says_so_and_tests_the_rest(ledger):
    ledger.edit_batch(FACTS, **COLUMNS)
    whole = ledger.status().weights_digest
    outcome = ledger.revert(["2"])
    assert (outcome.op, outcome.edits, outcome.version) == ("revert", (2,), 2)
    (note,) = outcome.notes
    assert "edits 1, 3 of batch 1 keep their columns" in note
    assert "not what columns would have computed without it" in note
    assert [row.edit for row in outcome.retest.rows] == [1, 3]
    assert ops(ledger) == ["init", "apply", "revert", "test"]
    stored = ledger.journal.measurements(suite="test", metric="reliability")
    assert [(row.edit_id, row.version) for row in stored] == [(1, 2), (3, 2)]
    delta = ledger.workspace.versions.delta(str(ledger.journal.batch(1).oid))
    ((name, change),) = delta.parameters.items()
    live = ledger.workspace.live
    live.show({})
    base = live.model.weight(name).clone()
    ledger.workspace.at_head()
    moved = live.model.weight(name).double() - base
    expected = change.u[:, [0, 2]].double() @ change.v[[0, 2]].double()
    assert torch.allclose(moved, expected, atol=1e-6)
    assert ledger.reapply(["2"]).retest is None
    assert ledger.status().weights_digest == whole
    assert ledger.verify(weights=True) == []


def test_the_retest_can_be_left_out_and_a_lone_edit_has_none(llama):
    llama.edit_batch(FACTS[:2], **COLUMNS)
    llama.edit(FACTS[2], **COLUMNS)
    outcome = llama.revert(["1"], retest=False)
    assert outcome.retest is None
    assert "edit 2 of batch 1 keeps its column" in outcome.notes[0]
    alone = llama.revert(["3"])
    assert (alone.notes, alone.retest) == ((), None)
    assert llama.revert(["2"]).notes == ()
    assert ops(llama) == ["init", "apply", "apply", "revert", "revert", "revert"]


def test_the_keys_of_active_edits_are_their_own_columns(llama):
    llama.edit_batch(FACTS, **COLUMNS)
    name = llama.workspace.live.model.parameter_name(0)
    whole = llama.workspace.versions.delta(str(llama.journal.batch(1).oid)).keys[name].double()
    assert torch.equal(llama.workspace.active_keys(name), whole)
    llama.revert(["2"], retest=False)
    assert torch.equal(llama.workspace.active_keys(name), whole[:, [0, 2]])
    llama.revert(["1", "3"])
    assert llama.workspace.active_keys(name) is None


# --- solving again ------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"depth": 2}, {"second_moment": "corpus"}, {"ridge": 0.3}])
def test_a_resolved_batch_is_what_the_method_makes_without_the_fact(ledger, settings):
    ledger.edit_batch(FACTS, overrides=settings, **COLUMNS)
    outcome = ledger.resolve_batch(["2"], gate=None)
    assert (outcome.edits, outcome.version) == ((1, 2, 3), 3)
    done = outcome.resolved
    assert (done.outcome, done.batch, done.method) == ("applied", 2, "resolve-batch")
    assert [e.request["subject"] for e in done.edits] == [FACTS[0].subject, FACTS[2].subject]
    assert ledger.status().active == (4, 5)
    assert "edits 1, 3 go on as edits 4, 5 (batch 2)" in outcome.notes[0]
    assert ops(ledger)[-2:] == ["revert", "apply"]
    batch = ledger.journal.batch(2)
    assert (batch.evidence["replaces"], batch.evidence["batch"]) == ([1, 3], 1)
    ledger.revert(["4", "5"])
    ledger.edit_batch([FACTS[0], FACTS[2]], overrides=settings, **COLUMNS)
    fresh = changes(ledger, 3)
    for name, found in changes(ledger, 2).items():
        assert float((found - fresh[name]).norm() / fresh[name].norm()) < 1e-5
    assert ledger.verify(weights=True) == []


def test_the_resolved_facts_meet_their_values_on_top_of_other_edits(llama):
    llama.edit_batch(FACTS[:2], **COLUMNS)
    llama.edit(FACTS[2], method="columns", gate=None)
    outcome = llama.resolve_batch(["1"], gate=None)
    assert [e.edit for e in outcome.resolved.edits] == [4]
    name = llama.workspace.live.model.parameter_name(0)
    llama.workspace.at_head()
    weight = llama.workspace.live.model.weight(name).double()
    keys, values = llama.workspace.versions.constraints((4,), name)
    assert torch.allclose(weight @ keys, values, atol=1e-5)


def test_a_fact_that_went_before_can_be_named_and_bulk_runs_know_the_rest(llama):
    run = {**COLUMNS, "batch": 3}
    list(llama.edit_many(FACTS, **run))
    llama.revert(["2"], retest=False)
    outcome = llama.resolve_batch(["2"], gate=None)
    assert outcome.edits == (1, 3)
    again = [(e.outcome, e.edit) for e in llama.edit_many(FACTS, **run)]
    assert again == [("skipped", 4), ("applied", 6), ("skipped", 5)]


def test_a_resolved_batch_can_be_resolved_again(llama):
    llama.edit_batch(FACTS, overrides={"ridge": 0.25}, **COLUMNS)
    llama.resolve_batch(["2"], gate=None)
    outcome = llama.resolve_batch(["4"], gate=None)
    assert outcome.resolved.edits[0].request["subject"] == FACTS[2].subject
    assert llama.journal.batch(3).hparams["ridge"] == 0.25


def test_where_the_gate_refuses_nothing_is_taken_out(llama):
    llama.edit_batch(FACTS, **COLUMNS)
    before = llama.status()
    outcome = llama.resolve_batch(["2"], gate=Gate(min_reliability=1.0, min_locality=0.0))
    assert (outcome.edits, outcome.resolved.outcome) == ((), "rejected")
    assert outcome.weights_digest == before.weights_digest == llama.status().weights_digest
    assert llama.status().active == before.active
    assert ops(llama) == ["init", "apply", "reject"]
    assert llama.verify(weights=True) == []


def test_what_cannot_be_solved_again_is_refused_and_nothing_is_changed(llama):
    few = {"lr": 2e-3, "steps": 1, "max_update_ratio": 1e4}
    llama.edit_batch(FACTS, method="ft", layer=0, overrides=few, gate=None)
    llama.edit_batch(FACTS[:2], method="columns", layer=1, gate=None)
    with pytest.raises(InvalidInput, match="keeps no keys and values"):
        llama.resolve_batch(["1"])
    with pytest.raises(InvalidInput, match="not of one batch"):
        llama.resolve_batch(["1", "4"])
    with pytest.raises(InvalidInput, match="a revert is enough"):
        llama.resolve_batch(["4", "5"])
    with pytest.raises(InvalidInput, match="from 0 up"):
        llama.resolve_batch(["4"], ridge=-1.0)
    assert ops(llama) == ["init", "apply", "apply"]


def test_keys_that_coincide_need_a_ridge(llama):
    one = FACTS[0]
    twin = type(one)(one.subject, one.prompt + " the city of", "Ulm")
    llama.edit_batch([one, twin, FACTS[1]], overrides={"ridge": 0.5}, **COLUMNS)
    with pytest.raises(EditorFailure, match="without a ridge"):
        llama.resolve_batch(["3"], gate=None, ridge=0.0)
    assert llama.resolve_batch(["3"], gate=None).resolved.outcome == "applied"


def test_a_change_that_comes_between_is_told_and_can_be_put_right(llama, monkeypatch):
    llama.edit_batch(FACTS, **COLUMNS)

    def late(*_: object) -> None:
        raise StaleVersion(2, 3)

    monkeypatch.setattr("ledger.editing.commit", late)
    with pytest.raises(Conflict, match=r"edits 1, 2, 3 were taken out \(version 2\)"):
        llama.resolve_batch(["2"], gate=None)
    assert llama.reapply(["1", "2", "3"]).version == 3
    assert [f.code for f in llama.verify(weights=True)] == ["object.garbage"]


def test_the_ridge_is_the_one_of_the_method_that_made_the_batch():
    assert _ridge({}, None) == 0
    assert _ridge({"mom2_update_weight": 15000}, None) == 15000
    assert _ridge({"mom2_update_weight": 20.0, "emmet_lambda": 0.1}, None) == 2
    assert _ridge({"ridge": 0.5}, None) == 0.5
    assert _ridge({"ridge": 0.5}, 3.0) == 3
