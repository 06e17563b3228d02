"""From when to when a fact is valid, and who says so: kept with its edit, old rows untouched."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cli.commands.facts import as_csv
from editors.errors import InvalidRequest
from ledger import EditRequest, Ledger, schema
from ledger.cards import model_card
from ledger.db import Database
from ledger.errors import IntegrityFailure, InvalidInput
from ledger.importing import import_bundle
from ledger.journal import Journal
from ledger.release import describe
from ledger.transfer import restore
from ledger.verify import verify_structure
from store.canonical import canonical_json
from store.objects import ObjectStore
from tests.reference import formats_reference as page
from tests.sim.columns_editor import register
from tests.sim.ledger_sample import Sample
from tests.sim.places import copied, tables
from tests.sim.tiny_ledger import FACTS, tiny_ledger

OLDER = Path(__file__).parents[1] / "reference" / "schema-0002"
DATED = {"valid_from": "2020-01-01", "valid_until": "2021-12-31", "source": "the registry"}
COLUMNS = {"method": "columns", "gate": None}


# --- requests -------------------------------------------------------------------------------------


def test_a_request_without_validity_is_written_as_before_there_was_any():
    plain = EditRequest("Ada", "{} is", "x")
    assert not set(DATED) & set(plain.to_json())
    dated = EditRequest("Ada", "{} is", "x", **DATED)
    assert dated.to_json() == plain.to_json() | DATED
    assert EditRequest.from_json(json.loads(json.dumps(dated.to_json()))) == dated
    assert EditRequest.from_json(plain.to_json() | dict.fromkeys(DATED)) == plain


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"valid_from": "2026-02-30"}, "valid_from '2026-02-30' is no day"),
        ({"valid_until": "20260131"}, "write it as 2026-01-31"),
        ({"valid_until": "2026-01-31T00:00:00Z"}, "valid_until"),
        ({"valid_until": "٢٠٢٦-٠١-٣١"}, "is no day"),
        ({"valid_from": 2026}, "valid_from 2026 is no day"),
        ({"valid_from": "2026-02-01", "valid_until": "2026-01-31"}, "before valid_from"),
        ({"source": " "}, "source is empty"),
        ({"source": "a\nb"}, "control character"),
        ({"source": "x" * 2001}, "the limit is 2000"),
    ],
)
def test_what_is_no_day_or_no_source_is_refused(fields, told):
    with pytest.raises(InvalidRequest, match=re.escape(told)):
        EditRequest("Ada", "{} is", "x", **fields)


# --- facts of a version ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fact 1 for two years, fact 2 from some day on and with a source, fact 3 for ever."""
    folder = tmp_path_factory.mktemp("dated")
    with pytest.MonkeyPatch.context() as patch, tiny_ledger(folder) as made:
        register(patch)
        made.edit(replace(FACTS[0], **DATED), **COLUMNS)
        made.edit(replace(FACTS[1], valid_from="2030-01-01", source="=HYPERLINK(1)"), **COLUMNS)
        made.edit(FACTS[2], **COLUMNS)
    return folder / "ledger"


