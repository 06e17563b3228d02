"""What a rebase writes beside batches: facts that are known or failed, moments, how it ended.

Promise: every entry says which facts of the source it settles; none of these moves the version.

    record = Recording(source, line, author="ada")
    record.known(fact, said, told=None)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from editors.requests import EditRequest
from ledger.commit import Origin
from ledger.editing import Editing, states
from ledger.evaluation.scoring import Prediction, protocol
from ledger.rebasing.line import Line
from ledger.rebasing.report import KEY, rows_of, settled
from ledger.rebasing.source import Fact, Source, Unit
from ledger.rebasing.views import DONE, FAILED, KEPT, KNOWN, RECOMPUTED, RebaseOptions, RebaseRow
from ledger.records import MeasurementRecord, ObjectRecord, Rows, StatsRecord
from ledger.retests import HOLDS

Said = Mapping[int, Prediction]
Told = Callable[[RebaseRow], None] | None
SUITE: Final = "rebase"


class Recording:
    """Appends to the new ledger."""

    def __init__(self, source: Source, line: Line, author: str) -> None:
        self._source, self._journal, self._store = source, line.journal, line.store
        self._w, self._author = line.workspace, author

    def origin(
        self, outcome: str, facts: Sequence[Fact], said: Said, notes: Sequence[str]
    ) -> Origin:
        """Who stated the facts of a batch, and why; of several people's, whoever rebases."""
        authors, own = {fact.author for fact in facts}, {fact.note for fact in facts}
        entry = self._source.journal.entry_of(self._source.version)
        since = f"rebased from {entry.hash[:12]} {numbered(facts)}"
        note = own.pop() if len(own) == 1 else ""
        return Origin(
            author=authors.pop() if len(authors) == 1 else self._author,
            note=f"{note}\n{since}" if note else since,
            payload={KEY: _about(outcome, facts, said, notes)},
        )

    def known(self, fact: Fact, said: Said, told: Told) -> None:
        """What the base states itself, and how well: measurements without an edit."""
        (measured,) = self._w.examiner.edits([fact.request], {})
        about = _about(KNOWN, [fact], said, ())
        about |= {"facts": [fact.request.to_json()], "method": "", "reasons": []}
        about |= {"author": fact.author, "note": fact.note, "since": fact.since}
        rows = Rows(measurements=measured.rows(None, SUITE), predictions=measured.predictions)
        self._append(about, rows, f"rebased from {numbered([fact])}")
        self._w.examiner.kept(measured.predictions)
        self.tell(told)

    def failure(
        self,
        facts: Sequence[Fact],
        method: str,
        reason: str,
        said: Said,
        notes: Sequence[str],
        told: Told,
    ) -> None:
        """Facts that the method could not make again, and why."""
        about = _about(FAILED, facts, said, notes)
        about |= {"facts": [fact.request.to_json() for fact in facts]}
        about |= {"method": method, "reasons": [reason]}
        self._append(about, Rows(), f"rebased from {numbered(facts)}")
        self.tell(told)

    def moments(self, unit: Unit) -> None:
        """Bring the second moments that a kept batch names, so that it can be solved again here."""
        used = unit.batch.environment.get("statistics", {})
        rows = [row for layer, about in used.items() for row in self._missing(int(layer), about)]
        if not rows:
            return
        oids = [oid for row in rows for oid in (row.moment_oid, row.factor_oid) if oid]
        objects = []
        for oid in dict.fromkeys(oids):
            data = self._source.store.get(oid)
            kind = "moment" if any(row.moment_oid == oid for row in rows) else "factor"
            objects.append(ObjectRecord(oid=self._store.put(data), kind=kind, size=len(data)))
        self._journal.append(
            "stats",
            rows=Rows(objects=tuple(objects), stats=tuple(rows)),
            payload={"checks": {}},
            author=self._author,
            note=f"of the old base, for {numbered(unit.facts)}",
        )

    def closing(self, options: RebaseOptions) -> None:
        """Ask the head for everything that was carried over, and say what does not hold."""
        head, plan = self._w.at_head()
        held = self._w.holding(head, plan)
        least = options.gate.min_reliability if options.gate else HOLDS
        rows = [row for entry in settled(self._journal) for row in rows_of(self._journal, entry)]
        edited = (row for row in rows if row.outcome in (KEPT, RECOMPUTED))
        lost = [row.source for row in edited if held.get(row.edit or 0, 0.0) < least]
        lost += self._forgotten([row for row in rows if row.outcome == KNOWN])
        asked = protocol(self._w.live.model.frame)
        measured = tuple(
            MeasurementRecord(
                edit_id=edit, suite=SUITE, metric="reliability", value=value, protocol=asked
            )
            for edit, value in held.items()
        )
        self._append(
            {"outcome": DONE, "edits": [], "lost": sorted(lost)}, Rows(measurements=measured), ""
        )

    def tell(self, told: Told) -> None:
        """Say what the last entry settled."""
        if told is not None:
            for row in rows_of(self._journal, self._journal.last_entry()):
                told(row)

    def _append(self, about: Mapping[str, Any], rows: Rows, note: str) -> None:
        payload = {KEY: dict(about)}
        self._journal.append("rebase", rows=rows, payload=payload, author=self._author, note=note)

    def _forgotten(self, rows: Sequence[RebaseRow]) -> Iterator[int]:
        """Facts of the base that the live model does not state."""
        requests = [EditRequest.from_json(row.request) for row in rows]
        answers = Editing(self._w).answers(requests)
        for row, request, said in zip(rows, requests, answers, strict=True):
            if not states(request, said):
                yield row.source

    def _missing(self, layer: int, about: Mapping[str, Any]) -> Iterator[StatsRecord]:
        """The source's row of these statistics, unless it is here."""
        parameter, factor = self._w.live.model.parameter_name(layer), about.get("factor")
        if any(row.factor_oid == factor for row in self._journal.stats(None, parameter)):
            return
        for row in self._source.journal.stats(None, parameter):
            if row.factor_oid == factor:
                yield StatsRecord(
                    base_digest=row.base_digest,
                    parameter=parameter,
                    corpus=row.corpus,
                    corpus_sha256=row.corpus_sha256,
                    count=row.count,
                    moment_oid=row.moment_oid,
                    factor_oid=row.factor_oid,
                    jitter=row.jitter,
                )
                return


def numbered(facts: Sequence[Fact]) -> str:
    """'edit 3' or 'edits 3, 4'."""
    word = "edit" if len(facts) == 1 else "edits"
    return f"{word} {', '.join(str(fact.edit) for fact in facts)}"


def _about(outcome: str, facts: Sequence[Fact], said: Said, notes: Sequence[str]) -> dict[str, Any]:
    """The part of an entry's payload that settles facts."""
    return {
        "outcome": outcome,
        "edits": [fact.edit for fact in facts],
        "hashes": [fact.hash for fact in facts],
        "said": [said[fact.edit].free for fact in facts],
        "notes": list(notes),
    }
