"""Reading a ledger: each question in its own short transaction.

Promise: every answer is one consistent state of the ledger, as frozen records.

Rules: two answers may come from different states; questions that must agree are asked through
`ledger.queries` within one `database.read()`.

    reader = Reader(database)
    reader.lines().resolve("HEAD~1", reader.tags())
    reader.entries(limit=20, newest_first=True)
    reader.edit("#12").subject
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ledger import queries, steps
from ledger.db import Database
from ledger.errors import NoLedger
from ledger.history import History
from ledger.lines import Lines
from ledger.records import (
    BaseTensorRecord,
    BatchRecord,
    EditRecord,
    EntryRecord,
    MeasurementRecord,
    ModelRecord,
    PredictionRecord,
    StatsRecord,
)
from ledger.sqlite import Reading

_PAGE: Final = 500


class Reader:
    """The read half of the journal. Keeps the folded history, so that only new entries are read,
    and how all edits stand until there is a new one."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._history = History()
        self._standing: tuple[int, steps.Standing | None] = (0, None)

    @property
    def database(self) -> Database:
        """Where the rows are."""
        return self._database

    def history(self) -> History:
        """The versions up to now."""
        with self._database.read() as reading:
            self._history = self._history_in(reading)
        return self._history

    def lines(self) -> Lines:
        """The branches up to now; the history is not folded for them."""
        with self._database.read() as reading:
            return self._lines_in(reading)

    def standing(self, edits: Iterable[int] | None = None) -> steps.Standing:
        """How some edits, or all, stand at the head; the history is not folded for them."""
        with self._database.read() as reading:
            if edits is not None:
                return self._standing_in(reading, edits)
            last, (seq, found) = steps.last_number(reading), self._standing
            if found is None or seq != last:
                found = self._standing_in(reading, None)
                self._standing = last, found
        return found

    def carried(self, edits: Iterable[int], version: int) -> frozenset[int]:
        """Those of some edits that a version carries; the history is not folded for them."""
        with self._database.read() as reading:
            return steps.carried(reading, edits, version)

    def difference(self, old: int, new: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The edits that came and those that went from one version to another, by number."""
        with self._database.read() as reading:
            turned = steps.between(reading, min(old, new), max(old, new))
            gone = steps.carried(reading, turned, old)
        return tuple(sorted(turned - gone)), tuple(sorted(gone))

    def last_entry(self) -> EntryRecord:
        """The newest entry. Raises: NoLedger before the first."""
        with self._database.read() as reading:
            last = queries.last_entry(reading)
        if last is None:
            raise NoLedger("the ledger has no entries yet; initialise it first.")
        return last

    def entries(
        self, *, after: int = 0, limit: int | None = None, newest_first: bool = False
    ) -> tuple[EntryRecord, ...]:
        """A page of entries beyond number `after`; newest first: below it, 0 for the first page."""
        with self._database.read() as reading:
            return queries.entries(reading, after=after, limit=limit, newest_first=newest_first)

    def entries_of_kind(self, op: str) -> Iterator[EntryRecord]:
        """The entries of one kind, newest first, read page by page."""
        before: int | None = None
        while True:
            with self._database.read() as reading:
                page = queries.entries_of_kind(reading, op, before, _PAGE)
            yield from page
            if len(page) < _PAGE:
                return
            before = page[-1].seq

    def entry_of(self, version: int) -> EntryRecord:
        """The entry that made `version`. Raises: UnknownRevision."""
        with self._database.read() as reading:
            return queries.entry_of(reading, version)

    def edits(self, ids: Iterable[int] | None = None) -> tuple[EditRecord, ...]:
        """Edits by id, in the order asked for; all by default. Raises: UnknownRevision."""
        with self._database.read() as reading:
            return queries.edits(reading, ids)

    def edit(self, spec: int | str) -> EditRecord:
        """The edit with this number or unique hash prefix. Raises: UnknownRevision."""
        with self._database.read() as reading:
            return queries.edit(reading, spec)

    def edits_of_batch(self, batch_id: int) -> tuple[EditRecord, ...]:
        """All edits of one batch, by component."""
        with self._database.read() as reading:
            return queries.edits_of_batch(reading, batch_id)

    def siblings(self, batch_ids: Iterable[int]) -> dict[int, tuple[int, ...]]:
        """Batch -> the numbers of its edits, by component."""
        with self._database.read() as reading:
            return steps.siblings(reading, batch_ids)

    def about(self, subjects: Iterable[str]) -> tuple[steps.Stated, ...]:
        """What all edits about these subjects state, in order."""
        with self._database.read() as reading:
            return steps.about(reading, subjects)

    def batch(self, batch_id: int) -> BatchRecord:
        """One batch. Raises: UnknownRevision."""
        return self.batches([batch_id])[batch_id]

    def batches(self, ids: Iterable[int]) -> dict[int, BatchRecord]:
        """Batches by id. Raises: UnknownRevision."""
        with self._database.read() as reading:
            return queries.batches(reading, ids)

    def measurements(
        self,
        *,
        version: int | None = None,
        edit_id: int | None = None,
        entry_seq: int | None = None,
        suite: str | None = None,
        metric: str | None = None,
        after: int = 0,
        limit: int | None = None,
    ) -> tuple[MeasurementRecord, ...]:
        """Measurements that match everything given, a page beyond id `after`."""
        with self._database.read() as reading:
            return queries.measurements(
                reading,
                version=version,
                edit_id=edit_id,
                entry_seq=entry_seq,
                suite=suite,
                metric=metric,
                after=after,
                limit=limit,
            )

    def rejected(self) -> tuple[int, ...]:
        """Ids of the edits that a gate refused, in order."""
        with self._database.read() as reading:
            return steps.rejected(reading)

    def tags(self) -> dict[str, int]:
        """Tag name -> version."""
        with self._database.read() as reading:
            return queries.tags(reading)

    def model(self) -> ModelRecord:
        """The base checkpoint in use: the newest. Raises: NoLedger before there is one."""
        with self._database.read() as reading:
            found = queries.models(reading)
        if not found:
            raise NoLedger("the ledger has no model yet; initialise it first.")
        return found[-1]

    def base_tensors(self, model_id: int = 1) -> dict[str, BaseTensorRecord]:
        """Parameter -> its untouched tensor."""
        with self._database.read() as reading:
            return queries.base_tensors(reading, model_id)

    def stats(
        self, base_digest: str | None, parameter: str | None = None
    ) -> tuple[StatsRecord, ...]:
        """Statistics of a base or any (and parameter), newest first."""
        with self._database.read() as reading:
            return queries.stats(reading, base_digest, parameter)

    def predictions(
        self, protocol: str, prompts: Sequence[str] | None = None, *, model_id: int = 1
    ) -> dict[str, PredictionRecord]:
        """Prompt -> the unedited model's prediction, for the prompts that have one."""
        with self._database.read() as reading:
            return queries.predictions(reading, model_id, protocol, prompts)

    def reachable(self) -> set[str]:
        """Names of all objects that some row refers to; what garbage collection must keep."""
        with self._database.read() as reading:
            return queries.oids(reading)

    def _standing_in(self, reading: Reading, edits: Iterable[int] | None) -> steps.Standing:
        came, turns = steps.came(reading, edits), steps.turns(reading)
        return steps.Standing.of(came, turns, self._lines_in(reading))

    def _lines_in(self, reading: Reading) -> Lines:
        last = queries.last_entry(reading)
        return Lines.of(steps.branching(reading), last.version if last else 0)

    def _history_in(self, reading: Reading) -> History:
        known, last = self._history, steps.last_number(reading)
        if last == known.seq:
            return known
        if last < known.seq:
            known = History()
        return known.after(steps.changes(reading, known.seq))