@pytest.fixture
def ledger(dated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """A copy of it that can be edited."""
    register(monkeypatch)
    copied(dated, tmp_path / "ledger")
    with Ledger.open(tmp_path / "ledger", author="ann") as opened:
        yield opened


def edits_of(ledger: Ledger, only: str | None, on: str | None) -> list[int]:
    return [fact.edit for fact in ledger.facts(only=only, on=on)]


def test_a_fact_is_valid_from_its_first_to_its_last_day(ledger):
    assert [(f.valid_from, f.valid_until, f.source) for f in ledger.facts()] == [
        tuple(DATED.values()),
        ("2030-01-01", None, "=HYPERLINK(1)"),
        (None, None, None),
    ]
    assert edits_of(ledger, "expired", "2021-12-31") == []
    assert edits_of(ledger, "expired", "2022-01-01") == [1]
    assert edits_of(ledger, "expired", None) == [1]
    assert edits_of(ledger, "current", "2019-12-31") == [3]
    assert edits_of(ledger, "current", "2020-01-01") == [1, 3]
    assert edits_of(ledger, "current", "2030-01-01") == [2, 3]
    assert [fact.edit for fact in ledger.facts(search="REGISTRY")] == [1]
    with pytest.raises(InvalidRequest, match="on 'soon' is no day"):
        ledger.facts(only="expired", on="soon")
    with pytest.raises(InvalidInput, match="current or expired"):
        ledger.facts(on="2022-01-01")


def test_the_status_tells_what_expired_as_long_as_it_stands(ledger):
    assert ledger.status().expired == (1,)
    ledger.edit(replace(FACTS[0], target_new="Warsaw, Poland", valid_until="2999-01-01"), **COLUMNS)
    assert ledger.status().expired == ()
    ledger.revert(["4"])
    assert ledger.status().expired == (1,)
    ledger.revert(["1"])
    assert ledger.status().expired == ()


def test_show_and_a_second_solution_keep_the_days_and_the_source(ledger):
    assert {name: ledger.show("1").fact[name] for name in DATED} == DATED
    ledger.resolve_active(gate=None)
    found = ledger.facts()
    assert [fact.edit for fact in found] == [4, 5, 6]
    assert (found[0].valid_until, found[1].source) == ("2021-12-31", "=HYPERLINK(1)")


def test_a_card_has_columns_for_them_where_a_fact_fills_them(ledger):
    card = model_card(describe(ledger.journal, 2, form="merged"))
    assert "| valid | source |" in card
    assert "from 2020\\-01\\-01 until 2021\\-12\\-31 | the registry |" in card
    hidden = model_card(describe(ledger.journal, 2, form="merged", private=True))
    assert "registry" not in hidden and "2021" not in hidden.partition("Measurements")[0]
    ledger.revert(["1", "2"])
    assert "source" not in model_card(describe(ledger.journal, 4, form="merged"))


def test_a_bundle_carries_them(ledger, tmp_path):
    ledger.export(tmp_path / "bundle", form="bundle")
    import_bundle(tmp_path / "bundle", tmp_path / "again", author="eve", replay=False)
    with Ledger.open(tmp_path / "again") as again:
        assert again.facts() == ledger.facts()
        assert again.verify() == []


def test_the_hashes_cover_them_as_the_page_says(ledger):
    found = tables(ledger.folder.root).items()
    rows = {name: some for name, some in found if name not in page.NO_HISTORY}
    batches = {row["id"]: row for row in rows["batch"]}
    for edit in rows["edit"]:
        assert page.edit_hash(edit, batches[edit["batch_id"]]) == edit["hash"]
    for entry in rows["entry"]:
        assert page.rows_digest(rows, entry["seq"]) == entry["rows_digest"]
    rows["edit"][0]["valid_until"] = None
    assert page.rows_digest(rows, 2) != rows["entry"][1]["rows_digest"]


# --- ledgers of the schema before -----------------------------------------------------------------


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A ledger as a program of schema 0002 left it."""
    connection = sqlite3.connect(tmp_path / "ledger.db")
    connection.executescript((OLDER / "ledger.sql").read_text("utf-8"))
    connection.close()
    shutil.copytree(OLDER / "bundle" / "objects", tmp_path / "objects")
    return tmp_path


@pytest.mark.promise("P11")
def test_an_older_ledger_verifies_unchanged_and_takes_dated_facts(older):
    before = page.read_tables(older / "ledger.db")
    assert "source" not in before["edit"][0]
    sample = Sample.open(older)
    assert verify_structure(sample.journal, sample.store) == []
    after = page.read_tables(older / "ledger.db")
    assert [page.kept("edit", row) for row in after["edit"]] == before["edit"]
    assert after["entry"] == before["entry"]
    assert page.read_tables(older / f"ledger.db.before-{schema.CURRENT}-000") == before
    rows = sample.batch("Rome")
    dated = replace(rows, edits=(replace(rows.edits[0], **DATED),))
    head, last = sample.journal.history().head, sample.journal.last_entry()
    given = {"weights_digest": last.weights_digest, "tensors": last.tensors}
    sample.journal.append("apply", expected_head=head, rows=dated, **given)
    assert verify_structure(sample.journal, sample.store) == []
    assert sample.journal.edit("4").source == "the registry"
    sample.close()


@pytest.mark.promise("P11")
def test_a_bundle_of_an_older_program_is_taken_in_and_made_again_to_the_byte(tmp_path):
    import_bundle(OLDER / "bundle", tmp_path / "ledger", author="eve", replay=False)
    with Ledger.open(tmp_path / "ledger") as ledger:
        assert ledger.verify() == []
        ledger.export(tmp_path / "again", form="bundle")
    names = [path.relative_to(OLDER) for path in (OLDER / "bundle").rglob("*") if path.is_file()]
    assert len(names) == 6
    for name in names:
        assert (tmp_path / "again" / name.relative_to("bundle")).read_bytes() == (
            OLDER / name
        ).read_bytes()


def test_an_empty_column_that_is_written_out_is_refused(tmp_path):
    """There is one way to write a row: else two bundles could have one history."""
    lines = (OLDER / "bundle" / "ledger.jsonl").read_bytes().splitlines()
    entry = json.loads(lines[1])
    (row,) = [row for name, row in entry["rows"] if name == "edit"]
    row["source"] = None
    lines[1] = canonical_json(entry)
    database = Database.create(tmp_path / "ledger.db")
    with pytest.raises(IntegrityFailure, match="no ledger stores so"):
        restore(database, [line + b"\n" for line in lines])
    assert Journal(database, ObjectStore(tmp_path)).history().seq == 0
    database.close()


# --- tables ---------------------------------------------------------------------------------------


def test_in_csv_no_text_is_a_formula(ledger):
    ledger.edit(replace(FACTS[0], target_new="+1", source='x,"y"'), note="@SUM(1)", **COLUMNS)
    rows = {row["edit"]: row for row in csv.DictReader(io.StringIO(as_csv(ledger.facts())))}
    assert rows["2"]["source"] == "'=HYPERLINK(1)"
    assert (rows["4"]["object"], rows["4"]["source"], rows["4"]["note"]) == (
        "'+1",
        'x,"y"',
        "'@SUM(1)",
    )
    assert rows["3"]["valid_until"] == ""
    assert float(rows["3"]["reliability"]) >= 0
