"""A snapshot answers from one state, changes nothing, and answers as a write in progress does."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from ledger import queries, schema, steps
from ledger.errors import IntegrityFailure, LedgerError
from ledger.records import Rows
from tests.sim.ledger_sample import BASE, Sample, full, measurement, prediction


@pytest.fixture(scope="module")
def rich(tmp_path_factory):
    sample = full(tmp_path_factory.mktemp("rich"))
    yield sample
    sample.close()


@pytest.fixture
def sample(tmp_path):
    sample = Sample.create(tmp_path)
    yield sample
    sample.close()


def entries(sample):
    return len(sample.journal.entries())


QUESTIONS = {
    "last entry": lambda r: queries.last_entry(r),
    "changes": lambda r: steps.changes(r, 3),
    "rejected": lambda r: steps.rejected(r),
    "entries": lambda r: queries.entries(r, after=2, limit=3),
    "entries backwards": lambda r: queries.entries(r, newest_first=True),
    "entry of a version": lambda r: queries.entry_of(r, 2),
    "all edits": lambda r: queries.edits(r),
    "some edits": lambda r: queries.edits(r, [3, 1]),
    "an edit": lambda r: queries.edit(r, "#2"),
    "an edit by hash": lambda r: queries.edit(r, queries.edits(r)[2].hash[:9]),
    "batches": lambda r: queries.batches(r, (2, 1, 2)),
    "edits of a batch": lambda r: queries.edits_of_batch(r, 2),
    "measurements": lambda r: queries.measurements(r),
    "measurements of an edit": lambda r: queries.measurements(r, edit_id=1, suite="edit"),
    "tags": lambda r: queries.tags(r),
    "models": lambda r: queries.models(r),
    "tensors": lambda r: queries.base_tensors(r, 1),
    "objects": lambda r: queries.oids(r),
    "some objects": lambda r: queries.oids(r, [*sorted(queries.oids(r))[:2], "f" * 64]),
    "statistics": lambda r: queries.stats(r, BASE, "h.0.w"),
    "predictions": lambda r: queries.predictions(r, 1, "p1"),
    "some predictions": lambda r: queries.predictions(r, 1, "p1", ["b", "c"]),
    "next number": lambda r: [queries.next_id(r, name) for name in ("edit", "tag", "user")],
}


@pytest.mark.promise("P8")
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_has_the_same_answer_before_and_during_a_write(rich, question):
    with rich.database.read() as snapshot:
        asked = QUESTIONS[question](snapshot)
    with rich.database.write() as writing:
        assert QUESTIONS[question](writing) == asked
    assert asked


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO alembic_version VALUES ('0003')",
        "DELETE FROM alembic_version",
        "DROP TABLE alembic_version",
    ],
)
def test_nothing_can_be_changed_through_a_snapshot(rich, statement):
    with pytest.raises(LedgerError, match="read-only"), rich.database.read() as snapshot:
        snapshot.query(statement)
    with rich.database.read() as snapshot:
        assert schema.revision(snapshot) == schema.CURRENT


def test_threads_take_their_own_snapshots(rich):
    ways_in = threading.Barrier(12)

    def ask(_):
        with rich.database.read() as snapshot:
            ways_in.wait(timeout=30)
            return len(queries.entries(snapshot))

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(ask, range(24))) == [12] * 24


def test_snapshots_that_are_given_back_are_used_again(rich):
    rich.database.close()
    before, open_files = len(os.listdir("/proc/self/fd")), set()
    for _ in range(5):
        with ExitStack() as stack:
            for _ in range(20):
                queries.tags(stack.enter_context(rich.database.read()))
        open_files.add(len(os.listdir("/proc/self/fd")))
    rich.database.close()
    assert len(open_files) == 1
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_snapshot_that_ended_in_an_error_does_not_trouble_the_next(sample):
    with pytest.raises(LedgerError, match="refused"), sample.database.read() as snapshot:
        snapshot.query("SELECT nothing FROM nowhere")
    sample.apply("Rome")
    assert entries(sample) == 2


def test_a_snapshot_that_was_read_halfway_does_not_hold_back_the_next(sample):
    with sample.database.read() as snapshot:
        halfway = snapshot.stream("SELECT * FROM base_tensor")
        assert next(halfway)["parameter"] == "h.0.w"
    sample.apply("Rome")
    assert entries(sample) == 2


def test_a_database_that_was_closed_can_be_read_and_written_again(sample):
    for number in (2, 3):
        sample.journal.append("test")
        assert entries(sample) == number
        sample.close()
        assert os.listdir(sample.folder) == ["ledger.db"]


def test_any_number_of_keys_is_one_question(sample):
    prompts = [f"prompt {n} '\"%:x 北京 🏳" for n in range(40_000)]
    rows = Rows(predictions=tuple(prediction(prompt) for prompt in prompts[::8000]))
    sample.journal.append("test", rows=rows)
    assert list(sample.journal.predictions("p1", prompts)) == prompts[::8000]
    assert sample.journal.predictions("p1", []) == {}


def test_measurements_are_found_by_any_mix_of_columns(sample):
    sample.apply("Rome", measurements=(measurement(0.0, edit_id=-1), measurement(1.0)))
    sample.apply("Oslo", measurements=(measurement(2.0, edit_id=-1), measurement(3.0, version=1)))
    known = sample.journal.measurements()
    for edit_id in (None, 1, 2):
        for entry_seq in (None, 2, 3):
            for version in (None, 1, 2):
                for metric in (None, "efficacy", "other"):
                    wanted = {"edit_id": edit_id, "entry_seq": entry_seq, "version": version}
                    wanted["metric"] = metric
                    given = {name: value for name, value in wanted.items() if value is not None}
                    assert sample.journal.measurements(**given) == tuple(
                        m for m in known if all(getattr(m, n) == v for n, v in given.items())
                    )


@pytest.mark.parametrize(
    ("column", "index"),
    [("edit_id", "edit_id"), ("entry_seq", "entry_seq"), ("version", "version")],
)
def test_measurements_of_one_thing_are_found_by_its_index(rich, column, index):
    values = {"edit_id": 1, "entry_seq": 1, "version": 1, "after": 0, "most": 9}
    values |= {"suite": None, "metric": None}
    with rich.database.read() as snapshot:
        plan = snapshot.query("EXPLAIN QUERY PLAN " + queries._MEASURED[column], **values)
    assert [f"ix_measurement_{index}" in row["detail"] for row in plan] == [True]


def test_a_column_that_is_gone_is_an_integrity_failure(sample):
    sample.apply("Rome")
    with sample.database.engine.connect() as connection:
        connection.exec_driver_sql("ALTER TABLE edit RENAME COLUMN subject TO object")
    with pytest.raises(IntegrityFailure, match="altered"):
        sample.journal.edits()
