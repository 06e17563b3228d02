"""The journal: the one place that appends to the ledger, and the way to read it.

Promise: an append is one transaction with exactly one entry; when it returns, the entry is on disk,
its objects are in the store, its number follows the one before and its hash covers it and its rows.

Rules: only `apply`, `revert`, `reapply`, `switch` and `merge` make a version, and only on the head
they were computed for; a version's weights digest is the caller's, every other entry repeats that
of the head.

    journal = Journal(database, store)
    entry = journal.append("apply", expected_head=2, rows=rows, weights_digest=w, tensors=t)
    journal.history().active(entry.version)
    journal.edit("3fa9").subject
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Protocol

from ledger import chain, queries
from ledger.db import Database, Writing
from ledger.errors import Conflict, InvalidInput, ObjectLost, StaleVersion
from ledger.fields import Record, stored, unfilled
from ledger.history import CHANGING, History
from ledger.numbering import Place, in_order, new_ids, numbered
from ledger.reader import Reader
from ledger.records import EntryRecord, Rows, new_edit


class Objects(Protocol):
    """What the journal asks of an object store."""

    def has(self, oid: str) -> bool: ...
    def size(self, oid: str) -> int: ...


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What the caller of `append` wants."""

    op: str
    expected_head: int | None
    rows: Rows
    edits: tuple[int, ...]
    weights_digest: str | None
    tensors: Mapping[str, str] | None
    payload: Mapping[str, Any]
    author: str
    note: str


def _point(name: str) -> None:
    """A place where the process may die; tests replace it."""


def utc_now() -> str:
    """Now, as `2026-01-02T03:04:05.123456Z`: sorts as text and hashes alike everywhere."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Journal(Reader):
    """Appends to and reads one ledger. Objects must be in `store` before they are referred to."""

    def __init__(
        self, database: Database, store: Objects, clock: Callable[[], str] = utc_now
    ) -> None:
        super().__init__(database)
        self._store = store
        self._clock = clock

    def append(
        self,
        op: str,
        *,
        expected_head: int | None = None,
        rows: Rows | None = None,
        edits: Iterable[int] = (),
        weights_digest: str | None = None,
        tensors: Mapping[str, str] | None = None,
        payload: Mapping[str, Any] | None = None,
        author: str = "",
        note: str = "",
    ) -> EntryRecord:
        """Append one entry with its rows; durable when it returns.

        `edits` are ids, or `new_edit(i)` for `rows.edits[i]`; for `apply` and `reject` they default
        to all new edits. `weights_digest` and `tensors` are needed for `init` and for operations
        that make a version, and only there.

        Raises: StaleVersion if the head is not `expected_head`; NotActive, AlreadyActive, Conflict;
        ObjectLost if an object is not in the store; BaseMismatch if an untouched tensor is not the
        recorded one; InvalidInput, UnknownRevision, NoLedger, Busy.
        """
        rows = rows or Rows()
        if not edits and op in ("apply", "reject"):
            edits = [new_edit(position) for position in range(len(rows.edits))]
        plan = _Plan(
            op=op,
            expected_head=expected_head,
            rows=rows,
            edits=tuple(edits),
            weights_digest=weights_digest,
            tensors=tensors,
            payload=payload or {},
            author=author,
            note=note,
        )
        with self._database.write() as writing:
            entry, history = self._append_locked(writing, plan)
        self._history = history
        return entry

    def _append_locked(self, writing: Writing, plan: _Plan) -> tuple[EntryRecord, History]:
        last, history = queries.last_entry(writing), self._history_in(writing)
        version = _next_version(plan, last, history)
        place = Place(seq=history.seq + 1, version=version, stamp=self._clock())
        rows = numbered(writing, plan.rows, place)
        edits = new_ids(plan.edits, rows.edits)
        if plan.op in CHANGING:
            history.check(plan.op, edits, plan.payload)
        elif plan.op == "branch":
            history.lines.check_branch(plan.payload)
        self._check_links(writing, rows, edits)
        entry = _entry(plan, last, place, rows, edits)
        _insert(writing, [entry, *in_order(rows)])
        return entry, history.after([entry])

    def _check_links(self, writing: Writing, rows: Rows, edits: tuple[int, ...]) -> None:
        created = {edit.id for edit in rows.edits}
        queries.edits(writing, [edit for edit in edits if edit not in created])
        named = {rows.batch.oid} if rows.batch else set()
        named |= {oid for item in rows.stats for oid in (item.moment_oid, item.factor_oid)}
        wanted = {oid for oid in named if oid}
        fresh = {item.oid for item in rows.objects}
        unknown = wanted - fresh - queries.oids(writing, sorted(wanted))
        if unknown:
            raise InvalidInput(f"object {min(unknown)[:12]} is referred to but not recorded.")
        lost = sorted(oid for oid in wanted | fresh if not self._store.has(oid))
        if lost:
            raise ObjectLost(
                f"object {lost[0][:12]} is not in the store, so nothing was recorded; "
                "put it there first."
            )
        for item in rows.objects:
            if item.size != self._store.size(item.oid):
                raise InvalidInput(f"object {item.oid[:12]} does not have {item.size} bytes.")


def _next_version(plan: _Plan, last: EntryRecord | None, history: History) -> int:
    """The version the entry stands on. Raises: Conflict, NoLedger, StaleVersion, InvalidInput."""
    if plan.op == "init":
        if last is not None:
            raise Conflict("the ledger is initialised already.")
        return 0
    head = history.head
    if plan.expected_head is not None and plan.expected_head != head:
        raise StaleVersion(plan.expected_head, head)
    if plan.op not in CHANGING:
        return head
    if plan.expected_head is None:
        raise InvalidInput(f"{plan.op} needs the version it was computed on (expected_head).")
    return head + 1


def _entry(
    plan: _Plan, last: EntryRecord | None, place: Place, rows: Rows, edits: tuple[int, ...]
) -> EntryRecord:
    weights, tensors = _weights(plan, last)
    written = [(record.table, stored(record)) for record in in_order(rows)]
    entry = EntryRecord(
        seq=place.seq,
        version=place.version,
        op=plan.op,
        edits=edits,
        payload=plan.payload,
        weights_digest=weights,
        tensors=tensors,
        rows_digest=chain.rows_digest(written),
        author=plan.author,
        note=plan.note,
        created_at=place.stamp,
        prev_hash=last.hash if last else chain.ZERO,
    )
    return replace(entry, hash=chain.entry_hash(stored(entry)))


def _weights(plan: _Plan, last: EntryRecord | None) -> tuple[str, Mapping[str, str]]:
    given = plan.weights_digest is not None and plan.tensors is not None
    if last is None or plan.op in CHANGING:
        if plan.weights_digest is None or plan.tensors is None:
            raise InvalidInput(f"{plan.op} needs the weights digest and the tensors' digests.")
        return plan.weights_digest, plan.tensors
    if given:
        raise InvalidInput(f"{plan.op} leaves the weights as they are; give no digests.")
    return last.weights_digest, last.tensors


def _insert(writing: Writing, records: Sequence[Record]) -> None:
    for name, group in groupby(records, key=lambda record: record.table):
        same = list(group)
        empty = [field for record in same for field in unfilled(record)]
        if empty:
            raise InvalidInput(f"{name}.{empty[0]} is missing.")
        writing.insert(name, [stored(record) for record in same])
        _point(f"inserted-{name}")
