"""Branches opened, closed and switched to, and how that is taken back.

Promise: opening and closing change no weights; a switch ends in a version with the very digests of
the branch's last one, or records nothing.

Rules: there is one history with one head. A switch is an entry like any other: it folds the edits
of the branch, and what comes after it belongs to that branch.

    named(journal, "trial", 4, author="ada", note="")
    switch(workspace, "trial", author="ada", note="").version
"""

from __future__ import annotations

from typing import Any

from ledger.branches import BranchView, SwitchView
from ledger.changes import led_to
from ledger.errors import Conflict
from ledger.history import History
from ledger.journal import Journal
from ledger.records import EntryRecord
from ledger.views import ChangeOutcome
from ledger.workspace import Workspace


def branches(journal: Journal) -> list[BranchView]:
    """All branches by name, beside the current one."""
    history = journal.history()
    lines, here = history.lines, set(history.active())
    found = []
    for name, version in sorted(lines.tips.items()):
        active = history.ordered(history.tip(name))
        found.append(
            BranchView(
                name=name,
                version=version,
                current=name == lines.current,
                active=active,
                common=lines.common(version, history.head),
                ahead=tuple(e for e in active if e not in here),
                behind=history.ordered(here - set(active)),
            )
        )
    return found


def named(
    journal: Journal, name: str, version: int | None, *, author: str, note: str
) -> EntryRecord:
    """Open a branch at a version, or close it (None).

    Raises: InvalidInput, Conflict (the name is taken; the branch is current), UnknownRevision.
    """
    lines = journal.history().lines
    payload: dict[str, Any] = {"name": name, "version": version}
    if version is None:
        payload["before"] = lines.tip(name)
    elif name in journal.tags():
        raise Conflict(f"there is a tag {name} already; a branch needs a name of its own")
    return journal.append("branch", payload=payload, author=author, note=note)


def switch(workspace: Workspace, name: str, *, author: str, note: str) -> SwitchView:
    """Make a branch the current one.

    Raises: UnknownRevision, Conflict (it is current already), StaleVersion, IntegrityFailure.
    """
    history = workspace.journal.history()
    left, before = history.lines.current, set(history.active())
    entry = _switched(workspace, history, name, author=author, note=note)
    after = workspace.journal.history().active()
    return SwitchView(
        branch=name,
        left=left,
        version=entry.version,
        like=int(entry.payload["version"]),
        added=tuple(e for e in after if e not in before),
        removed=history.ordered(before - set(after)),
        weights_digest=entry.weights_digest,
    )


def _switched(
    workspace: Workspace, history: History, name: str, *, author: str, note: str
) -> EntryRecord:
    tip = history.lines.tip(name)
    payload = {"name": name, "version": tip}
    active = history.tip(name)
    edits = history.across(active)
    history.check("switch", edits, payload)
    return led_to(
        workspace, "switch", edits, active, history,
        payload=payload, like=tip, author=author, note=note,
    )  # fmt: skip


def taken_back(workspace: Workspace, last: EntryRecord, *, author: str, note: str) -> ChangeOutcome:
    """Undo the last entry: a branch opened or closed, a switch or a merge."""
    journal, history = workspace.journal, workspace.journal.history()
    name = str(last.payload["name"])
    if last.op == "branch":
        version = last.payload.get("before")
        entry = named(journal, name, version, author=author, note=note)
    elif last.op == "switch":
        name = history.lines.branch_of(last.version - 1)
        entry = _switched(workspace, history, name, author=author, note=note)
    else:
        before = history.parent(history.head)
        entry = restored(workspace, name, before, author=author, note=note)
    return ChangeOutcome(entry.op, entry.edits, entry.version, entry.weights_digest, branch=name)


def restored(
    workspace: Workspace, name: str, version: int, *, author: str, note: str
) -> EntryRecord:
    """Take back a merge of branch `name`: the edits of an earlier version of this line."""
    history = workspace.journal.history()
    active = history.active(version)
    payload = {"name": name, "version": version, "undo": True}
    return led_to(
        workspace, "merge", history.across(active), active, history,
        payload=payload, like=version, author=author, note=note,
    )  # fmt: skip
