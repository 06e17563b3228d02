"""Merging a branch: its edits and reverts since the common version, into the current branch.

Promise: one entry, whose version is the fold of the united edits, each in its first place; or
nothing, if something is to be decided, the gate refuses it, or a re-solve fails.

Rules: which edits it carries is decided fact by fact (`ledger.uniting`). An edit was computed with
the edits of its own side in place; how far the other side's move it is told by its drift (as in
`ledger.interference`), and above a limit that is to be decided too. What comes in is measured, all
else is asked again, and the gate decides as for an edit. A re-solve follows as entries of its own;
if it is refused, the merge is taken back by one more.

    view = merge(workspace, "trial", Terms(author="ada"))
    view.outcome, view.conflicts, view.moved
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from ledger.branches import MergeView, Moved
from ledger.branching import restored
from ledger.chain import weights_digest
from ledger.changes import active_in, kept_columns, led_to
from ledger.consolidating import consolidate
from ledger.errors import Conflict, InvalidInput
from ledger.evaluation.gates import DEFAULT_GATE, Gate
from ledger.facts import superseded
from ledger.history import History
from ledger.inspection import fact_line
from ledger.interference import between
from ledger.records import EditRecord, EntryRecord
from ledger.running import tested
from ledger.trying import tried
from ledger.uniting import OURS, THEIRS, Decisions, United, unite
from ledger.views import ChangeOutcome
from ledger.workspace import Workspace

# Of edits that were moved less, few are lost (docs/interference.md: 2 of 50).
LIMIT: Final = 0.4


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What was decided, and how the merge is to be done."""

    decisions: Decisions
    threshold: float = LIMIT
    allow_interference: bool = False
    resolve: bool = False
    ridge: float = 0.0
    gate: Gate | None = DEFAULT_GATE
    dry_run: bool = False
    author: str
    note: str = ""

    def __post_init__(self) -> None:
        if self.decisions.rest not in (None, OURS, THEIRS):
            raise InvalidInput(f"the side is {self.decisions.rest!r}; it is ours or theirs")
        if not 0 <= self.threshold < math.inf:
            raise InvalidInput(f"the threshold is {self.threshold}; it must be a number from 0 up")


@dataclass(frozen=True)
class _Draft:
    """A merge before it is measured."""

    history: History
    theirs: int
    records: Mapping[int, EditRecord]
    united: United
    view: MergeView

    @property
    def edits(self) -> tuple[int, ...]:
        """The united edits in ledger order."""
        return self.history.ordered(self.united.edits)

    @property
    def payload(self) -> dict[str, Any]:
        """What the entry says of its branch."""
        view = self.view
        return {"name": view.branch, "version": view.theirs, "common": view.common}


def merge(workspace: Workspace, name: str, terms: Terms) -> MergeView:
    """Merge a branch into the current one.

    Raises: UnknownRevision, InvalidInput, Conflict (a part of a dense batch), StaleVersion,
    EditorFailure and what else a re-solve may raise.
    """
    draft = _draft(workspace, name, terms)
    if draft is None:
        return _nothing(workspace, name)
    view = draft.view
    asked = view.moved and not (terms.allow_interference or terms.resolve)
    if draft.united.undecided or asked:
        return view
    try:
        return (_solved if terms.resolve else _measured)(workspace, draft, terms)
    finally:
        workspace.rest()


def _nothing(workspace: Workspace, name: str) -> MergeView:
    history = workspace.journal.history()
    theirs = history.lines.tip(name)
    return MergeView(
        outcome="up to date",
        branch=name,
        into=history.lines.current,
        version=history.head,
        common=theirs,
        theirs=theirs,
        weights_digest=workspace.journal.last_entry().weights_digest,
    )


def _draft(workspace: Workspace, name: str, terms: Terms) -> _Draft | None:
    """The united edits and what is to be decided; None if all of the branch is here already."""
    journal, history = workspace.journal, workspace.journal.history()
    lines = history.lines
    theirs = lines.tip(name)
    if name == lines.current:
        raise InvalidInput(f"{name} is the current branch: name another one to merge into it")
    common = lines.common(history.head, theirs)
    if common == theirs:
        return None
    sides = [history.active(version) for version in (common, history.head, theirs)]
    base, here, there = sides
    every = history.ordered({edit for side in sides for edit in side})
    records = {record.id: record for record in journal.edits(every)}
    united = unite(records, base=base, ours=here, theirs=there, decisions=terms.decisions)
    before, came = set(here), set(there) - set(base)
    view = MergeView(
        outcome="conflict",
        branch=name,
        into=lines.current,
        version=history.head,
        common=common,
        theirs=theirs,
        weights_digest=journal.last_entry().weights_digest,
        added=history.ordered(united.edits - before),
        removed=history.ordered(before - united.edits),
        left_out=history.ordered(came - united.edits),
        conflicts=united.contradictions,
        threshold=terms.threshold,
    )
    draft = _Draft(history, theirs, records, united, view)
    found, untold = between(workspace.versions, draft.edits, here, there, terms.threshold)
    old = superseded([records[edit] for edit in draft.edits])
    moved = [Moved(e, fact_line(records[e]), drift, by) for e, drift, by in found if e not in old]
    moved.sort(key=lambda row: (-row.drift, row.edit))
    notes = _split_batches(workspace, draft)
    if untold:
        notes.append(f"{untold} edits have no key: how far the other side moves them is not known")
    return replace(draft, view=replace(view, moved=tuple(moved), notes=tuple(notes)))


