"""Facts that are looked for by text: the same on every database as a comparison in Python."""

from __future__ import annotations

import sqlite3
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.facts import FactView, facts
from ledger.searching import kept, pattern
from tests.sim.ledger_sample import Sample

SUBJECTS = (
    "Köln",
    "STRASSE 7",
    "Straße 7",
    "Kelvin",
    "\u212aelvin",
    "ﬁnch",
    "FINCH",
    "100%",
    "a_b",
)
MORE = ("北京", "İzmir", "izmir", "IZMIR", "ızmir", "ΣΟΦΟΣ", "sofos", "o!k", "back\\slash", "")
SEARCHES = (
    *SUBJECTS,
    *(text.casefold() for text in (*SUBJECTS, *MORE)),
    *("%", "_", "!", "\\", "{}", "lies in france", "n fr", "ANN", " ", "x" * 500, "\ud800", "\0"),
)


def found_by_database(text: str, search: str) -> bool:
    database = sqlite3.connect(":memory:")
    asked = database.execute(
        "SELECT lower(?) LIKE ? ESCAPE '!'", (text, pattern(search))
    ).fetchone()
    database.close()
    return bool(asked[0])


def test_what_the_pattern_keeps_no_other_character_folds_to():
    for number in range(sys.maxunicode + 1):
        char = chr(number)
        folded = char.casefold()
        if any(map(kept, folded)):
            assert char in (folded, folded.upper()), hex(number)
            assert char == folded or char.isascii(), hex(number)


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")), st.data())
def test_a_text_that_holds_what_is_asked_for_matches_the_pattern(text, data):
    folded = text.casefold()
    start = data.draw(st.integers(0, len(folded)))
    search = folded[start : data.draw(st.integers(start, len(folded)))]
    assert found_by_database(text, search)


def test_the_pattern_leaves_out_what_cannot_match():
    assert pattern("Person 7%") == "%per%o% 7!%%"
    assert not found_by_database("Person 8 lies in France", "person 7 ")
    assert not found_by_database("100 percent", "100%")
    assert not found_by_database("南京", "北京")


def in_words(fact: FactView) -> str:
    return f"{fact.prompt.replace('{}', fact.subject)} {fact.object} {fact.author} "


@pytest.fixture
def taught(sample: Sample) -> Sample:
    """Facts with letters that fold to others, one stated twice, one taken out again."""
    for subject in (*SUBJECTS, *MORE[:-1]):
        sample.apply(subject)
    sample.apply("Kelvin")
    sample.change("revert", 1)
    return sample


def test_a_search_finds_what_a_comparison_of_all_facts_finds(taught):
    journal = taught.journal
    head = journal.lines().head
    for version in (head, head - 1, 5, 0):
        everything = facts(journal, version)
        for search in SEARCHES:
            folded = search.casefold()
            wanted = [fact for fact in everything if folded in in_words(fact).casefold()]
            assert facts(journal, version, search) == wanted, search
    assert [fact.edit for fact in facts(journal, head, "kelvin")] == [5, 19]
    assert facts(journal, head, "kelvin")[1].supersedes == (4,)
    assert [fact.edit for fact in facts(journal, head, "strasse")] == [2, 3]


def test_versions_differ_in_the_edits_that_one_of_them_carries(taught):
    journal = taught.journal
    history = journal.history()
    for old, new in ((0, history.head), (history.head, 3), (4, 4), (19, 20)):
        left, right = set(history.active(old)), set(history.active(new))
        assert journal.difference(old, new) == (
            tuple(sorted(right - left)),
            tuple(sorted(left - right)),
        )


def test_an_ended_fact_that_was_stated_anew_is_not_expired(sample):
    from ledger.facts import expired

    rows = sample.batch("Rome", "Oslo")
    edits = tuple(replace(edit, valid_until="2020-01-01") for edit in rows.edits)
    for again in (replace(rows, edits=edits), replace(rows, edits=rows.edits[:1])):
        head = sample.journal.lines().head
        sample.journal.append(
            "apply", expected_head=head, rows=again, weights_digest="0" * 64, tensors={}
        )
    assert expired(sample.journal, "2020-01-02") == (2,)
    assert expired(sample.journal, "2020-01-01") == ()
