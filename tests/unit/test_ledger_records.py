"""A value that cannot be stored unchanged cannot be made; all others come back as they were."""

from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.errors import (
    IntegrityFailure,
    InvalidInput,
)
from ledger.fields import loaded, stored
from ledger.records import (
    BatchRecord,
    EditRecord,
    EntryRecord,
    MeasurementRecord,
    ModelRecord,
    ObjectRecord,
    Rows,
    TagRecord,
    UserRecord,
)
from ledger.verify import verify_structure
from tests.sim.ledger_sample import (
    BASE,
    fact,
    prediction,
)


def errors(sample):
    return [f for f in verify_structure(sample.journal, sample.store) if f.severity == "error"]


# What may be written in a text column: everything except NUL and lone surrogates.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
PAYLOADS = [
    *["'; DROP TABLE edit; --", '" OR ""="', "Robert'); DELETE FROM entry WHERE ('1'='1"],
    *["%s %(x)s :name ? ?1 {0} {0.__class__}", "\\x00 \\' \\", "a\r\nb\tc\x1b[31m\x7f\x85"],
    *[
        "\u202eabc\u202c",
        "e\u0301é",
        "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
        "﷽" * 20,
        "\ufeff\ufffe\uffff",
        "NULL",
        "0",
        "-0.0",
        "1e999",
        "",
    ],
    *["<script>alert(1)</script>", "=cmd|' /C calc'!A0", "[1,2", '{"a":1,"a":2}', "x" * 100_000],
]


def written_everywhere(text):
    """Rows with `text` in every free text column and inside every JSON column."""
    edit = EditRecord(
        subject=text,
        prompt=text,
        target_new=text,
        target_true=text,
        probes={text: [text]},
        language=text,
    )
    model = ModelRecord(
        base_id=text,
        revision=text,
        path=text,
        dtype=text,
        device=text,
        model_type=text,
        base_digest=BASE,
        config={text: text},
    )
    note = MeasurementRecord(suite=text, metric=text, protocol=text, detail={text: text})
    return Rows(
        model=model,
        batch=BatchRecord(method=text, hparams={text: text}, evidence={text: text}, note=text),
        edits=(edit,),
        measurements=(note,),
        predictions=(prediction(text, text),),
        users=(UserRecord(name=text, role=text, password_hash=text),),
    )


def check_text(sample, text):
    rows = written_everywhere(text)
    payload = {text: {"nested": [text]}}
    entry = sample.journal.append("reject", rows=rows, payload=payload, author=text, note=text)
    read = sample.journal
    edit = read.edits()[-1]
    assert read.last_entry() == entry
    assert (entry.author, entry.note, entry.payload) == (text, text, payload)
    assert stored(replace(edit, id=0, batch_id=0, hash="", created_at="", entry_seq=0)) == stored(
        rows.edits[0]
    )
    assert (read.batch(edit.batch_id).method, read.batch(edit.batch_id).note) == (text, text)
    assert read.model().config == {text: text}
    assert read.measurements(suite=text)[-1].detail == {text: text}
    assert read.predictions("p1", [text])[text].answer == text


@pytest.mark.promise("P18")
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=TEXT)
def test_any_text_comes_back_unchanged(sample, text):
    check_text(sample, text)


@pytest.mark.promise("P18")
def test_hostile_text_comes_back_unchanged_and_harms_nothing(sample):
    for text in PAYLOADS:
        check_text(sample, text)
    assert len(sample.journal.entries()) == len(PAYLOADS) + 1
    assert errors(sample) == []


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "x\udfff", b"bytes", None, 3])
def test_text_that_cannot_be_stored_is_refused_when_the_record_is_made(text):
    with pytest.raises(InvalidInput, match=r"edit\.subject"):
        EditRecord(subject=text)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), "1", None])
def test_a_number_that_cannot_be_stored_is_refused(value):
    with pytest.raises(InvalidInput, match=r"measurement\.value"):
        MeasurementRecord(value=value)


@pytest.mark.parametrize("value", [-1, 2**63, True, 1.0, "1"])
def test_a_whole_number_has_its_range(value):
    with pytest.raises(InvalidInput, match=r"object\.size"):
        ObjectRecord(oid=BASE, kind="delta", size=value)


@pytest.mark.parametrize("oid", ["../../etc/passwd", "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n"])
def test_a_name_that_is_no_sha256_is_refused(oid):
    with pytest.raises(InvalidInput, match=r"object\.oid"):
        ObjectRecord(oid=oid, kind="delta")


@pytest.mark.parametrize(
    "value", [{1: 2}, {"a": float("nan")}, {"a": {1, 2}}, {"a": "\ud800"}, b"x"]
)
def test_what_has_no_json_is_refused(value):
    with pytest.raises(InvalidInput, match=r"edit\.probes"):
        EditRecord(probes=value)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: ObjectRecord(oid=BASE, kind="pickle"), "kind"),
        (lambda: EntryRecord(op="drop"), "op"),
        (lambda: TagRecord(name="v3"), "tag"),
        (lambda: Rows(edits=(fact("Rome"),)), "batch"),
    ],
)
def test_other_invalid_records_cannot_be_made(make, what):
    with pytest.raises(InvalidInput, match=what):
        make()


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 2**63 - 1))
def test_a_record_reads_back_as_it_was_stored(value, number):
    record = MeasurementRecord(
        id=number, version=number, value=value, detail={"f": [value, (1, "ü")], "n": number}
    )
    assert loaded(MeasurementRecord, stored(record)) == record
    assert str(stored(record)["value"]) != "-0.0"


def test_a_record_cannot_be_changed_from_outside():
    probes = {"paraphrase": ["a"]}
    edit = EditRecord(probes=probes)
    probes["paraphrase"].append("b")
    assert edit.probes == {"paraphrase": ["a"]}
    with pytest.raises(FrozenInstanceError):
        edit.subject = "x"


def test_a_password_hash_is_not_shown():
    assert "secret" not in repr(UserRecord(name="ann", password_hash="secret"))


def test_an_altered_row_is_an_integrity_failure_not_a_usage_error():
    row = stored(fact("Rome"))
    for column, value in (("probes", "{"), ("probes", None), ("id", "x"), ("subject", None)):
        with pytest.raises(IntegrityFailure, match="altered"):
            loaded(EditRecord, row | {column: value})
