"""Branches on a real ledger: switches to the very bits, merges that are measured and taken back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from editors.delta import Dense
from ledger import EditRequest, Gate, Ledger, chain
from ledger.consolidating import consolidate
from ledger.errors import (
    ChainBroken,
    Conflict,
    EditorFailure,
    InvalidInput,
    StaleVersion,
    UnknownRevision,
)
from ledger.fields import stored
from ledger.records import EditRecord, MeasurementRecord, Rows
from tests.property.delta_ledger import apply
from tests.sim.columns_editor import register
from tests.sim.places import ask, copied, unguard
from tests.sim.tiny_ledger import FACTS, tiny_ledger

COLUMNS = {"method": "columns", "gate": None}
OTHER = replace(FACTS[0], target_new="Warsaw, Poland")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fact 1 (edit 1) on main and `trial`; there fact 2 (edit 2), on main fact 3 (edit 3)."""
    folder = tmp_path_factory.mktemp("branches")
    with pytest.MonkeyPatch.context() as patch, tiny_ledger(folder) as ledger:
        register(patch)
        ledger.edit(FACTS[0], **COLUMNS)
        ledger.branch("trial")
        ledger.switch("trial")
        ledger.edit(FACTS[1], **COLUMNS)
        ledger.switch("main")
        ledger.edit(FACTS[2], **COLUMNS)
    return folder / "ledger"


