"""One entry a transaction, numbered, linked and hashed."""

import itertools
from dataclasses import replace

import pytest

from ledger import chain, journal
from ledger.db import Database
from ledger.errors import (
    AlreadyActive,
    BaseMismatch,
    Conflict,
    InvalidInput,
    NoLedger,
    NotActive,
    ObjectLost,
    StaleVersion,
    UnknownRevision,
)
from ledger.fields import stored
from ledger.journal import Journal
from ledger.records import (
    ModelRecord,
    ReleaseRecord,
    Rows,
    TagRecord,
    new_edit,
)
from ledger.verify import verify_structure
from tests.sim.ledger_sample import (
    BASE,
    MODEL,
    Sample,
    measurement,
    tensor,
    weights,
)


def errors(sample):
    return [f for f in verify_structure(sample.journal, sample.store) if f.severity == "error"]


def test_only_an_initialised_ledger_takes_entries(tmp_path):
    Database.create(tmp_path / "ledger.db").close()
    sample = Sample.open(tmp_path)
    for call in (
        sample.journal.last_entry,
        sample.journal.model,
        lambda: sample.journal.append("tag"),
    ):
        with pytest.raises(NoLedger):
            call()
    sample.close()


def test_a_ledger_is_initialised_once(sample):
    with pytest.raises(Conflict, match="initialised already"):
        sample.journal.append("init", weights_digest=BASE, tensors={})


def test_the_first_entry_is_version_0_and_follows_zeros(sample):
    first = sample.journal.last_entry()
    assert (first.seq, first.version, first.op, first.prev_hash) == (1, 0, "init", chain.ZERO)
    assert (first.weights_digest, dict(first.tensors)) == (chain.weights_digest(BASE, {}), {})
    assert sample.journal.model() == replace(MODEL, id=1, entry_seq=1, created_at=first.created_at)


def test_entries_follow_one_another_and_only_changes_make_versions(rich):
    entries = rich.journal.entries()
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    assert [(entry.op, entry.version) for entry in entries] == [
        *[("init", 0), ("apply", 1), ("apply", 2), ("revert", 3), ("reapply", 4), ("reject", 4)],
        *[(op, 4) for op in ("tag", "stats", "test", "release", "user", "tag")],
    ]
    for before, after in itertools.pairwise(entries):
        assert after.prev_hash == before.hash
        if after.version == before.version:
            assert (after.weights_digest, after.tensors) == (before.weights_digest, before.tensors)
    assert errors(rich) == []


def test_edits_get_numbers_without_a_gap_and_belong_to_their_batch(rich):
    edits = rich.journal.edits()
    assert [(e.id, e.subject, e.batch_id, e.component) for e in edits] == [
        *[(1, "Rome", 1, 0), (2, "Oslo", 2, 0), (3, "Lima", 2, 1), (4, "Bern", 3, 0)]
    ]
    assert rich.journal.edits_of_batch(2) == edits[1:3]
    assert rich.journal.batch(2).layers == (0,)
    assert [entry.edits for entry in rich.journal.entries()[1:6]] == [
        *[(1,), (2, 3), (1,), (1,), (4,)]
    ]
    assert rich.journal.history().active() == (1, 2, 3)


def test_the_hash_of_an_edit_is_that_of_its_content(rich):
    for edit in rich.journal.edits():
        batch = rich.journal.batch(edit.batch_id)
        assert edit.hash == chain.edit_hash(stored(edit), stored(batch))
    assert len({edit.hash for edit in rich.journal.edits()}) == 4


@pytest.mark.parametrize("op", ["apply", "revert", "reapply"])
def test_a_version_is_only_made_on_the_head_it_was_computed_for(sample, op):
    sample.apply("Rome")
    before = sample.journal.last_entry()
    with pytest.raises(StaleVersion) as caught:
        sample.journal.append(op, expected_head=0, edits=[1], **weights(()))
    assert (caught.value.expected, caught.value.actual) == (0, 1)
    with pytest.raises(InvalidInput, match="expected_head"):
        sample.journal.append(op, edits=[1], **weights(()))
    assert sample.journal.last_entry() == before


@pytest.mark.parametrize(
    ("op", "edits", "error"),
    [
        ("apply", (1,), AlreadyActive),
        ("reapply", (1,), AlreadyActive),
        ("revert", (2,), NotActive),
        ("reapply", (3,), Conflict),
        ("revert", (9,), NotActive),
        ("apply", (9,), UnknownRevision),
        ("apply", (), InvalidInput),
        ("revert", (-1,), InvalidInput),
        ("revert", (1, 1), InvalidInput),
    ],
)
def test_what_cannot_be_done_on_the_head_is_refused_and_leaves_no_row(sample, op, edits, error):
    sample.apply("Rome")
    sample.apply("Oslo")
    sample.change("revert", 2)
    sample.journal.append("reject", rows=sample.batch("Bern"))
    before = sample.journal.last_entry()
    with pytest.raises(error):
        sample.journal.append(op, expected_head=3, edits=edits, **weights(()))
    assert sample.journal.last_entry() == before
    assert errors(sample) == []


def test_a_rejected_edit_may_be_applied_later(sample):
    sample.journal.append("reject", rows=sample.batch("Bern"))
    entry = sample.journal.append("apply", expected_head=0, edits=[1], **weights((1,)))
    assert (entry.version, sample.journal.history().active()) == (1, (1,))


