"""What a version carries, as facts: who said so, since when, whether it held at the last test.

Promise: read from the database alone; no model, no torch.

Rules: the same subject and the same prompt edited again is a supersession: while both are active,
the later one in ledger order is the fact, the earlier one is superseded by it. A fact carried on
under a new number by a re-solve is the same fact, and keeps the time and the author of its first
edit. A fact is expired after its last valid day and current from its first to its last; one without
days is always current.

    for fact in facts(journal, version=3, search="born", only="expired", on="2026-01-31"):
        fact.subject, fact.prompt, fact.object, fact.since, fact.valid_until
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from editors.requests import day
from ledger.errors import InvalidInput

if TYPE_CHECKING:
    from ledger.journal import Journal
    from ledger.records import BatchRecord, EditRecord, EntryRecord

ONLY: Final = ("current", "expired")


@dataclass(frozen=True)
class FactView:
    """A fact that a version carries. `since` and `author` are those of the edit that stated it
    first; `reliability` is the newest that was measured on the way to the version, by `protocol`.
    `valid_from` and `valid_until` are the first and the last day on which it is true, `source` is
    who says so."""

    edit: int
    subject: str
    prompt: str
    object: str
    instead_of: str | None
    since: str
    author: str
    method: str
    reliability: float | None
    protocol: str | None
    supersedes: tuple[int, ...] = ()
    note: str = ""
    valid_from: str | None = None
    valid_until: str | None = None
    source: str | None = None

    def expired(self, on: str) -> bool:
        """Whether its last valid day is before the day `on`."""
        return self.valid_until is not None and self.valid_until < on

    def current(self, on: str) -> bool:
        """Whether it is valid on the day `on`."""
        begun = self.valid_from is None or self.valid_from <= on
        return begun and not self.expired(on)


def fact_key(edit: EditRecord) -> tuple[str, str]:
    """What two edits of one fact have in common."""
    return edit.subject, edit.prompt


def superseded(edits: Sequence[EditRecord]) -> dict[int, int]:
    """Edit -> the later one of these that states the same subject and prompt anew."""
    return _newer((edit.id, fact_key(edit)) for edit in reversed(edits))


def _newer(backwards: Iterable[tuple[int, tuple[str, str]]]) -> dict[int, int]:
    """Edit -> the newest one of its fact; edits and facts from the last to the first."""
    last: dict[tuple[str, str], int] = {}
    found: dict[int, int] = {}
    for edit, fact in backwards:
        newest = last.setdefault(fact, edit)
        if newest != edit:
            found[edit] = newest
    return found


def _key(fact: FactView) -> tuple[str, str]:
    return fact.subject, fact.prompt


def today() -> str:
    """The day in UTC, as `2026-01-31`."""
    return datetime.now(UTC).date().isoformat()


def expired(journal: Journal, on: str) -> tuple[int, ...]:
    """The edits that carry an expired fact at the head."""
    statement = "SELECT id FROM edit WHERE valid_until < :day"
    with journal.database.read() as snapshot:
        ended = {row["id"] for row in snapshot.query(statement, day=on)}
    active = journal.history().active()
    if ended.isdisjoint(active):
        return ()
    older = superseded(journal.edits(active))
    return tuple(edit for edit in active if edit in ended and edit not in older)


def facts(
    journal: Journal,
    version: int,
    search: str | None = None,
    *,
    only: str | None = None,
    on: str | None = None,
) -> list[FactView]:
    """The facts of a version in ledger order; `search` in subject, prompt, object, author, source.

    `only` those that are `current` or `expired` on the day `on`, by default today. Superseded edits
    are facts no more; the fact that stands names them. Raises: InvalidInput, InvalidRequest.
    """
    if only not in (None, *ONLY) or (on is not None and only is None):
        raise InvalidInput(f"a day is asked for with {' or '.join(ONLY)} facts, not {only!r}")
    date = today() if on is None else day("on", on)
    history = journal.history()
    active = history.active(version)
    stated = {fact.edit: (fact, carried) for fact, carried in _stated(journal)}
    older: dict[int, list[int]] = {}
    for old, new in _newer((n, _key(stated[n][0])) for n in reversed(active)).items():
        older.setdefault(new, []).append(old)
    gone = {edit for group in older.values() for edit in group}
    found = []
    for edit in active:
        fact, carried = stated[edit]
        if edit in gone or not (only is None or _asked(fact, only, date)):
            continue
        if carried:
            fact = _as_stated(journal, fact)
        if search is None or _matches(fact, search):
            found.append(fact)
    tests = _reliability(journal, [fact.edit for fact in found], history.lines.ancestors(version))
    return [_told(fact, older.get(fact.edit, ()), tests.get(fact.edit)) for fact in found]


def _told(fact: FactView, older: Sequence[int], test: tuple[float, str] | None) -> FactView:
    value, protocol = test or (None, None)
    supersedes = tuple(sorted(older))
    return replace(fact, reliability=value, protocol=protocol, supersedes=supersedes)


def _asked(fact: FactView, only: str, date: str) -> bool:
    return fact.expired(date) if only == "expired" else fact.current(date)


@dataclass(frozen=True)
class KnownView:
    """A fact that the base states itself, as a rebase found: no edit carries it.

    `since`, `author` and `note` are those of the edit of the old ledger; `entry` recorded it here.
    """

    entry: int
    subject: str
    prompt: str
    object: str
    instead_of: str | None
    since: str
    author: str
    note: str
    source: str | None
    reliability: float | None


def known_facts(journal: Journal, version: int, search: str | None = None) -> list[KnownView]:
    """The facts left to the base that no edit of a version states anew."""
    (first,) = journal.entries(limit=1)
    if "rebase" not in first.payload:
        return []
    edits = journal.edits(journal.history().active(version))
    stated = {(edit.subject, edit.prompt) for edit in edits}
    found = [
        _known(journal, entry, fact)
        for entry in reversed([*journal.entries_of_kind("rebase")])
        if entry.payload["rebase"]["outcome"] == "known"
        for fact in entry.payload["rebase"]["facts"]
        if (fact["subject"], fact["prompt"]) not in stated
    ]
    return [fact for fact in found if search is None or _matches(fact, search)]


def _known(journal: Journal, entry: EntryRecord, fact: Mapping[str, Any]) -> KnownView:
    about = entry.payload["rebase"]
    rows = journal.measurements(entry_seq=entry.seq, metric="reliability")
    return KnownView(
        entry=entry.seq,
        subject=fact["subject"],
        prompt=fact["prompt"],
        object=fact["target_new"],
        instead_of=fact["target_true"],
        since=about["since"],
        author=about["author"],
        note=about["note"],
        source=fact.get("source"),
        reliability=rows[0].value if rows else None,
    )


def _stated(journal: Journal) -> Iterator[tuple[FactView, bool]]:
    """What every edit states, without a number, and whether a re-solve may have carried it on."""
    statement = (
        "SELECT edit.id, subject, prompt, target_new, target_true, edit.created_at, valid_from,"
        " valid_until, source, batch.author, batch.note, method,"
        " CASE WHEN evidence LIKE '%\"replaces\"%' THEN 1 ELSE 0 END AS carried"
        " FROM edit JOIN batch ON batch.id = edit.batch_id ORDER BY edit.id"
    )
    with journal.database.read() as snapshot:
        for row in snapshot.stream(statement):
            fact = FactView(
                edit=row["id"],
                subject=row["subject"],
                prompt=row["prompt"],
                object=row["target_new"],
                instead_of=row["target_true"],
                since=row["created_at"],
                author=row["author"],
                method=row["method"],
                reliability=None,
                protocol=None,
                note=row["note"],
                valid_from=row["valid_from"],
                valid_until=row["valid_until"],
                source=row["source"],
            )
            yield fact, bool(row["carried"])


def _as_stated(journal: Journal, fact: FactView) -> FactView:
    """With the time, the author and the note of the edit that stated it first."""
    edit = journal.edit(fact.edit)
    first, made = first_stated(journal, edit, journal.batch(edit.batch_id))
    return replace(fact, since=first.created_at, author=made.author, note=made.note)


def first_stated(
    journal: Journal, edit: EditRecord, batch: BatchRecord
) -> tuple[EditRecord, BatchRecord]:
    """The edit that stated the fact, where re-solves only carried it on."""
    replaces = batch.evidence.get("replaces")
    while isinstance(replaces, list) and edit.component < len(replaces):
        edit = journal.edit(int(replaces[edit.component]))
        batch = journal.batch(edit.batch_id)
        replaces = batch.evidence.get("replaces")
    return edit, batch


def _reliability(
    journal: Journal, edits: Sequence[int], way: frozenset[int]
) -> dict[int, tuple[float, str]]:
    """Edit -> its newest reliability on the way to a version, and the protocol."""
    statement = (
        "SELECT edit_id, version, value, protocol FROM measurement WHERE metric = 'reliability'"
        " AND edit_id IN (SELECT CAST(value AS BIGINT) FROM json_each(:keys)) ORDER BY id"
    )
    with journal.database.read() as snapshot:
        rows = snapshot.stream(statement, keys=json.dumps(edits))
        return {r["edit_id"]: (r["value"], r["protocol"]) for r in rows if r["version"] in way}


def _matches(fact: FactView | KnownView, search: str) -> bool:
    asked = fact.prompt.replace("{}", fact.subject)
    text = f"{asked} {fact.object} {fact.author} {fact.source or ''}"
    return search.casefold() in text.casefold()