def _split_batches(workspace: Workspace, draft: _Draft) -> list[str]:
    """What it means for the rest of a batch that a part of it is not carried."""
    out = [draft.records[edit] for edit in (*draft.view.left_out, *draft.view.removed)]
    journal, edits = workspace.journal, draft.edits
    found = {n: active_in(journal, n, edits) for n in sorted({edit.batch_id for edit in out})}
    return [kept_columns(journal, batch, staying) for batch, staying in found.items() if staying]


# --- as it is -------------------------------------------------------------------------------------


def _measured(workspace: Workspace, draft: _Draft, terms: Terms) -> MergeView:
    """Measure the united edits, let the gate decide, record the merge."""
    view, journal = draft.view, workspace.journal
    found = tried(workspace, draft.edits, view.added, view.theirs)
    gate, count = terms.gate, len(view.added)
    reasons = gate.reasons(found.metrics, len(found.broken), count) if gate else []
    coming = [draft.records[edit] for edit in view.added]
    view = replace(
        view,
        outcome="dry-run" if terms.dry_run else "rejected",
        metrics=found.metrics,
        broken=found.broken,
        reasons=tuple(reasons),
        rows=tuple(tested(journal, e, m, None) for e, m in zip(coming, found.coming, strict=True)),
    )
    if terms.dry_run or reasons:
        return view
    rows = found.rows(view.added)
    entry = journal.append(
        "merge",
        expected_head=draft.history.head,
        edits=draft.history.across(draft.united.edits),
        weights_digest=weights_digest(workspace.record.base_digest, found.tensors),
        tensors=found.tensors,
        rows=rows,
        payload=draft.payload
        | {"gate": None if gate is None else asdict(gate), "broken": list(found.broken)},
        author=terms.author,
        note=terms.note,
    )
    workspace.applied(entry.version, found.now)
    workspace.examiner.kept(rows.predictions)
    return _done(view, entry)


def _done(view: MergeView, entry: EntryRecord) -> MergeView:
    return replace(
        view, outcome="merged", version=entry.version, weights_digest=entry.weights_digest
    )


# --- solved again ---------------------------------------------------------------------------------


def _solved(workspace: Workspace, draft: _Draft, terms: Terms) -> MergeView:
    """Solve the united edits at once; when the gate let the first batch pass, record the merge."""
    before, merged = draft.history.head, False

    def first() -> None:
        nonlocal merged
        _recorded(workspace, draft, terms)
        merged = True

    found: list[ChangeOutcome] = []
    try:
        for outcome in _consolidated(workspace, draft, terms, first):
            found.append(outcome)
            if outcome.resolved and outcome.resolved.outcome == "rejected":
                break
    except Conflict:
        raise  # somebody else came between, and is not to be taken back
    except BaseException:
        _taken_back(workspace, draft, terms, merged)
        raise
    last = found[-1].resolved
    reasons = last.reasons if last else ()
    view = replace(draft.view, resolved=tuple(found), metrics=last.metrics if last else {})
    if terms.dry_run:
        return replace(view, outcome="dry-run", reasons=reasons)
    if last and last.outcome == "rejected":
        _taken_back(workspace, draft, terms, merged)
        entry = workspace.journal.last_entry()
        return replace(_done(view, entry), outcome="rejected", reasons=reasons)
    back = f"to go on from before it: kel branch NAME --at v{before}; kel switch NAME"
    view = replace(view, notes=(*view.notes, back))
    return _done(view, workspace.journal.entry_of(found[-1].version))


def _recorded(workspace: Workspace, draft: _Draft, terms: Terms) -> None:
    led_to(
        workspace, "merge", draft.history.across(draft.united.edits), draft.united.edits,
        draft.history, payload=draft.payload, author=terms.author, note=terms.note,
    )  # fmt: skip


def _consolidated(
    workspace: Workspace, draft: _Draft, terms: Terms, first: Callable[[], None]
) -> Iterator[ChangeOutcome]:
    return consolidate(
        workspace,
        gate=terms.gate,
        ridge=terms.ridge,
        author=terms.author,
        note=terms.note,
        dry_run=terms.dry_run,
        active=draft.edits,
        first=first,
    )


def _taken_back(workspace: Workspace, draft: _Draft, terms: Terms, merged: bool) -> None:
    """If the merge was recorded, go back to before it."""
    if merged:
        name, before = draft.view.branch, draft.history.head
        note = "the re-solve was not done"
        restored(workspace, name, before, author=terms.author, note=note)