def test_weights_are_given_for_versions_and_for_nothing_else(sample):
    with pytest.raises(InvalidInput, match="weights digest"):
        sample.journal.append("apply", expected_head=0, rows=sample.batch("Rome"))
    with pytest.raises(InvalidInput, match="leaves the weights"):
        sample.journal.append("test", **weights(()))


@pytest.mark.parametrize("op", ["", "Apply", "drop table entry", "rebased"])
def test_an_unknown_operation_is_refused(sample, op):
    with pytest.raises(InvalidInput, match=r"entry\.op"):
        sample.journal.append(op)


def test_a_row_is_only_recorded_when_its_object_is_in_the_store(sample):
    rows = sample.batch("Rome")
    oid = rows.batch.oid
    sample.store.path(oid).unlink()
    with pytest.raises(ObjectLost, match=oid[:12]):
        sample.journal.append("reject", rows=rows)
    with pytest.raises(InvalidInput, match="not recorded"):
        sample.journal.append("reject", rows=replace(rows, objects=()))
    assert sample.journal.reachable() == set()


def test_the_size_of_an_object_is_checked(sample):
    rows = sample.batch("Rome")
    wrong = (replace(rows.objects[0], size=1),)
    with pytest.raises(InvalidInput, match="1 bytes"):
        sample.journal.append("reject", rows=replace(rows, objects=wrong))


def test_an_object_is_recorded_once_however_often_it_is_used(sample):
    sample.apply("Rome")
    sample.change("revert", 1)
    sample.apply("Rome")
    rows = sample.batch("Rome")
    sample.journal.append("reject", rows=replace(rows, objects=rows.objects * 2))
    assert sample.journal.reachable() == {rows.batch.oid}
    assert errors(sample) == []


def test_an_untouched_tensor_never_changes(sample):
    rows = Rows(base_tensors=(tensor("h.0.w"), tensor("h.1.w"), tensor("h.1.w")))
    sample.journal.append("test", rows=rows)
    assert list(sample.journal.base_tensors()) == ["h.0.w", "h.1.w"]
    with pytest.raises(BaseMismatch, match=r"h\.1\.w"):
        sample.journal.append("test", rows=Rows(base_tensors=(tensor("h.1.w", "f" * 64),)))


def test_measurements_name_new_edits_by_place_and_stand_on_the_entrys_version(sample):
    sample.apply("Rome")
    rows = (measurement(0.1, edit_id=new_edit(1)), measurement(0.2, edit_id=1, version=1))
    sample.apply("Oslo", "Lima", measurements=rows)
    found = sample.journal.measurements()
    assert [(m.id, m.edit_id, m.version, m.value) for m in found] == [
        (1, 3, 2, 0.1),
        (2, 1, 1, 0.2),
    ]
    with pytest.raises(InvalidInput, match="none of the 1 new"):
        sample.apply("Bern", measurements=(measurement(edit_id=new_edit(1)),))


def test_a_tag_names_an_existing_version(sample):
    with pytest.raises(UnknownRevision):
        sample.journal.append("tag", rows=Rows(tags=(TagRecord(name="x", version=1),)))


def test_a_row_without_its_digest_is_refused(sample):
    with pytest.raises(InvalidInput, match=r"model\.base_digest is missing"):
        sample.journal.append("test", rows=Rows(model=ModelRecord(path="p")))
    with pytest.raises(InvalidInput, match=r"release\.merkle_root is missing"):
        sample.journal.append("release", rows=Rows(releases=(ReleaseRecord(version=0),)))


def test_a_failed_append_leaves_the_journal_usable(sample, monkeypatch):
    def fail(name):
        if name == "inserted-edit":
            raise KeyboardInterrupt

    monkeypatch.setattr(journal, "_point", fail)
    with pytest.raises(KeyboardInterrupt):
        sample.apply("Rome")
    monkeypatch.undo()
    assert sample.apply("Rome").edits == (1,)
    assert errors(sample) == []


def test_the_clock_is_the_journals_and_sorts_as_text(sample):
    fixed = Journal(sample.database, sample.store, clock=lambda: "2026-01-02T03:04:05.123456Z")
    entry = fixed.append("test", rows=Rows(releases=()))
    assert entry.created_at == "2026-01-02T03:04:05.123456Z"
    times = [journal.utc_now() for _ in range(100)]
    assert times == sorted(times)
    assert {len(time) for time in times} == {27}


def test_times_that_are_known_already_are_kept(sample):
    rows = sample.batch("Rome")
    dated = replace(
        rows,
        batch=replace(rows.batch, created_at="2020-01-01T00:00:00.000000Z"),
        edits=(replace(rows.edits[0], created_at="2020-01-01T00:00:00.000000Z"),),
    )
    sample.journal.append("reject", rows=dated)
    assert sample.journal.edit(1).created_at.startswith("2020")
    assert sample.journal.batch(1).created_at.startswith("2020")


@pytest.mark.promise("P34")
def test_an_append_does_not_get_dearer_with_the_length_of_the_history(in_file):
    """Counted in steps of SQLite's virtual machine, which do not depend on the clock."""

    def steps():
        seen = []
        connection = in_file.database.engine.raw_connection()
        connection.driver_connection.set_progress_handler(lambda: seen.append(1), 20)
        connection.close()
        in_file.journal.append("test", rows=Rows(measurements=(measurement(),)))
        return len(seen)

    steps()
    first = steps()
    for number in range(200):
        in_file.journal.append("test", note=str(number))
    assert 0 < steps() < 1.5 * first
