"""Random histories with branches: the fold agrees with a dictionary of sets, written by hand.

Rules: the model keeps, for each branch, the set of its edits, and for each version those that it
came from; it knows nothing of chains, numbers of entries or lines.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import steps
from ledger.errors import ChainBroken, Conflict, UnknownRevision
from ledger.history import History
from ledger.lines import MAIN, Lines
from ledger.records import EditRecord
from ledger.sqlite import Snapshot
from ledger.steps import Standing
from ledger.uniting import Decisions, unite
from tests.property.histories import Entry

pytestmark = pytest.mark.promise("P12")

OPS = ("apply", "revert", "reapply", "branch", "close", "switch", "merge", "unmerge")


class Model:
    """Branches as sets; every version as (branch, edits, versions it came from)."""

    def __init__(self) -> None:
        self.sets: dict[str, frozenset[int]] = {MAIN: frozenset()}
        self.tips = {MAIN: 0}
        self.current = MAIN
        self.versions: list[tuple[str, frozenset[int], frozenset[int]]] = [
            (MAIN, frozenset(), frozenset({0}))
        ]
        self.order: list[int] = []

    @property
    def here(self) -> frozenset[int]:
        return self.sets[self.current]

    def made(self, edits: frozenset[int], came: frozenset[int]) -> None:
        version = len(self.versions)
        self.versions.append((self.current, edits, came | {version}))
        self.sets[self.current], self.tips[self.current] = edits, version

    def came(self, name: str | None = None) -> frozenset[int]:
        return self.versions[self.tips[name or self.current]][2]


def united(model: Model, name: str) -> frozenset[int]:
    """Edit by edit, three ways."""
    common = max(model.came() & model.came(name))
    base, ours, theirs = model.versions[common][1], model.here, model.sets[name]
    return frozenset(e for e in ours | theirs if ((e in theirs) if (e in ours) == (e in base)
                                                  else (e in ours)))  # fmt: skip


def step(draw: Any, model: Model, op: str) -> tuple[str, tuple[int, ...], dict[str, Any]] | None:
    """One legal operation done on the model, as an entry would tell it; None if there is none."""
    if op == "apply":
        fresh = tuple(range(len(model.order) + 1, len(model.order) + 1 + draw(st.integers(1, 2))))
        model.order += fresh
        model.made(model.here | set(fresh), model.came())
        return op, fresh, {}
    if op in ("revert", "reapply"):
        pool = sorted(model.here if op == "revert" else set(model.order) - model.here)
        if not pool:
            return None
        edits = tuple(draw(st.lists(st.sampled_from(pool), min_size=1, unique=True)))
        model.made(model.here ^ set(edits), model.came())
        return op, edits, {}
    return about_branches(draw, model, op)


def about_branches(
    draw: Any, model: Model, op: str
) -> tuple[str, tuple[int, ...], dict[str, Any]] | None:
    others = sorted(set(model.tips) - {model.current})
    if op == "branch":
        name = draw(st.sampled_from("abc"))
        if name in model.tips:
            return None
        version = draw(st.integers(0, len(model.versions) - 1))
        model.tips[name], model.sets[name] = version, model.versions[version][1]
        return op, (), {"name": name, "version": version}
    if op == "unmerge":
        return taken_back(model)
    if not others:
        return None
    name = draw(st.sampled_from(others))
    if op == "close":
        payload = {"name": name, "version": None, "before": model.tips.pop(name)}
        del model.sets[name]
        return "branch", (), payload
    payload = {"name": name, "version": model.tips[name]}
    before = model.here
    if op == "switch":
        came = model.came(name)
        model.current = name
        model.made(model.here, came)
    elif model.tips[name] in model.came():
        return None
    else:
        model.made(united(model, name), model.came() | model.came(name))
    return op, tuple(sorted(before ^ model.here)), payload


def taken_back(model: Model) -> tuple[str, tuple[int, ...], dict[str, Any]] | None:
    """The last version before on the line, restored."""
    line = [v for v, (name, _, _) in enumerate(model.versions) if name == model.current]
    if len(line) < 2:
        return None
    before, version = model.here, line[-2]
    model.made(model.versions[version][1], model.versions[version][2])
    payload = {"name": model.current, "version": version, "undo": True}
    return "merge", tuple(sorted(before ^ model.here)), payload


@st.composite
def histories(draw: Any) -> tuple[list[Entry], Model]:
    model, entries = Model(), [Entry(1, 0, "init", ())]
    for op in draw(st.lists(st.sampled_from(OPS), max_size=25)):
        done = step(draw, model, op)
        if done is not None:
            name, edits, payload = done
            version = len(model.versions) - 1
            entries.append(Entry(len(entries) + 1, version, name, edits, payload))
    return entries, model


@given(histories(), st.integers(0, 25))
def test_every_version_is_on_its_branch_with_its_edits_and_came_from_where_it_did(case, cut):
    entries, model = case
    found = History(entries[: cut + 1]).after(entries[cut + 1 :])
    lines = found.lines
    assert (found.head, lines.current, lines.tips) == (
        len(model.versions) - 1,
        model.current,
        model.tips,
    )
    for version, (name, edits, came) in enumerate(model.versions):
        assert lines.branch_of(version) == name
        assert found.active(version) == tuple(e for e in model.order if e in edits)
        assert lines.ancestors(version) == came
        assert all(lines.came(version, other) for other in came)
    for name, edits in model.sets.items():
        assert found.tip(name) == edits
        assert lines.common(found.head, model.tips[name]) == max(model.came() & model.came(name))
        line = lines.line(model.tips[name])
        assert line[0] == 0
        assert [lines.resolve(f"{name}~{n}", {}) for n in range(len(line))] == [*reversed(line)]
    assert found.across(model.here) == ()


def kept(entries: list[Entry]) -> Snapshot:
    """As much of the entries and their edits as is read of them, in a database."""
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE entry (seq INTEGER PRIMARY KEY, version, op, edits, payload)")
    database.execute("CREATE TABLE edit (id INTEGER PRIMARY KEY, entry_seq)")
    for entry in entries:
        texts = (json.dumps(entry.edits), json.dumps(dict(entry.payload)))
        database.execute("INSERT INTO entry VALUES (?, ?, ?, ?, ?)", (*entry[:3], *texts))
        brought = entry.edits if entry.op == "apply" else ()
        database.executemany("INSERT INTO edit VALUES (?, ?)", [(e, entry.seq) for e in brought])
    return Snapshot(database)


@given(histories(), st.sets(st.integers(1, 50)))
def test_how_edits_stand_and_what_a_version_carries_is_read_without_folding(case, some):
    entries, model = case
    whole, reading = History(entries), kept(entries)
    with closing(reading.connection):
        lines = Lines.of(steps.branching(reading), whole.head)
        changes, way = steps.turns(reading), model.came()
        met = {
            edit
            for entry in entries
            if entry.op not in ("switch", "branch") and entry.version in way
            for edit in entry.edits
        }
        for wanted in (some, None):
            found = Standing.of(steps.came(reading, wanted), changes, lines)
            asked = set(model.order) if wanted is None else wanted
            assert found.applied == asked & set(model.order)
            assert (found.active, found.met) == (model.here & asked, met & asked)
        for version, (_, edits, _) in enumerate(model.versions):
            assert steps.carried(reading, some, version) == edits & some
            between = steps.between(reading, version, whole.head)
            assert between == edits ^ model.here
    assert lines.tips == model.tips
    assert tuple(sorted(model.here)) == whole.active()  # numbers are given in order


@given(histories(), st.sampled_from(["switch", "merge", "branch"]), st.sampled_from("abcz"))
def test_what_does_not_lead_where_it_says_is_in_no_history(case, op, name):
    entries, model = case
    found = History(entries)
    beyond, tip = len(model.versions), model.tips.get(name, 0)
    wrong: list[tuple[tuple[int, ...], dict[str, Any]]] = [
        ((), {"version": 0}),
        ((), {"name": 3, "version": 0}),
        ((), {"name": name, "version": True}),
        ((), {"name": name, "version": beyond}),
    ]
    if op != "branch":
        wrong.append(((len(model.order) + 1,), {"name": name, "version": tip}))
    if op == "switch":
        wrong.append((tuple(sorted(model.here ^ model.sets.get(name, frozenset()) ^ {1})),
                      {"name": name, "version": tip}))  # fmt: skip
    for edits, payload in wrong:
        version = found.head + (op != "branch")
        with pytest.raises(ChainBroken):
            found.after([Entry(found.seq + 1, version, op, edits, payload)])


@given(histories(), st.sampled_from("abc"))
def test_a_merge_of_different_facts_goes_edit_by_edit(case, name):
    _, model = case
    if name not in model.tips:
        return
    facts = {
        n: EditRecord(id=n, subject=f"Rome {n}", prompt="{} lies in", target_new="France")
        for n in model.order
    }
    common = max(model.came() & model.came(name))
    found = unite(
        facts,
        base=sorted(model.versions[common][1]),
        ours=sorted(model.here),
        theirs=sorted(model.sets[name]),
        decisions=Decisions(),
    )
    assert (found.edits, found.contradictions) == (united(model, name), ())


def test_the_current_branch_is_neither_switched_to_nor_closed_nor_opened_again():
    lines = History([Entry(1, 0, "init", ())]).lines
    with pytest.raises(Conflict, match="current"):
        lines.check_move("switch", {"name": MAIN, "version": 0})
    with pytest.raises(Conflict, match="switch to another"):
        lines.check_branch({"name": MAIN, "version": None})
    with pytest.raises(Conflict, match="already"):
        lines.check_branch({"name": MAIN, "version": 0})
    with pytest.raises(UnknownRevision, match="Did you mean main"):
        lines.tip("mian")
