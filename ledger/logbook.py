"""The history as `kel log` shows it: each entry with the facts it is about, and its branch.

Promise: built from the database alone; no torch, no model.

    log(journal, limit=20)[0].facts
    log(journal, None, branch="trial")
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from ledger.history import CHANGING
from ledger.inspection import entries_backwards, fact_line
from ledger.journal import Journal
from ledger.lines import Lines
from ledger.records import EditRecord, EntryRecord
from ledger.views import LogView


def log(
    journal: Journal, limit: int | None, branch: str | None = None, before: int = 0
) -> list[LogView]:
    """The history, newest first; with `branch`, what was recorded on it.

    `before`: only entries under that number; 0 for all.

    Raises: UnknownRevision.
    """
    lines = journal.lines()
    if branch is None:
        entries = journal.entries(after=before, limit=limit, newest_first=True)
    else:
        lines.tip(branch)
        own = (
            e for e in entries_backwards(journal, before) if lines.branch_of(e.version) == branch
        )
        entries = tuple(islice(own, limit))
    wanted = sorted({edit for entry in entries for edit in entry.edits})
    edits = journal.edits(wanted) if wanted else ()
    again = _again(journal, edits, lines)
    facts = {edit.id: fact_line(edit) + again.get(edit.id, "") for edit in edits}
    names: dict[int, list[str]] = {}
    for name, version in journal.tags().items():
        names.setdefault(version, []).append(name)
    return [_line(e, facts, names, lines.branch_of(e.version)) for e in entries]


def _again(journal: Journal, edits: Sequence[EditRecord], lines: Lines) -> dict[int, str]:
    """Edit -> ' (edited again, before: edit 3)' where its subject and prompt were edited before.

    An edit of another branch was not before it.
    """
    if not edits:
        return {}
    earlier: dict[tuple[str, str], list[tuple[int, int]]] = {}
    found: dict[int, str] = {}
    for fact in journal.about(edit.subject for edit in edits):
        line = earlier.setdefault((fact.subject, fact.prompt), [])
        here = lines.head if fact.version is None else fact.version
        if before := [edit for edit, version in line if lines.came(here, version)]:
            found[fact.edit] = f" (edited again, before: edit {before[-1]})"
        if fact.version is not None:
            line.append((fact.edit, fact.version))
    return found


def _line(
    entry: EntryRecord, facts: Mapping[int, str], names: Mapping[int, list[str]], branch: str
) -> LogView:
    moved = entry.op in CHANGING or entry.op == "init"
    return LogView(
        seq=entry.seq,
        version=entry.version,
        op=entry.op,
        edits=entry.edits,
        facts=tuple(facts[edit] for edit in entry.edits) or tuple(_rebased(entry)),
        payload=entry.payload,
        weights_digest=entry.weights_digest,
        author=entry.author,
        note=entry.note,
        created_at=entry.created_at,
        hash=entry.hash,
        tags=tuple(names.get(entry.version, ())) if moved else (),
        branch=branch,
    )


def _rebased(entry: EntryRecord) -> Iterator[str]:
    """What an entry without edits says of the facts of a rebase."""
    about = entry.payload.get("rebase")
    if not isinstance(about, Mapping):
        return
    if entry.op == "init":
        source = about["source"]
        yield f"rebased from version {source['version']} of {source['entry']['hash'][:12]}"
    for fact in about.get("facts", ()) if entry.op == "rebase" else ():
        word = "known to the base" if about["outcome"] == "known" else about["outcome"]
        yield f"{word}: {fact['prompt'].replace('{}', fact['subject'])} -> {fact['target_new']}"
    if about.get("outcome") == "done":
        yield f"the rebase is done; facts that do not hold in the end: {len(about['lost'])}"
