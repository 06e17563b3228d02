"""The facts of a version: each once, as it stands, since its first edit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ledger import Ledger
from tests.sim.columns_editor import register
from tests.sim.tiny_ledger import FACTS, tiny_ledger

COLUMNS = {"method": "columns", "gate": None}
AGAIN = replace(FACTS[0], target_new="Warsaw, Poland")


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """Facts 1 and 2, then fact 1 stated again by another author."""
    register(monkeypatch)
    with tiny_ledger(tmp_path) as made:
        made.edit(FACTS[0], **COLUMNS)
        made.edit(FACTS[1], **COLUMNS)
        made.edit(AGAIN, author="bea", note="the registry says so", **COLUMNS)
        yield made


def test_the_latest_statement_stands_and_names_what_it_replaces(ledger):
    two, again = ledger.facts()
    assert (two.edit, two.object, two.supersedes, two.author) == (2, "Manchester", (), "ann")
    assert (again.edit, again.object, again.supersedes) == (3, "Warsaw, Poland", (1,))
    assert (again.author, again.note) == ("bea", "the registry says so")
    assert again.since == ledger.show("3").created_at
    assert again.reliability is not None
    assert [fact.edit for fact in ledger.facts("v2")] == [1, 2]
    assert ledger.facts("base") == []


def test_log_and_show_tell_a_supersession(ledger):
    newest = ledger.log()[0]
    assert newest.facts[0].endswith("(edited again, before: edit 1)")
    assert "again" not in ledger.log()[1].facts[0]
    assert (ledger.show("3").supersedes, ledger.show("1").superseded_by) == ((1,), 3)
    assert (ledger.show("2").supersedes, ledger.show("2").superseded_by) == ((), None)
    ledger.revert(["3"])
    assert ledger.show("1").superseded_by is None
    assert [fact.edit for fact in ledger.facts()] == [1, 2]


def test_facts_can_be_searched(ledger):
    assert [fact.edit for fact in ledger.facts(search="LOVELACE")] == [3]
    assert [fact.edit for fact in ledger.facts(search="manch")] == [2]
    assert [fact.edit for fact in ledger.facts(search="bea")] == [3]
    assert ledger.facts(search="nobody") == []


def test_a_solved_batch_carries_facts_on_since_their_first_edit(ledger):
    ledger.resolve_active(gate=None)
    found = ledger.facts()
    assert [fact.edit for fact in found] == [4, 5]
    assert [fact.since for fact in found] == [ledger.show(n).created_at for n in ("2", "3")]
    assert [fact.author for fact in found] == ["ann", "bea"]
    assert found[1].method == "resolve"
    assert found[1].note == "the registry says so"


def test_a_test_renews_the_reliability(ledger):
    ledger.test()
    rows = {row.edit: row.metrics["reliability"] for row in ledger.test().rows}
    assert {fact.edit: fact.reliability for fact in ledger.facts()} == {2: rows[2], 3: rows[3]}
