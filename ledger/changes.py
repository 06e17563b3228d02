"""Taking edits out and putting them back, and what that means for the rest of their batch.

Promise: the weights are the fold of the edits that are left, in ledger order; nothing is computed
again. Facts that stay behind in a batch keep their columns; they are tested again and the test is
recorded, because the method would have made other columns without the fact that went.

    entry = change(workspace, "revert", (3,), author="ada", note="")
    of_resolve(journal)                      # (1, 2, 4, 5), if the last change solved 1, 2 again
    left_behind(journal, entry)              # {batch: (1, 2, 4)}
    outcome = told(workspace, entry, author="ada", retest=True)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from ledger.carried import Change
from ledger.chain import weights_digest
from ledger.errors import IntegrityFailure
from ledger.history import History, step
from ledger.journal import Journal
from ledger.records import EntryRecord
from ledger.views import ChangeOutcome
from ledger.workspace import Workspace

ALL: Final = "resolve"  # the method of a batch that stands for all edits of its matrices


def change(
    workspace: Workspace, op: str, edits: tuple[int, ...], *, author: str, note: str
) -> EntryRecord:
    """Record a revert, a reapply or a swap of edits on the head.

    Raises: NotActive, AlreadyActive, Conflict (a part of a dense batch), StaleVersion.
    """
    history = workspace.journal.history()
    history.check(op, edits)
    active = step(frozenset(history.active()), op, edits)
    return led_to(workspace, op, edits, active, history, author=author, note=note)


def led_to(
    workspace: Workspace,
    op: str,
    edits: tuple[int, ...],
    active: Iterable[int],
    history: History,
    *,
    payload: Mapping[str, Any] | None = None,
    like: int | None = None,
    author: str,
    note: str,
) -> EntryRecord:
    """Fold a set of active edits and record the entry that leads there from the head of `history`.

    `like` is a version that had them: its digests must be those of the fold.
    Raises: Conflict (a part of a dense batch), StaleVersion, IntegrityFailure; what the history
    says to the entry.
    """
    versions = workspace.versions
    plan = versions.plan(history.ordered(active))
    tensors = {t.parameter: t.sha256 for t in versions.tensors(plan)}
    if like is not None and tensors != dict(workspace.journal.entry_of(like).tensors):
        raise IntegrityFailure(
            f"version {like} does not fold to its recorded weights; run `kel verify --weights`"
        )
    return workspace.journal.append(
        op,
        expected_head=history.head,
        edits=edits,
        weights_digest=weights_digest(workspace.record.base_digest, tensors),
        tensors=tensors,
        payload=payload,
        author=author,
        note=note,
    )


def told(workspace: Workspace, entry: EntryRecord, *, author: str, retest: bool) -> ChangeOutcome:
    """The outcome of a change; after a revert, with a test of the facts left in its batches."""
    outcome = ChangeOutcome(entry.op, entry.edits, entry.version, entry.weights_digest)
    if entry.op == "swap":
        active = set(workspace.journal.history().active(entry.version))
        return replace(outcome, back=tuple(edit for edit in entry.edits if edit in active))
    left = left_behind(workspace.journal, entry) if entry.op == "revert" else {}
    if not left:
        return outcome
    from ledger.running import test

    staying = tuple(edit for edits in left.values() for edit in edits)
    return ChangeOutcome(
        entry.op,
        entry.edits,
        entry.version,
        entry.weights_digest,
        notes=tuple(kept_columns(workspace.journal, batch, edits) for batch, edits in left.items()),
        retest=test(workspace, entry.version, staying, author, None) if retest else None,
    )


def of_resolve(journal: Journal) -> tuple[int, ...]:
    """The edits that change sides when the re-solve that made the head is taken back, as a whole.

    Empty if the last change is none. A re-solve of several matrices is several pairs of a revert
    and an apply; a pair belongs to an earlier one if its edits were replaced since.
    """
    history = journal.history()
    changes, replaced = list(history.changes), set[int]()
    while len(changes) > 1 and (method := _resolved(journal, *changes[-2:])):
        if not replaced.isdisjoint(changes[-1].edits) or (replaced and method != ALL):
            break
        replaced.update(changes[-2].edits)
        del changes[-2:]
        if method != ALL:
            break
    return history.ordered(set(history.active(len(changes))) ^ set(history.active()))


def _resolved(journal: Journal, first: Change, second: Change) -> str | None:
    """The method of a re-solve, if these two changes are one."""
    if (first.op, second.op) != ("revert", "apply"):
        return None
    batch = journal.batch(journal.edit(second.edits[0]).batch_id)
    carried = batch.evidence.get("replaces")
    known = isinstance(carried, list | tuple) and set(carried) <= set(first.edits)
    return batch.method if known else None


def left_behind(journal: Journal, entry: EntryRecord) -> dict[int, tuple[int, ...]]:
    """Batch -> its edits that are active after the revert of others of it."""
    active = journal.history().active(entry.version)
    batches = dict.fromkeys(edit.batch_id for edit in journal.edits(entry.edits))
    found = {batch: active_in(journal, batch, active) for batch in batches}
    return {batch: edits for batch, edits in found.items() if edits}


def active_in(journal: Journal, batch: int, active: Sequence[int]) -> tuple[int, ...]:
    """The edits of a batch that are among the active ones, by component."""
    chosen = set(active)
    return tuple(edit.id for edit in journal.edits_of_batch(batch) if edit.id in chosen)


def listed(edits: Iterable[int]) -> str:
    """'edit 3' or 'edits 3, 4'."""
    numbers = [str(edit) for edit in edits]
    return f"edit{'' if len(numbers) == 1 else 's'} {', '.join(numbers)}"


def kept_columns(journal: Journal, batch: int, staying: Sequence[int]) -> str:
    """What it means for the facts of a batch that stay that others of it were taken out."""
    method = journal.batch(batch).method
    keep = "keeps its column" if len(staying) == 1 else "keep their columns"
    return (
        f"{listed(staying)} of batch {batch} {keep} as computed together with what was taken out; "
        f"this is not what {method} would have computed without it"
    )