@pytest.fixture
def ledger(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    register(monkeypatch)
    copied(made, tmp_path / "ledger")
    with Ledger.open(tmp_path / "ledger", author="ann") as opened:
        yield opened


def digest(ledger: Ledger, version: int | None = None) -> str:
    entry = ledger.journal.last_entry() if version is None else ledger.journal.entry_of(version)
    return entry.weights_digest


def check(ledger: Ledger) -> None:
    """Every row, every object, every version's fold; and the live model is at the head."""
    assert ledger.verify(weights=True) == []
    head = ledger.journal.history().head
    assert all(ledger.replay(f"v{v}").matches for v in (0, head))
    plan = ledger.workspace.versions.plan(ledger.journal.history().active())
    assert ledger.workspace.live.show(plan) == dict(ledger.journal.entry_of(head).tensors)


def test_a_switch_leads_to_the_bits_of_the_branch(ledger):
    status = ledger.status()
    assert (status.branch, status.version, status.active) == ("main", 5, (1, 3))
    assert (status.reverted, status.elsewhere) == ((), (2,))
    assert status.branches == {"main": 5, "trial": 3}
    view = ledger.switch("trial", note="look")
    assert (view.branch, view.left, view.version, view.like) == ("trial", "main", 6, 3)
    assert (view.added, view.removed) == ((2,), (3,))
    assert view.weights_digest == digest(ledger) == digest(ledger, 3)
    assert [line.branch for line in ledger.log()][:2] == ["trial", "main"]
    assert [line.op for line in ledger.log(branch="trial")] == ["switch", "apply", "switch"]
    assert len(ledger.log(1, "trial")) == 1
    check(ledger)


def test_a_branch_is_named_wherever_a_version_is(ledger):
    assert [ledger.resolve(s) for s in ("trial", "trial~1", "trial~2", "main~1", "HEAD~2")] == [
        *(3, 2, 1, 4, 1),
    ]
    assert [fact.edit for fact in ledger.facts("trial")] == [1, 2]
    assert ledger.diff("main", "trial").added == (2,)
    assert ledger.ask("The capital of", at="trial").version == 3
    trial, main = ledger.branches()[1], ledger.branches()[0]
    assert (trial.name, trial.version, trial.common, trial.ahead, trial.behind) == (
        *("trial", 3, 1, (2,), (3,)),
    )
    assert (main.current, main.active) == (True, (1, 3))


@pytest.mark.parametrize(
    ("verb", "args", "error", "says"),
    [
        ("branch", ("trial",), Conflict, "already"),
        ("branch", ("main",), Conflict, "already"),
        ("branch", ("v3",), InvalidInput, "cannot be a branch"),
        ("branch", ("x y",), InvalidInput, "cannot be a branch"),
        ("branch", ("kept",), Conflict, "a tag kept"),
        ("branch", ("new", "v99"), UnknownRevision, "v99"),
        ("tag", ("trial",), Conflict, "a branch trial"),
        ("close_branch", ("main",), Conflict, "current"),
        ("close_branch", ("trail",), UnknownRevision, "Did you mean trial"),
        ("switch", ("main",), Conflict, "current branch already"),
        ("switch", ("kept",), UnknownRevision, "no branch 'kept'"),
        ("merge", ("main",), InvalidInput, "is the current branch"),
        ("merge", ("nowhere",), UnknownRevision, "no branch 'nowhere'"),
        ("log", (None, "nowhere"), UnknownRevision, "no branch 'nowhere'"),
    ],
)
def test_what_cannot_be_done_is_refused_and_records_nothing(ledger, verb, args, error, says):
    ledger.tag("kept", "v1")
    before = ledger.status()
    with pytest.raises(error, match=says):
        getattr(ledger, verb)(*args)
    assert ledger.status() == before


def test_a_merge_is_the_fold_of_the_united_edits_in_their_first_places(ledger):
    view = ledger.merge("trial", gate=None, threshold=99)
    assert (view.outcome, view.version, view.common, view.theirs) == ("merged", 6, 1, 3)
    assert (view.added, view.removed, view.left_out) == ((2,), (), ())
    assert [row.edit for row in view.rows] == [2]
    assert ledger.status().active == (1, 2, 3)
    assert digest(ledger) == view.weights_digest
    entry = ledger.journal.last_entry()
    assert (entry.op, entry.edits) == ("merge", (2,))
    assert {m.suite for m in ledger.journal.measurements(entry_seq=entry.seq)} >= {"test"}
    check(ledger)
    assert ledger.merge("trial").outcome == "up to date"
    ledger.switch("trial")
    there = ledger.merge("main", gate=None, threshold=99)
    assert there.weights_digest == view.weights_digest
    assert (there.added, there.common) == ((3,), 3)


def test_a_dry_run_and_a_refusal_record_nothing(ledger):
    before = ledger.status()
    tried = ledger.merge("trial", threshold=99, dry_run=True)
    refused = ledger.merge("trial", threshold=99, gate=Gate(min_reliability=1.0))
    assert (tried.outcome, refused.outcome) == ("dry-run", "rejected")
    assert tried.metrics == refused.metrics
    assert "reliability" in refused.reasons[0]
    assert ledger.status() == before
    check(ledger)


def test_interference_above_the_limit_is_asked(ledger):
    before = ledger.status()
    view = ledger.merge("trial", threshold=0.0, gate=None)
    assert view.outcome == "conflict"
    assert {row.edit for row in view.moved} == {1, 2, 3}
    drift = {row.edit: row.drift for row in view.moved}
    assert [share.edit for row in view.moved for share in row.by if row.edit == 2] == [3]
    assert ledger.status() == before
    limit = max(drift.values())
    assert ledger.merge("trial", threshold=limit, gate=None, dry_run=True).moved == ()
    done = ledger.merge("trial", threshold=0.0, gate=None, allow_interference=True)
    assert done.outcome == "merged"
    found = {row.edit: row.drift for row in ledger.interference().rows}
    assert found[3] == pytest.approx(drift[3], rel=1e-5)  # nothing else came since it was made


def test_a_fact_that_both_changed_is_asked_and_decided(ledger):
    ledger.edit(OTHER, **COLUMNS)
    ledger.switch("trial")
    ledger.edit(replace(FACTS[0], target_new="Ulm"), **COLUMNS)
    ledger.switch("main")
    before, free = ledger.status(), {"gate": None, "threshold": 99}
    view = ledger.merge("trial", **free)
    (asked,) = view.conflicts
    assert (view.outcome, asked.ours, asked.theirs, asked.chosen) == ("conflict", 4, 5, None)
    assert (asked.ours_object, asked.theirs_object, asked.before) == (
        *("Warsaw, Poland", "Ulm", FACTS[0].target_new),
    )
    assert ledger.status() == before
    with pytest.raises(InvalidInput, match="in no conflict"):
        ledger.merge("trial", take=["2"], **free)
    with pytest.raises(InvalidInput, match="ours or theirs"):
        ledger.merge("trial", rest="both", **free)
    assert ledger.merge("trial", take=["4"], dry_run=True, **free).left_out == (5,)
    done = ledger.merge("trial", take=["5"], **free)
    assert (done.outcome, done.added, done.removed) == ("merged", (2, 5), (4,))
    assert {fact.edit for fact in ledger.facts()} == {2, 3, 5}
    check(ledger)


def test_a_merge_of_which_nothing_is_taken_is_a_merge(ledger):
    ledger.edit(replace(FACTS[1], target_new="Ulm"), **COLUMNS)
    digest_before, free = digest(ledger), {"threshold": 99}
    view = ledger.merge("trial", rest="ours", dry_run=True, **free)
    assert (view.outcome, view.added, view.removed, view.left_out) == ("dry-run", (), (), (2,))
    done = ledger.merge("trial", rest="ours", **free)
    assert (done.outcome, done.weights_digest) == ("merged", digest_before)
    assert "reliability" not in done.metrics
    assert ledger.journal.last_entry().edits == ()
    assert ledger.merge("trial").outcome == "up to date"
    check(ledger)


def test_a_part_of_a_dense_batch_is_not_merged(ledger):
    ledger.switch("trial")
    name = ledger.workspace.live.model.parameter_name(0)
    shape = tuple(ledger.workspace.live.model.weight(name).shape)
    facts = [EditRecord(component=n, subject=f.subject, prompt=f.prompt, target_new=t)
             for n, (f, t) in enumerate([(FACTS[2], "Bonn"), (FACTS[1], "Lyon")])]  # fmt: skip
    apply(ledger, {name: Dense(torch.full(shape, 1e-3))}, stated=facts)
    ledger.switch("main")
    ledger.edit(replace(FACTS[0], subject="Grace Hopper"), **COLUMNS)
    before = ledger.status()
    with pytest.raises(Conflict, match="share one dense delta"):
        ledger.merge("trial", rest="ours", gate=None, threshold=99)
    assert ledger.status() == before
    view = ledger.merge("trial", rest="theirs", gate=None, threshold=99)
    assert (view.added, view.removed) == ((2, 4, 5), (3,))
    assert "2 edits have no key" in view.notes[0]
    check(ledger)


def test_what_a_branch_refused_is_not_skipped_on_another(ledger):
    strict = {"method": "columns", "gate": Gate(min_reliability=1.0)}
    request = replace(FACTS[0], subject="Grace Hopper")

    def outcome() -> str:
        return next(ledger.edit_many([request], **strict)).outcome

    assert [outcome(), outcome()] == ["rejected", "skipped"]
    ledger.switch("trial")
    assert [outcome(), outcome()] == ["rejected", "skipped"]


def test_a_revert_on_one_side_is_respected(ledger):
    ledger.revert(["1"])
    view = ledger.merge("trial", gate=None, threshold=99)
    assert (view.added, view.removed) == ((2,), ())
    assert ledger.status().active == (2, 3)
    ledger.undo()
    ledger.reapply(["1"])
    ledger.switch("trial")
    ledger.revert(["1"])
    ledger.switch("main")
    assert ledger.merge("trial", gate=None, threshold=99).removed == (1,)
    assert ledger.status().active == (2, 3)
    assert ledger.status().reverted == (1,)


def test_a_merge_can_be_solved_again_at_once(ledger):
    tried = ledger.merge("trial", resolve=True, gate=None, dry_run=True)
    assert tried.outcome == "dry-run"
    assert [o.resolved.outcome for o in tried.resolved] == ["dry-run"]
    done = ledger.merge("trial", resolve=True, gate=None)
    assert done.outcome == "merged"
    assert done.version == ledger.status().version == 8
    assert ledger.status().active == (4, 5, 6)
    assert [line.op for line in ledger.log(3)] == ["apply", "revert", "merge"]
    assert "--at v5" in done.notes[-1]
    predicted = tried.resolved[0].resolved.metrics
    assert done.metrics["reliability"] == predicted["reliability"]
    check(ledger)


def test_a_re_solve_that_the_gate_refuses_records_its_batch_and_no_merge(ledger):
    before = digest(ledger)
    view = ledger.merge("trial", resolve=True, gate=Gate(min_reliability=1.0))
    assert (view.outcome, view.version, view.weights_digest) == ("rejected", 5, before)
    assert "reliability" in view.reasons[0]
    assert ledger.log(1)[0].op == "reject"
    assert ledger.status().active == (1, 3)
    check(ledger)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, EditorFailure])
