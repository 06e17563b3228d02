"""Three ways, fact by fact: what a merge carries and what it asks."""

from __future__ import annotations

import pytest

from ledger.errors import InvalidInput
from ledger.records import EditRecord
from ledger.uniting import Decisions, United, unite

NOBODY = Decisions()


def edit(number: int, subject: str, target: str) -> EditRecord:
    return EditRecord(id=number, subject=subject, prompt="{} lies in", target_new=target)


def merged(facts: str, base: str, ours: str, theirs: str, decisions: Decisions = NOBODY) -> United:
    """`facts` are subject and target of edits 1, 2, ...: 'Ax Ay Bz'; sides are their numbers."""
    records = {n: edit(n, *fact) for n, fact in enumerate(facts.split(), start=1)}
    sides = {"base": base, "ours": ours, "theirs": theirs}
    numbers = {name: [int(digit) for digit in side] for name, side in sides.items()}
    return unite(records, **numbers, decisions=decisions)


@pytest.mark.parametrize(
    ("facts", "base", "ours", "theirs", "edits"),
    [
        ("Ax By", "", "1", "2", {1, 2}),  # a new fact on each side
        ("Ax By", "1", "1", "12", {1, 2}),
        ("Ax By Cz", "12", "1", "123", {1, 3}),  # reverted here
        ("Ax By Cz", "12", "123", "1", {1, 3}),  # reverted there
        ("Ax By", "12", "1", "2", set()),  # each reverted another
        ("Ax Ay", "1", "1", "12", {1, 2}),  # superseded there, with the older one in place
        ("Ax Ay", "1", "12", "1", {1, 2}),
        ("Ax Ay", "1", "1", "2", {2}),  # taken out and stated anew there
        ("Ax Ay", "", "12", "12", {1, 2}),
        ("Ax Ax", "", "1", "2", {1}),  # the same statement: once, from here
        ("Ax Ax Ay", "1", "2", "13", {1, 3}),  # carried on here under a new number, changed there
        ("Ax Ax Ay", "1", "13", "2", {1, 3}),
        ("Ax Ax Ax", "1", "2", "3", {2}),  # solved again on both sides
        ("Ax Ax", "1", "", "2", set()),  # solved again there, taken out here
        ("Ax Ax", "1", "2", "", set()),
    ],
)
def test_what_one_side_changed_is_taken_from_it(facts, base, ours, theirs, edits):
    found = merged(facts, base, ours, theirs)
    assert found.edits == edits
    assert found.contradictions == ()


@pytest.mark.parametrize(
    ("facts", "base", "ours", "theirs", "stated"),
    [
        ("Ax Ay", "", "1", "2", (1, "x", 2, "y", None)),
        ("Ax Ay Az", "1", "12", "13", (2, "y", 3, "z", "x")),
        ("Ax Ay", "1", "", "12", (None, None, 2, "y", "x")),
        ("Ax Ay", "1", "2", "", (2, "y", None, None, "x")),
        ("Ax Ay Az", "", "12", "3", (2, "y", 3, "z", None)),
    ],
)
def test_what_both_changed_to_different_ends_is_asked(facts, base, ours, theirs, stated):
    found = merged(facts, base, ours, theirs)
    (asked,) = found.undecided
    assert asked.subject == "A"
    assert (asked.ours, asked.ours_object, asked.theirs, asked.theirs_object, asked.before) == (
        stated
    )
    assert found.edits == {int(n) for n in ours}
    for side, edits in (("ours", ours), ("theirs", theirs)):
        decided = merged(facts, base, ours, theirs, Decisions(rest=side))
        assert (decided.edits, decided.undecided) == ({int(n) for n in edits}, ())
        assert decided.contradictions[0].chosen == side


def test_a_decision_is_about_one_fact_and_the_rest_about_all_others():
    sides = ("Ax Bx Ay By", "", "12", "34")
    assert merged(*sides, Decisions(frozenset({3}), "ours")).edits == {2, 3}
    assert merged(*sides, Decisions(frozenset({1}), "theirs")).edits == {1, 4}
    assert len(merged(*sides, Decisions(frozenset({3}))).undecided) == 1
    with pytest.raises(InvalidInput, match="take one of them"):
        merged(*sides, Decisions(frozenset({1, 3})))
    with pytest.raises(InvalidInput, match="edit 1 is in no conflict"):
        merged("Ax Bx", "", "1", "2", Decisions(frozenset({1})))
