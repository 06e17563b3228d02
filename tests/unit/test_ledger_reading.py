"""What was appended is found again: by number, hash, name and page."""

from dataclasses import replace

import pytest

from ledger import chain
from ledger.errors import (
    StaleVersion,
    UnknownRevision,
)
from ledger.records import (
    Rows,
)
from ledger.verify import verify_structure
from tests.sim.ledger_sample import (
    BASE,
    Sample,
    measurement,
    prediction,
)


def errors(sample):
    return [f for f in verify_structure(sample.journal, sample.store) if f.severity == "error"]


def test_an_edit_is_found_by_number_and_by_hash(rich):
    third = rich.journal.edit(3)
    for spec in ("3", "#3", f" {third.hash[:10].upper()} ", third.hash):
        assert rich.journal.edit(spec) == third


@pytest.mark.parametrize(
    "spec",
    [0, -1, 99, "99", "#", "", "abc", "zzzz", "f" * 64, "x" * 5000, "%%%%", "____", "9" * 70],
)
def test_an_edit_that_does_not_exist_is_unknown(rich, spec):
    with pytest.raises(UnknownRevision) as caught:
        rich.journal.edit(spec)
    assert len(str(caught.value)) < 200


def test_an_ambiguous_hash_is_refused_and_names_the_edits(sample, monkeypatch):
    hashes = iter(["abcd" + "0" * 60, "abcd" + "1" * 60])
    monkeypatch.setattr(chain, "edit_hash", lambda *_: next(hashes))
    sample.apply("Rome", "Oslo")
    with pytest.raises(UnknownRevision, match="more than one") as caught:
        sample.journal.edit("abcd")
    assert caught.value.near == ("#1 (abcd00000000)", "#2 (abcd11111111)")
    assert sample.journal.edit("abcd1").id == 2


def test_measurements_are_filtered_and_paged(sample):
    many = tuple(replace(measurement(float(n)), suite=f"s{n % 2}") for n in range(10))
    sample.journal.append("test", rows=Rows(measurements=many))
    sample.journal.append("test", rows=Rows(measurements=(measurement(77.0),)))
    read = sample.journal.measurements
    assert [m.value for m in read(suite="s1", metric="efficacy")] == [1, 3, 5, 7, 9]
    assert [m.value for m in read(after=4, limit=3)] == [4, 5, 6]
    assert [m.value for m in read(entry_seq=3)] == [77]
    assert read(version=1) == read(edit_id=1) == read(suite="' OR 1=1 --") == ()


def test_entries_are_paged_in_both_directions(rich):
    read = rich.journal.entries
    assert [e.seq for e in read(after=3, limit=2)] == [4, 5]
    assert [e.seq for e in read(newest_first=True, limit=2)] == [12, 11]
    assert [e.seq for e in read(newest_first=True, after=11, limit=2)] == [10, 9]
    assert rich.journal.entry_of(2).op == "apply"
    with pytest.raises(UnknownRevision):
        rich.journal.entry_of(9)


def test_the_last_row_of_a_tag_counts(rich):
    assert rich.journal.tags() == {"v-two": 4}


def test_statistics_come_newest_first_for_a_base(rich):
    assert [item.parameter for item in rich.journal.stats(BASE)] == ["h.1.w", "h.0.w"]
    assert [item.count for item in rich.journal.stats(BASE, "h.0.w")] == [2**40]
    assert rich.journal.stats("f" * 64) == ()


def test_a_second_journal_sees_what_the_first_appended(sample):
    other = Sample.open(sample.folder)
    assert other.journal.history().head == 0
    sample.apply("Rome")
    assert other.journal.history().head == 1
    with pytest.raises(StaleVersion):
        other.apply("Oslo", head=0)
    other.close()


def test_a_restored_older_database_is_noticed(in_file):
    backup = in_file.folder / "backup.db"
    in_file.apply("Rome")
    with in_file.database.engine.connect() as connection:
        connection.exec_driver_sql("VACUUM INTO ?", (str(backup),))
    in_file.apply("Oslo")
    assert in_file.journal.history().head == 2
    in_file.database.close()
    for side in ("-wal", "-shm"):
        (in_file.folder / f"ledger.db{side}").unlink(missing_ok=True)
    backup.replace(in_file.folder / "ledger.db")
    assert in_file.journal.history().head == 1
    in_file.apply("Lima")
    assert errors(in_file) == []


def test_a_prediction_of_the_base_is_kept_once_and_the_first_stays(sample):
    for answer in ("yes", "no"):
        both = (prediction("a", answer), prediction("a", "never"), prediction(answer, answer))
        sample.journal.append("test", rows=Rows(predictions=both))
    kept = sample.journal.predictions("p1")
    assert {prompt: item.answer for prompt, item in kept.items()} == {
        "a": "yes",
        "yes": "yes",
        "no": "no",
    }
    asked = sample.journal.predictions("p1", ["no", "other", *map(str, range(2000))])
    assert list(asked) == ["no"]
    assert sample.journal.predictions("p2") == {}