def test_a_re_solve_that_ends_early_takes_the_merge_back(ledger, monkeypatch, stop):
    """As if a second batch had failed, after the first was recorded."""
    before = digest(ledger)

    def cut_short(*given: object, **options: object) -> Iterator[object]:
        yield from consolidate(*given, **options)
        raise stop

    monkeypatch.setattr("ledger.merging.consolidate", cut_short)
    with pytest.raises(stop):
        ledger.merge("trial", resolve=True, gate=None)
    assert [line.op for line in ledger.log(4)] == ["merge", "apply", "revert", "merge"]
    assert ledger.log(1)[0].payload["undo"]
    assert (digest(ledger), ledger.status().active) == (before, (1, 3))
    assert ledger.branches()[1].common == 1
    check(ledger)


def test_a_re_solve_leaves_alone_what_somebody_else_did_meanwhile(ledger, monkeypatch):
    def slow(*given: object, **options: object) -> Iterator[object]:
        with Ledger.open(ledger.folder.root) as other:
            other.revert(["3"])
        yield from consolidate(*given, **options)

    monkeypatch.setattr("ledger.merging.consolidate", slow)
    with pytest.raises(StaleVersion):
        ledger.merge("trial", resolve=True, gate=None)
    assert [line.op for line in ledger.log(2)] == ["revert", "apply"]
    check(ledger)


