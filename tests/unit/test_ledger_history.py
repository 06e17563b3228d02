"""The active set is a pure fold of the entries, and revisions name versions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.carried import Change
from ledger.errors import (
    AlreadyActive,
    ChainBroken,
    Conflict,
    InvalidInput,
    NoLedger,
    NotActive,
    UnknownRevision,
)
from ledger.history import CHANGING, History
from ledger.lines import check_tag_name

INIT = Change(1, 0, "init", ())


def history(*steps):
    """A history of ("apply", 1, 2), ("revert", 1), ("tag",) steps."""
    entries, version = [INIT], 0
    for seq, (op, *edits) in enumerate(steps, start=2):
        version += op in CHANGING
        entries.append(Change(seq, version, op, tuple(edits)))
    return History(entries)


@st.composite
def legal_steps(draw):
    """A legal history and, beside it, the active set computed by hand: a list in apply order."""
    steps, order, active, expected = [], [], set(), [()]
    for _ in range(draw(st.integers(0, 25))):
        gone = [edit for edit in order if edit not in active]
        possible = ["apply", "tag"] + ["revert"] * bool(active) + ["reapply"] * bool(gone)
        op = draw(st.sampled_from(possible + ["swap"] * bool(order)))
        if op == "apply":
            edits = list(range(len(order) + 1, len(order) + 1 + draw(st.integers(1, 3))))
            order += edits
            active |= set(edits)
        elif op == "tag":
            steps.append(("tag",))
            continue
        else:
            pool = {"revert": sorted(active), "reapply": gone, "swap": order}[op]
            edits = draw(st.lists(st.sampled_from(pool), min_size=1, unique=True))
            active = {edit for edit in order if (edit in active) != (edit in edits)}
        steps.append((op, *edits))
        expected.append(tuple(edit for edit in order if edit in active))
    return steps, expected


@pytest.mark.promise("P13")
@given(legal_steps(), st.integers(0, 25))
def test_every_version_has_the_edits_that_were_active_then_in_order_of_first_application(case, cut):
    steps, expected = case
    whole = history(*steps)
    assert whole.head == len(expected) - 1
    assert [whole.active(version) for version in range(whole.head + 1)] == expected
    entries = [INIT, *history_entries(steps)]
    in_two_parts = History(entries[: cut + 1]).after(entries[cut + 1 :])
    assert in_two_parts.changes == whole.changes
    assert in_two_parts.active() == expected[-1]


def history_entries(steps):
    version = 0
    for seq, (op, *edits) in enumerate(steps, start=2):
        version += op != "tag"
        yield Change(seq, version, op, tuple(edits))


@pytest.mark.promise("P12")
def test_an_edit_that_comes_back_takes_its_old_place():
    assert history(("apply", 1), ("apply", 2), ("revert", 1), ("reapply", 1)).active() == (1, 2)


def test_a_longer_history_leaves_the_shorter_one_as_it_is():
    short = history(("apply", 1))
    longer = short.after([Change(3, 2, "revert", (1,))])
    assert (short.head, short.active()) == (1, (1,))
    assert (longer.head, longer.active()) == (2, ())


@pytest.mark.parametrize(
    ("spec", "version"),
    [
        *[("v3", 3), ("3", 3), (3, 3), ("HEAD", 4), ("@", 4), ("HEAD~2", 2), ("HEAD~", 3)],
        *[("base", 0), ("good", 2), ("good~1", 1), ("v4~4", 0), ("HEAD~0", 4), (" v1 ", 1)],
    ],
)
def test_a_revision_names_a_version(spec, version):
    steps = [("apply", number) for number in (1, 2, 3, 4)]
    assert history(*steps).lines.resolve(spec, {"good": 2}) == version


@pytest.mark.parametrize(
    "spec",
    ["v5", "-1", "HEAD~5", "", "goood", "HEAD~1~1", "v", "9" * 5000, "v1~x", "base~1", "1.0", "~1"],
)
def test_an_unknown_revision_is_refused(spec):
    steps = [("apply", number) for number in (1, 2, 3, 4)]
    with pytest.raises(UnknownRevision) as caught:
        history(*steps).lines.resolve(spec, {"good": 2})
    assert len(str(caught.value)) < 400


def test_an_unknown_revision_suggests_what_may_be_meant():
    with pytest.raises(UnknownRevision, match="Did you mean good") as caught:
        history(("apply", 1)).lines.resolve("goood", {"good": 1})
    assert caught.value.near[0] == "good"


@pytest.mark.parametrize(
    ("op", "edits", "error"),
    [
        ("apply", (1,), AlreadyActive),
        ("apply", (2,), AlreadyActive),
        ("apply", (), InvalidInput),
        ("apply", (7, 7), InvalidInput),
        ("revert", (2,), NotActive),
        ("revert", (9,), NotActive),
        ("revert", (1, 2), NotActive),
        ("reapply", (1,), AlreadyActive),
        ("reapply", (9,), Conflict),
    ],
)
def test_what_cannot_be_done_is_refused_and_cannot_be_in_a_history(op, edits, error):
    steps = [("apply", 1), ("apply", 2), ("revert", 2)]
    with pytest.raises(error):
        history(*steps).check(op, edits)
    with pytest.raises(ChainBroken):
        history(*steps, (op, *edits))


@pytest.mark.parametrize(
    "entries",
    [
        [Change(1, 1, "apply", (1,))],
        [INIT, Change(2, 0, "init", ())],
        [INIT, Change(2, 2, "apply", (1,))],
        [INIT, Change(2, 0, "apply", (1,))],
        [INIT, Change(2, 1, "tag", ())],
        [INIT, Change(1, 1, "apply", (1,))],
    ],
)
def test_entries_that_do_not_follow_one_another_are_refused(entries):
    with pytest.raises(ChainBroken):
        History(entries)


def test_undo_knows_the_last_change_and_its_opposite():
    steps = [("apply", 1, 2), ("revert", 2), ("tag",)]
    last = history(*steps).last_change()
    assert (last.op, last.edits, last.undone_by) == ("revert", (2,), "reapply")
    assert history(*steps[:1]).last_change().undone_by == "revert"
    swapped = history(("apply", 1, 2), ("revert", 1), ("swap", 1, 2))
    assert (swapped.active(), swapped.last_change().undone_by) == ((1,), "swap")
    assert swapped.active(2) == (2,)
    with pytest.raises(Conflict):
        swapped.check("swap", (3,))
    with pytest.raises(UnknownRevision, match="nothing to undo"):
        history().last_change()


def test_parents_end_at_the_base():
    two = history(("apply", 1), ("revert", 1))
    assert [two.parent(2), two.parent(1)] == [1, 0]
    for version in (0, 3):
        with pytest.raises(UnknownRevision):
            two.parent(version)


def test_a_history_without_entries_has_no_head():
    with pytest.raises(NoLedger):
        _ = History().head


@pytest.mark.parametrize("name", ["release/1.0", "v1-final", "好", "a", "3a", "x" * 100])
def test_a_tag_may_be_named(name):
    assert check_tag_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "v3", "3", "head", "HEAD", "Base", "a~1", "-a", "a b", "x" * 101, "a\n", "@"]
)
def test_a_tag_that_looks_like_a_revision_is_refused(name):
    with pytest.raises(InvalidInput):
        check_tag_name(name)
