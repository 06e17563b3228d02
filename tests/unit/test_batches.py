"""A batch is one call of a method: one object, one entry, one row a fact, all or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from editors.errors import InvalidRequest
from editors.requests import EditRequest
from ledger import Gate, Ledger
from ledger.bulk import chunks
from ledger.demo.world import build_world
from ledger.errors import Conflict, EditorFailure, InvalidInput
from ledger.measuring import Examiner
from tests.sim.columns_editor import register
from tests.sim.tiny_ledger import FACTS, tiny_ledger

FT = {"lr": 2e-3, "steps": 2, "max_update_ratio": 1e4}
NEVER = Gate(min_reliability=1.0, min_locality=0.0)


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


# --- what is recorded ---------------------------------------------------------------------------


def test_a_batch_of_columns_is_one_object_one_entry_and_one_row_a_fact(ledger):
    done = ledger.edit_batch(FACTS, method="columns", overrides={"depth": 2}, gate=None, note="w")
    assert (done.outcome, done.version, done.batch, done.layers) == ("applied", 1, 1, (0, 1))
    assert [e.edit for e in done.edits] == [1, 2, 3]
    assert [e.request["subject"] for e in done.edits] == [f.subject for f in FACTS]
    rows = ledger.journal.edits_of_batch(1)
    assert [row.component for row in rows] == [0, 1, 2]
    assert len({row.hash for row in rows}) == 3
    (entry,) = ledger.journal.entries(after=1)
    assert (entry.op, entry.edits, entry.version) == ("apply", (1, 2, 3), 1)
    batch = ledger.journal.batch(1)
    delta = ledger.workspace.versions.delta(batch.oid)
    assert [change.u.shape[1] for change in delta.parameters.values()] == [3, 3]
    assert (batch.layers, batch.note, dict(batch.evidence)) == ((0, 1), "w", {"solved": 3})
    assert ledger.status().active == (1, 2, 3)
    assert ledger.verify(weights=True) == []


def test_own_numbers_belong_to_the_edits_and_shared_ones_to_the_batch(llama):
    done = llama.edit_batch(FACTS, method="columns", gate=None)
    rows = llama.journal.measurements(version=1)
    own = {row.edit_id: row.metric for row in rows if row.suite == "edit"}
    assert set(own) == {1, 2, 3}
    shared = {row.metric: row.value for row in rows if row.edit_id is None}
    assert {row.suite for row in rows if row.edit_id is None} == {"batch"}
    assert set(shared) == {"locality_random", "locality_random_free", "update_ratio", "seconds"}
    assert not any(row.metric in shared for row in rows if row.suite == "edit")
    assert "generalization" in done.edits[0].metrics
    assert "generalization" not in done.edits[1].metrics
    assert done.edits[1].metrics["locality"] == done.metrics["locality"]
    assert all(shared.items() <= edit.metrics.items() for edit in done.edits)
    reliable = [edit.metrics["reliability"] for edit in done.edits]
    assert done.metrics["reliability"] == pytest.approx(sum(reliable) / 3)


def test_show_tells_one_fact_of_a_batch_and_its_siblings(llama):
    done = llama.edit_batch(FACTS, method="columns", gate=None)
    view = llama.show("2")
    assert (view.batch, view.delta["rank"]) == (1, 3)
    assert view.details["before"] == done.edits[1].before
    assert view.details["after"] == done.edits[1].after
    assert view.details["batch"]["edits"] == [1, 2, 3]
    assert view.details["batch"]["metrics"]["update_ratio"] == done.metrics["update_ratio"]
    llama.edit(FACTS[0], method="ft", overrides=FT, gate=None)
    assert "batch" not in llama.show("4").details


def test_a_batch_of_one_is_recorded_as_an_edit(llama):
    done = llama.edit_batch(FACTS[:1], method="columns", gate=None)
    assert {row.suite for row in llama.journal.measurements(version=1)} == {"edit"}
    (entry,) = llama.journal.entries(after=1)
    assert entry.payload["before"] == done.edits[0].before
    assert isinstance(entry.payload["fingerprint"], str)
    assert "locality_random" in llama.show("1").metrics


def test_the_random_probes_and_the_base_are_asked_once_for_a_batch(llama, monkeypatch):
    asked: list[str] = []
    for name in ("randoms", "edits"):
        whole = getattr(Examiner, name)
        monkeypatch.setattr(
            Examiner, name, lambda *a, whole=whole, name=name: asked.append(name) or whole(*a)
        )
    llama.edit_batch(FACTS, method="columns", gate=None)
    assert sorted(asked) == ["edits", "randoms"]


# --- dense --------------------------------------------------------------------------------------


def test_a_dense_batch_belongs_to_all_its_facts_and_is_reverted_whole(ledger):
    clean = ledger.status().weights_digest
    done = ledger.edit_batch(FACTS, method="ft", layer=0, overrides=FT, gate=None)
    assert (done.outcome, done.layers) == ("applied", (0,))
    assert ledger.show("2").delta["rank"] is None
    with pytest.raises(Conflict, match="share one dense delta"):
        ledger.revert(["2"])
    assert ledger.status().active == (1, 2, 3)
    outcome = ledger.revert(["3", "1", "2"])
    assert (outcome.notes, outcome.retest) == ((), None)
    assert ledger.status().weights_digest == clean
    assert ledger.reapply(["1", "2", "3"]).version == 3
    assert ledger.verify(weights=True) == []


# --- all or nothing -----------------------------------------------------------------------------


def test_the_gate_judges_the_means_and_refuses_a_batch_as_a_whole(llama):
    before = llama.status().weights_digest
    done = llama.edit_batch(FACTS, method="columns", gate=NEVER)
    assert (done.outcome, done.version) == ("rejected", 0)
    assert done.reasons[0].startswith("mean reliability ")
    assert [e.outcome for e in done.edits] == ["rejected"] * 3
    assert llama.status().rejected == (1, 2, 3)
    assert llama.status().weights_digest == before
    assert ops(llama) == ["init", "reject"]
    assert llama.show("2").rejected
    assert llama.verify(weights=True) == []


def test_a_dry_run_of_a_batch_records_nothing(llama):
    done = llama.edit_batch(FACTS, method="columns", gate=None, dry_run=True)
    assert (done.outcome, done.batch) == ("dry-run", None)
    assert [e.edit for e in done.edits] == [None] * 3
    assert ops(llama) == ["init"]


def test_what_the_model_says_already_is_left_out_and_told(llama, monkeypatch):
    monkeypatch.setattr("ledger.editing.states", lambda request, _: request == FACTS[1])
    done = llama.edit_batch(FACTS, method="columns", gate=None)
    assert [e.outcome for e in done.edits] == ["applied", "no-op", "applied"]
    assert [e.edit for e in done.edits] == [1, None, 2]
    assert [row.component for row in llama.journal.edits_of_batch(1)] == [0, 1]
    assert llama.edit_batch(FACTS[1:2], method="columns").outcome == "no-op"
    assert ops(llama) == ["init", "apply"]


@pytest.mark.parametrize("batch", [2, 3])
def test_a_method_for_one_fact_refuses_a_batch_in_its_own_words(llama, batch):
    overrides = {"second_moment": "identity"}
    with pytest.raises(InvalidRequest, match=f"rome edits one fact per call, {batch} were given"):
        list(llama.edit_many(FACTS, method="rome", overrides=overrides, batch=batch))
    assert ops(llama) == ["init"]


def test_columns_that_belong_to_no_fact_are_refused(llama):
    with pytest.raises(EditorFailure, match="was given 3 facts"):
        llama.edit_batch(FACTS, method="columns", overrides={"columns": 1}, gate=None)
    assert ops(llama) == ["init"]


def test_two_answers_to_one_prompt_and_no_request_are_no_batch(llama):
    other = EditRequest(FACTS[0].subject, FACTS[0].prompt, "Ulm")
    with pytest.raises(InvalidInput, match="requests 1 and 3 of the batch have the same prompt"):
        llama.edit_batch([*FACTS[:2], other], method="columns")
    with pytest.raises(InvalidInput, match="at least one request"):
        llama.edit_batch([], method="columns")
    with pytest.raises(InvalidInput, match="a batch of 0"):
        next(llama.edit_many(FACTS, batch=0))


# --- many ---------------------------------------------------------------------------------------


def test_many_requests_are_edited_in_batches_and_a_run_can_be_repeated(llama):
    run = {"method": "columns", "gate": None, "batch": 2}
    first = list(llama.edit_many(FACTS[:2], **run))
    assert [e.outcome for e in first] == ["applied", "applied"]
    again = list(llama.edit_many(FACTS, **run))
    assert [(e.outcome, e.edit) for e in again] == [("skipped", 1), ("skipped", 2), ("applied", 3)]
    assert [e.request["subject"] for e in again] == [f.subject for f in FACTS]
    assert ops(llama) == ["init", "apply", "apply"]
    llama.revert(["1"], retest=False)
    assert [e.outcome for e in llama.edit_many(FACTS[:2], **run)] == ["applied", "skipped"]


def test_a_refused_batch_is_not_tried_again_as_a_batch_but_fact_by_fact(llama):
    run = {"method": "columns", "gate": NEVER}
    assert [e.outcome for e in llama.edit_many(FACTS, batch=3, **run)] == ["rejected"] * 3
    assert [e.outcome for e in llama.edit_many(FACTS, batch=2, **run)] == ["skipped"] * 3
    assert [e.outcome for e in llama.edit_many(FACTS[:1], batch=1, **run)] == ["rejected"]
    assert [e.outcome for e in llama.edit_many(FACTS[:1], batch=1, **run)] == ["skipped"]
    assert [
        e.outcome for e in llama.edit_many(FACTS[:2], batch=2, method="columns", gate=None)
    ] == ["applied"] * 2


def test_chunks_keep_the_order_give_known_facts_no_room_and_no_prompt_twice():
    a, b, c = FACTS
    again = EditRequest(a.subject, a.prompt, "Ulm")

    def split(requests, size, known=()):
        found = chunks(requests, size, lambda r: 7 if r in known else None)
        return [[(r.target_new, edit) for r, edit in chunk] for chunk in found]

    new = [(r.target_new, None) for r in (a, b, c)]
    assert split([a, b, c], 2) == [new[:2], new[2:]]
    assert split([a, b, c], 9) == [new]
    assert split([a, b, c], 2, known=[b]) == [[new[0], (b.target_new, 7), new[2]]]
    assert split([b, a, c], 2, known=[b]) == [[(b.target_new, 7)], [new[0], new[2]]]
    assert split([a, again, c], 9) == [[new[0]], [("Ulm", None), new[2]]]
    assert split([], 3) == []


# --- on the embedded model ----------------------------------------------------------------------


def test_a_batch_on_the_embedded_model_is_learned_and_solved_again_without_a_fact(tmp_path):
    facts = [fact for fact in build_world().facts if fact.relation == "birthplace"][:40:8]
    known, *others = facts
    places = ["Nethering", "Ostrana", "Lumora", "Nethering"]
    requests = [
        EditRequest(known.subject, known.prompt, known.target_true),
        *(EditRequest(f.subject, f.prompt, new) for f, new in zip(others, places, strict=True)),
    ]
    settings = {"method": "memit"}
    with Ledger.init(tmp_path / "ledger", base="demo") as ledger:
        done = list(ledger.edit_many(requests, batch=10, **settings))
        assert [e.outcome for e in done] == ["no-op", *["applied"] * 4]
        dropped = ledger.revert(["1"])
        assert [row.edit for row in dropped.retest.rows] == [2, 3, 4]
        again = ledger.resolve_batch(["1"])
        assert again.resolved.outcome == "applied"
        assert [e.metrics["reliability"] for e in again.resolved.edits] == [1.0] * 3
        assert again.resolved.metrics["locality_random"] > 0.9
        said = ledger.ask(requests[1].text).text.strip()
        assert said.startswith(others[0].target_true)
        assert [e.outcome for e in ledger.edit_many(requests[2:], **settings)] == ["skipped"] * 3
        assert ledger.verify(weights=True) == []