def test_a_part_of_a_batch_keeps_its_columns_and_that_is_said(ledger):
    ledger.edit(replace(FACTS[1], subject="Grace Hopper"), **COLUMNS)
    ledger.switch("trial")
    pair = [replace(FACTS[1], subject=name, target_new="Ulm") for name in ("Grace Hopper", "Bo")]
    assert ledger.edit_batch(pair, **COLUMNS).batch == 5
    ledger.switch("main")
    view = ledger.merge("trial", rest="ours", gate=None, threshold=99)
    assert (view.added, view.left_out) == ((2, 6), (5,))
    assert "edit 6 of batch 5 keeps its column" in view.notes[0]
    check(ledger)


def test_undo_takes_back_a_switch_a_merge_and_the_name_of_a_branch(ledger):
    start = digest(ledger)
    ledger.merge("trial", gate=None, threshold=99)
    merged = digest(ledger)
    assert [ledger.undo().op for _ in range(3)] == ["merge"] * 3
    assert digest(ledger) == start
    again = ledger.merge("trial", gate=None, threshold=99)
    assert (again.common, again.weights_digest) == (1, merged)
    ledger.switch("trial")
    back = ledger.undo()
    assert (back.op, back.branch, back.weights_digest) == ("switch", "main", merged)
    assert ledger.status().branch == "main"
    ledger.close_branch("trial")
    with pytest.raises(UnknownRevision):
        ledger.resolve("trial")
    assert ledger.undo().op == "branch"
    assert ledger.resolve("trial") == 11
    ledger.branch("new", "base")
    ledger.undo()
    assert [row.name for row in ledger.branches()] == ["main", "trial"]
    check(ledger)


