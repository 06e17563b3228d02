"""All active edits solved at once: every stored key is met, and history can go back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from editors.covariance import identity
from editors.delta import Dense, LowRank
from ledger import Gate, Ledger
from ledger.consolidating import joint
from ledger.errors import EditorFailure, InvalidInput
from tests.property.delta_ledger import apply
from tests.sim.columns_editor import register
from tests.sim.deployments import rome_like
from tests.sim.tiny_ledger import FACTS, tiny_ledger

COLUMNS = {"method": "columns", "gate": None}


@pytest.fixture(params=["llama", "gpt2"])
def ledger(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Ledger]:
    """Three facts, one by one; fact 2 is taken out, so that the others stand on what is gone."""
    register(monkeypatch)
    with tiny_ledger(tmp_path, request.param) as made:
        for fact in FACTS:
            made.edit(fact, **COLUMNS)
        made.revert(["2"])
        yield made


def ops(ledger: Ledger) -> list[str]:
    return [line.op for line in reversed(ledger.log())]


def missed(ledger: Ledger, edits: tuple[int, ...]) -> float:
    """The largest |W k - v| / |v| of the head over the stored constraints of some edits."""
    ledger.workspace.at_head()
    worst = 0.0
    for name in ledger.workspace.versions.plan(edits):
        keys, values = ledger.workspace.versions.constraints(edits, name)
        found = ledger.workspace.live.model.weight(name).double() @ keys
        worst = max(worst, float(((found - values).norm(dim=0) / values.norm(dim=0)).max()))
    return worst


def test_after_a_revert_the_keys_of_the_rest_are_met_again(ledger):
    assert missed(ledger, (1, 3)) > 1e-3
    (outcome,) = ledger.resolve_active(gate=None)
    assert (outcome.edits, outcome.resolved.outcome) == ((1, 3), "applied")
    assert ledger.status().active == (4, 5)
    assert missed(ledger, (4, 5)) < 1e-4
    assert missed(ledger, (1, 3)) < 1e-4
    assert ops(ledger)[-2:] == ["revert", "apply"]
    assert ledger.journal.batch(4).evidence["replaces"] == [1, 3]
    assert ledger.verify(weights=True) == []


def test_a_dry_run_and_a_refusal_change_nothing(ledger):
    before = ledger.status()
    (dry,) = ledger.resolve_active(gate=None, dry_run=True)
    assert (dry.edits, dry.resolved.outcome) == ((), "dry-run")
    assert "reliability" in dry.resolved.metrics
    assert ledger.status() == before
    (refused,) = ledger.resolve_active(gate=Gate(min_reliability=1.0, min_locality=1.0))
    assert (refused.edits, refused.resolved.outcome) == ((), "rejected")
    assert ledger.status().weights_digest == before.weights_digest
    assert ops(ledger)[-1] == "reject"


def test_one_undo_takes_it_back_and_another_brings_it_again(ledger):
    before = ledger.status()
    (outcome,) = ledger.resolve_active(gate=None)
    assert outcome.notes[-1] == "kel undo takes it back"
    after = ledger.status()
    undone = ledger.undo()
    assert (undone.op, undone.edits, undone.back) == ("swap", (1, 3, 4, 5), (1, 3))
    assert ledger.status().weights_digest == undone.weights_digest == before.weights_digest
    assert ledger.status().active == (1, 3)
    again = ledger.undo()
    assert (again.op, again.back) == ("swap", (4, 5))
    assert ledger.status().weights_digest == after.weights_digest
    assert ops(ledger)[-4:] == ["revert", "apply", "swap", "swap"]
    assert ledger.verify(weights=True) == []
    assert [row.edit for row in ledger.interference().rows]


def test_an_undo_takes_all_batches_of_the_last_resolve_back_and_none_of_the_one_before(ledger):
    ledger.edit(FACTS[1], method="columns", overrides={"depth": 2}, gate=None)
    states = [ledger.status()]
    for _ in range(2):
        ledger.resolve_active(gate=None)
        states.append(ledger.status())
    assert [state.active for state in states] == [(1, 3, 4), (5, 6, 7), (8, 9, 10)]
    ledger.undo()
    assert ledger.status().weights_digest == states[1].weights_digest
    assert ledger.status().active == (5, 6, 7)
    ledger.revert(["5"])
    assert ledger.undo().op == "reapply"  # what came after it is undone by itself


def test_the_rest_of_a_batch_that_was_solved_again_is_taken_back_alone(ledger):
    ledger.edit_batch([replace(fact, target_new="Oslo") for fact in FACTS], **COLUMNS)
    before = ledger.status()
    ledger.resolve_active(gate=None)
    solved = ledger.status()
    ledger.resolve_batch([str(solved.active[0])], gate=None)
    assert ledger.status().active != solved.active
    ledger.undo()
    assert ledger.status().weights_digest == solved.weights_digest
    assert ledger.status().active == solved.active != before.active


def test_a_revert_and_an_edit_after_it_are_no_resolve(ledger):
    ledger.revert(["3"])
    ledger.edit(replace(FACTS[2], target_new="Oslo"), **COLUMNS)
    assert (ledger.undo().op, ledger.status().active) == ("revert", (1,))


def test_a_fact_that_was_edited_again_is_left_out_and_the_rest_keeps_its_place(ledger):
    ledger.edit(replace(FACTS[0], target_new="Warsaw, Poland"), **COLUMNS)
    name = ledger.workspace.live.model.parameter_name(1)
    shape = tuple(ledger.workspace.live.model.weight(name).shape)
    apply(ledger, {name: Dense(torch.full(shape, 1e-3))})
    (outcome,) = ledger.resolve_active(gate=None)
    assert outcome.edits == (1, 3, 4)
    assert [e.request["target_new"] for e in outcome.resolved.edits] == [
        FACTS[2].target_new,
        "Warsaw, Poland",
    ]
    assert any("edited again are left out: edit 1" in note for note in outcome.notes)
    assert ledger.status().active == (5, 6, 7)
    assert [fact.edit for fact in ledger.facts()] == [5, 6, 7]


def test_edits_of_other_parameters_are_batches_of_their_own(ledger):
    ledger.edit(FACTS[1], method="columns", overrides={"depth": 2}, gate=None)
    outcomes = ledger.resolve_active(gate=None)
    assert [outcome.edits for outcome in outcomes] == [(1, 3), (4,)]
    assert all(outcome.resolved.outcome == "applied" for outcome in outcomes)


def test_without_keys_there_is_nothing_to_solve(tmp_path):
    with tiny_ledger(tmp_path) as ledger:
        name = ledger.workspace.live.model.parameter_name(0)
        shape = tuple(ledger.workspace.live.model.weight(name).shape)
        apply(ledger, {name: rome_like(1, shape)[0]})
        with pytest.raises(InvalidInput, match="keeps keys and values"):
            ledger.resolve_active()
        with pytest.raises(InvalidInput, match="from 0 up"):
            ledger.resolve_active(ridge=float("nan"))


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_the_joint_solution_is_the_least_change_that_meets_all():
    weight, keys, values = random(6, 20), random(20, 5), random(6, 5) * 2
    found = joint(weight, keys, values, identity(20), 0.0)
    change = found.change.u.double() @ found.change.v.double()
    assert torch.allclose((weight + change) @ keys, values, atol=1e-5)
    least = (values - weight @ keys) @ torch.linalg.pinv(keys)
    assert torch.allclose(change, least, atol=1e-5)
    assert found.carried == ()


def test_keys_that_are_one_have_the_newest_value():
    weight, keys, values = random(6, 20), random(20, 4), random(6, 4)
    keys[:, 1] = keys[:, 3]
    found = joint(weight, keys, values, identity(20), 0.0)
    assert found.carried == (1,)
    assert torch.equal(found.values[:, 1], values[:, 3])
    change = found.change.u.double() @ found.change.v.double()
    assert torch.allclose((weight + change) @ keys, found.values, atol=1e-5)
    assert isinstance(found.change, LowRank)
    assert not found.change.v[1].any()


def test_keys_that_nearly_coincide_need_a_ridge():
    weight, keys, values = random(6, 20), random(20, 3), random(6, 3)
    keys[:, 2] = keys[:, :2].sum(dim=1) * (1 + 1e-14)
    with pytest.raises(EditorFailure, match="at once"):
        joint(weight, keys, values, identity(20), 0.0)
    joint(weight, keys, values, identity(20), 0.1)
