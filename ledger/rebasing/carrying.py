"""Carrying facts over: each batch known, kept, computed again or failed, and recorded as that.

Promise: one entry settles each batch (one more each of its facts that the base states); what is
recorded is done, and is not done again; the closing entry says what held in the end.

Rules: what the unedited new base states is asked of it once, by the measure that `edit` uses for a
fact the model states already: the prompt alone decides, teacher-forced and free. A stored delta is
kept where the tensors it changes are those of the old base bit for bit, all of its batch is carried
over and the gate lets it pass; otherwise the batch is computed again on the head.

    carrying = Carrying(source, line, options, author="ada")
    carrying.run(told=print)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Final

from editors.errors import EditFailed, InvalidRequest
from editors.methods import get_editor
from editors.requests import EditRequest
from ledger.bulk import chunks
from ledger.candidates import Candidate, Candidates, Computed
from ledger.corpus import WORLD
from ledger.deltas import decode_delta
from ledger.editing import Editing, states
from ledger.errors import BaseMismatch, EditorFailure, InvalidInput
from ledger.evaluation.scoring import Prediction
from ledger.options import Progress
from ledger.placing import Placing
from ledger.rebasing.choosing import settings_for
from ledger.rebasing.line import Line
from ledger.rebasing.recording import Recording, Told, numbered
from ledger.rebasing.report import KEY, settled
from ledger.rebasing.source import Fact, Group, Source, Unit
from ledger.rebasing.views import DONE, KEPT, KNOWN, RECOMPUTED, RebaseOptions, RebaseRow
from ledger.settings import Settings
from ledger.statistics import Wanted
from ledger.weights import digest

# What a batch's evidence says of other edits of its own ledger.
_LOCAL: Final = ("batch", "replaces", "superseded", "share_a_key")
_UNABLE: Final = (EditFailed, EditorFailure, InvalidRequest, InvalidInput)


class Carrying:
    """One rebase, on an open new ledger."""

    def __init__(
        self,
        source: Source,
        line: Line,
        options: RebaseOptions,
        author: str,
        progress: Progress = None,
    ) -> None:
        self._source, self._line, self._options = source, line, options
        self._w, self._author, self._progress = line.workspace, author, progress
        self._candidates, self._editing = Candidates(self._w), Editing(self._w)
        self._record = Recording(source, line, author)
        self._same: dict[str, bool] = {}

    def run(self, told: Told = None) -> None:
        """Settle every fact that is not settled, and close the rebase.

        Raises: UnknownMethod, InvalidHparams, InvalidInput before a fact is settled, for settings
        that make no sense on the new base; StaleVersion, IntegrityFailure.
        """
        about = [entry.payload[KEY] for entry in settled(self._line.journal)]
        if any(item["outcome"] == DONE for item in about):
            return
        units = self._units()
        self._prepare(units)
        over = {edit for item in about for edit in item["edits"]}
        try:
            for unit in units:
                self._carry(unit, over, told)
            self._record.closing(self._options)
        finally:
            self._w.rest()

    def foreseen(self) -> Iterator[RebaseRow]:
        """What would be tried, fact by fact; nothing is computed but the base's answers."""
        for unit in self._units():
            kept = self._fits(unit)
            for group in unit.groups:
                settings, _ = self._settings(group)
                for fact in group.facts:
                    yield RebaseRow(
                        source=fact.edit,
                        outcome=KNOWN if self._known(fact) else KEPT if kept else RECOMPUTED,
                        request=fact.request.to_json(),
                        method=unit.batch.method if kept else settings.method,
                        layers=unit.batch.layers if kept else (),
                        said=self._said[fact.edit].free,
                    )

    # --- before -----------------------------------------------------------------------------------

    def _units(self) -> list[Unit]:
        """The source's, or with a given method so many facts at a time as were asked for."""
        if self._options.method is None:
            return list(self._source.units)
        facts = iter(self._source.facts)
        batch = self._source.units[0].batch
        units = []
        for chunk in chunks((f.request for f in self._source.facts), self._options.batch, _new):
            own = tuple(next(facts) for _ in chunk)
            units.append(Unit(batch, own, False, (Group(batch, own),)))
        return units

    def _settings(self, group: Group) -> tuple[Settings, tuple[str, ...]]:
        config = self._w.live.model.model.config
        return settings_for(group.batch, self._source.config, config, self._options)

    def _prepare(self, units: Sequence[Unit]) -> None:
        """Refuse settings that cannot be, and measure what they need on texts like the source's."""
        needed: set[int] = set()
        for group in (group for unit in units for group in unit.groups):
            settings, _ = self._settings(group)
            placing = Placing(self._w)
            hparams, _ = placing.hparams(settings, facts=len(group.facts))
            needed |= set(get_editor(settings.method).needs(hparams))
            if settings.rule is not None:
                needed |= set(placing.needs(settings.rule, hparams))
        statistics = self._w.statistics
        missing = sorted(layer for layer in needed if not statistics.used(layer))
        world = self._source.corpora == {WORLD} and self._options.corpus is None
        if missing:
            wanted = Wanted(self._options.corpus, world=world)
            statistics.compute(missing, wanted, self._progress)

    @cached_property
    def _said(self) -> Mapping[int, Prediction]:
        """Source edit -> what the unedited new base answers."""
        self._w.live.show({})
        facts = self._source.facts
        found = self._editing.answers([fact.request for fact in facts])
        return {fact.edit: said for fact, said in zip(facts, found, strict=True)}

    def _known(self, fact: Fact) -> bool:
        return not self._options.keep_known and states(fact.request, self._said[fact.edit])

    def _fits(self, unit: Unit) -> bool:
        """Whether the stored delta of a batch may serve as it is."""
        if not (self._options.own and unit.whole) or any(map(self._known, unit.facts)):
            return False
        if self._source.record.model_type != self._w.record.model_type or unit.batch.oid is None:
            return False
        delta = decode_delta(self._source.store.get(unit.batch.oid))
        return all(self._is_same(name) for name in delta.parameters)

    def _is_same(self, parameter: str) -> bool:
        """Whether a tensor of the new base is the old base's, bit for bit."""
        if parameter not in self._same:
            recorded = self._source.journal.base_tensors()[parameter]
            try:
                found = digest(self._w.versions.base(parameter))
            except BaseMismatch:
                found = ""
            self._same[parameter] = found == recorded.sha256
        return self._same[parameter]

    # --- one batch --------------------------------------------------------------------------------

    def _carry(self, unit: Unit, over: set[int], told: Told) -> None:
        notes: tuple[str, ...] = ()
        if not over & {fact.edit for fact in unit.facts} and self._fits(unit):
            refused = self._keep(unit, told)
            if refused is None:
                return
            notes = (refused,)
        for group in unit.groups:
            pending = tuple(fact for fact in group.facts if fact.edit not in over)
            for fact in filter(self._known, pending):
                self._record.known(fact, self._said, told)
            fresh = tuple(fact for fact in pending if not self._known(fact))
            if fresh:
                self._compute(Group(group.batch, fresh), notes, told)

    def _keep(self, unit: Unit, told: Told) -> str | None:
        """Put the stored delta on the head; returns why the gate refused it, and records nothing
        then."""
        batch, facts = unit.batch, unit.facts
        data = self._source.store.get(str(batch.oid))
        evidence = {name: v for name, v in batch.evidence.items() if name not in _LOCAL}
        computed = Computed(
            requests=tuple(fact.request for fact in facts),
            fingerprints=tuple(fact.fingerprint for fact in facts),
            method=batch.method,
            hparams=batch.hparams,
            environment=batch.environment,
            delta=replace(decode_delta(data), evidence=evidence),
            seconds=0.0,
        )
        head, plan = self._w.at_head()
        held = self._w.holding(head, plan)
        before = self._editing.answers(computed.requests)
        candidate = self._candidates.measure(computed, held, plan, data)
        gate, broken = self._options.gate, len(candidate.broken)
        reasons = gate.reasons(candidate.metrics, broken, len(facts)) if gate else []
        if reasons:
            return (
                f"the stored delta of {numbered(facts)} does not serve here: {'; '.join(reasons)}"
            )
        self._record.moments(unit)
        self._finish(candidate, KEPT, facts, head, before, (), told)
        return None

    def _compute(self, group: Group, notes: tuple[str, ...], told: Told) -> None:
        """Make a batch again on the head, and let the gate decide."""
        settings, said = self._settings(group)
        requests = [fact.request for fact in group.facts]
        head, plan = self._w.at_head()
        before = self._editing.answers(requests)
        try:
            candidate = self._candidates.compute(requests, settings, head, plan, self._progress)
        except _UNABLE as error:
            told_of = (*notes, *said)
            self._record.failure(
                group.facts, settings.method, str(error), self._said, told_of, told
            )
            return
        names = tuple(fact.fingerprint for fact in group.facts)
        candidate = replace(candidate, computed=replace(candidate.computed, fingerprints=names))
        self._finish(candidate, RECOMPUTED, group.facts, head, before, (*notes, *said), told)

    def _finish(
        self,
        candidate: Candidate,
        outcome: str,
        facts: Sequence[Fact],
        head: int,
        before: Sequence[Prediction],
        notes: tuple[str, ...],
        told: Told,
    ) -> None:
        answers = [found.free for found in before]
        origin = self._record.origin(outcome, facts, self._said, notes)
        gate, note = self._options.gate, f"rebased from {numbered(facts)}"
        self._editing.finish(candidate, head, answers, gate, self._author, note, origin=origin)
        self._record.tell(told)


def _new(_request: EditRequest) -> None:
    """Nothing is in the new ledger yet."""