def test_an_edit_of_another_branch_is_brought_here_by_reapply(ledger):
    ledger.reapply(["2"])
    assert ledger.status().active == (1, 2, 3)
    assert ledger.merge("trial").outcome == "merged"
    assert ledger.status().active == (1, 2, 3)
    assert ledger.branches()[1].common == 3


def test_what_was_computed_before_a_switch_is_stale(ledger):
    with Ledger.open(ledger.folder.root) as other:
        other.switch("trial")
    with pytest.raises(StaleVersion):
        ledger.journal.append(
            "revert", expected_head=5, edits=(1,), weights_digest="0" * 64, tensors={}
        )


def test_a_bulk_edit_stays_on_its_branch(ledger):
    def requests() -> Iterator[EditRequest]:
        yield FACTS[1]
        with Ledger.open(ledger.folder.root) as other:
            other.switch("trial")
        yield FACTS[2]

    done = ledger.edit_many(requests(), **COLUMNS)
    assert next(done).edit == 4
    with pytest.raises(Conflict, match="was main and is trial by now"):
        next(done)
    assert ledger.status().active == (1, 2)


def test_a_switch_that_leads_elsewhere_is_found(ledger):
    """Every hash is right, and the entry lies."""
    entry = ledger.journal.entry_of(4)
    forged = replace(entry, payload={"name": "main", "version": 0})
    forged = replace(forged, hash=chain.entry_hash(stored(forged)))
    after = ledger.journal.entry_of(5)
    after = replace(after, prev_hash=forged.hash)
    after = replace(after, hash=chain.entry_hash(stored(after)))
    ledger.close()
    folder = ledger.folder.root
    unguard(folder, "entry")
    sql = "UPDATE entry SET payload = ?, prev_hash = ?, hash = ? WHERE seq = ?"
    for row in map(stored, (forged, after)):
        ask(folder, sql, *(row[name] for name in ("payload", "prev_hash", "hash", "seq")))
    with Ledger.open(folder) as again:
        found = {(f.severity, f.code): f.text for f in again.verify()}
        assert found.keys() == {("error", "chain.version"), ("warning", "trigger.missing")}
        assert "cannot switch" in found[("error", "chain.version")]
        with pytest.raises(ChainBroken):
            again.journal.history()


def test_a_break_is_looked_for_along_the_branch(ledger, monkeypatch):
    from ledger import bisect

    def answer(_: object, version: int) -> str:
        return "bad" if 2 in ledger.journal.history().active(version) else "good"

    monkeypatch.setattr(bisect, "_answer", lambda w, _, version: answer(w, version))
    ledger.switch("trial")
    view = ledger.bisect("x", good="base", bad="HEAD", expect="good")
    assert (view.last_good, view.first_bad, view.op, view.edits) == (2, 3, "apply", (2,))
    assert {step.version for step in view.steps} <= {0, 1, 2, 3, 6}
    assert view.monotone
    with pytest.raises(InvalidInput, match="version 1 is the newest that both came from"):
        ledger.bisect("x", good="main", bad="trial", expect="good")


def test_a_fact_is_what_its_branch_last_measured_and_was_edited_again_on_its_own_branch(ledger):
    ledger.edit(OTHER, **COLUMNS)
    ledger.switch("trial")
    ledger.edit(replace(FACTS[0], target_new="Ulm"), **COLUMNS)
    lines = {line.edits: line.facts[0] for line in ledger.log() if line.op == "apply"}
    assert lines[(4,)].endswith("(edited again, before: edit 1)")
    assert lines[(5,)].endswith("(edited again, before: edit 1)")
    ledger.journal.append("test", rows=measured(2, 4, 0.25))
    assert {f.edit: f.reliability for f in ledger.facts()}[2] != 0.25


def measured(edit: int, version: int, value: float) -> Rows:
    row = MeasurementRecord(
        version=version, edit_id=edit, suite="test", metric="reliability", value=value, protocol="p"
    )
    return Rows(measurements=(row,))
