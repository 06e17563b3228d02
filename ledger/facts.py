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
from ledger.searching import pattern

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
    last: dict[tuple[str, str], int] = {}
    newest = {edit.id: last.setdefault(fact_key(edit), edit.id) for edit in reversed(edits)}
    return {edit: newer for edit, newer in newest.items() if newer != edit}


def today() -> str:
    """The day in UTC, as `2026-01-31`."""
    return datetime.now(UTC).date().isoformat()


def expired(journal: Journal, on: str) -> tuple[int, ...]:
    """The edits that carry an expired fact at the head."""
    statement = "SELECT id, subject FROM edit WHERE valid_until < :day ORDER BY id"
    with journal.database.read() as snapshot:
        ended = {row["id"]: row["subject"] for row in snapshot.query(statement, day=on)}
    standing = _standing(journal, ended.values(), journal.lines().head) if ended else {}
    return tuple(edit for edit in ended if edit in standing)


def _standing(journal: Journal, subjects: Iterable[str], version: int) -> dict[int, list[int]]:
    """Of what a version carries about these subjects: edit -> the earlier ones of its fact."""
    stated = journal.about(subjects)
    active = journal.carried((fact.edit for fact in stated), version)
    lines: dict[tuple[str, str], list[int]] = {}
    for fact in stated:
        if fact.edit in active:
            lines.setdefault((fact.subject, fact.prompt), []).append(fact.edit)
    return {edits.pop(): edits for edits in lines.values()}


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
    stated = [
        (fact, carried)
        for fact, carried in _stated(journal, search or "")
        if (carried or _matches(fact, search)) and (only is None or _asked(fact, only, date))
    ]
    standing = _standing(journal, (fact.subject for fact, _ in stated), version)
    kept = [(fact, carried) for fact, carried in stated if fact.edit in standing]
    dated = (_as_stated(journal, fact) if carried else fact for fact, carried in kept)
    found = [fact for fact in dated if _matches(fact, search)]
    tests = _reliability(journal, [fact.edit for fact in found], version)
    return [_told(fact, standing[fact.edit], tests.get(fact.edit)) for fact in found]


def _told(fact: FactView, older: Sequence[int], test: tuple[float, str] | None) -> FactView:
    value, protocol = test or (None, None)
    return replace(fact, reliability=value, protocol=protocol, supersedes=tuple(older))


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
    told = [
        (entry, fact)
        for entry in reversed([*journal.entries_of_kind("rebase")])
        if entry.payload["rebase"]["outcome"] == "known"
        for fact in entry.payload["rebase"]["facts"]
    ]
    again = journal.about(fact["subject"] for _, fact in told)
    active = journal.carried((fact.edit for fact in again), version)
    stated = {(fact.subject, fact.prompt) for fact in again if fact.edit in active}
    found = [
        _known(journal, entry, fact)
        for entry, fact in told
        if (fact["subject"], fact["prompt"]) not in stated
    ]
    return [fact for fact in found if _matches(fact, search)]


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


def _stated(journal: Journal, search: str) -> Iterator[tuple[FactView, bool]]:
    """What edits state, without a number, and whether a re-solve may have carried it on.

    All in which `search` may occur, and those carried on, whose author another edit names.
    """
    statement = (
        "SELECT edit.id, subject, prompt, target_new, target_true, edit.created_at, valid_from,"
        " valid_until, source, batch.author, batch.note, method,"
        " CASE WHEN evidence LIKE '%\"replaces\"%' THEN 1 ELSE 0 END AS carried"
        " FROM edit JOIN batch ON batch.id = edit.batch_id"
        " WHERE lower(replace(prompt, '{}', subject) || ' ' || target_new || ' ' || batch.author"
        " || ' ' || coalesce(source, '')) LIKE :pattern ESCAPE '!'"
        " OR evidence LIKE '%\"replaces\"%' ORDER BY edit.id"
    )
    with journal.database.read() as snapshot:
        for row in snapshot.stream(statement, pattern=pattern(search)):
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
    journal: Journal, edits: Sequence[int], version: int
) -> dict[int, tuple[float, str]]:
    """Edit -> its newest reliability on the way to a version, and the protocol."""
    statement = (
        "SELECT edit_id, version, value, protocol FROM measurement WHERE metric = 'reliability'"
        " AND edit_id IN (SELECT CAST(value AS BIGINT) FROM json_each(:keys)) ORDER BY id"
    )
    on_way = journal.lines().way(version)
    with journal.database.read() as snapshot:
        rows = snapshot.stream(statement, keys=json.dumps(edits))
        return {r["edit_id"]: (r["value"], r["protocol"]) for r in rows if on_way(r["version"])}


def _matches(fact: FactView | KnownView, search: str | None) -> bool:
    if search is None:
        return True
    asked = fact.prompt.replace("{}", fact.subject)
    text = f"{asked} {fact.object} {fact.author} {fact.source or ''}"
    return search.casefold() in text.casefold()
