"""What is measured after every edit, on the live model.

Promise: locality is agreement with the unedited model, whose predictions are kept and asked only
once; every number is stored with its protocol, and with the texts it rests on.

Rules: `<metric>` is teacher-forced, `<metric>_free` is the free greedy answer with a natural stop
(definitions in ledger.evaluation.metrics). `reliability` the edit's prompt, `generalization` its
paraphrases, `locality` its neighbourhood probes, `locality_same_subject` the same subject's other
relations, `locality_random` the ledger's fixed random probes, `portability` where given.

    examiner = Examiner(journal, live, randoms)
    (measured,) = examiner.edits([request], plan)
    measured.metrics["reliability"], measured.predictions      # rows to be kept
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from editors.requests import EditRequest, Probe
from ledger.chain import digest
from ledger.evaluation.judging import BeginsWith
from ledger.evaluation.metrics import mean, token_accuracy
from ledger.evaluation.protocol import Protocol, records_digest
from ledger.evaluation.scored import kept_scores, wanted_scores
from ledger.evaluation.scoring import Prediction, Question, predict, predict_each
from ledger.journal import Journal
from ledger.live import LiveModel
from ledger.records import EditRecord, MeasurementRecord, PredictionRecord
from ledger.retests import Told
from ledger.versions import Plan

KEPT = ("neighbourhood", "same_subject", "random")
METRIC = {
    "neighbourhood": "locality",
    "same_subject": "locality_same_subject",
    "random": "locality_random",
}


@dataclass(frozen=True)
class Measured:
    """Numbers, the texts behind them, and the base's predictions that were new."""

    metrics: Mapping[str, float]
    details: Mapping[str, Mapping[str, Any]]
    after: str
    protocol: str
    predictions: tuple[PredictionRecord, ...] = ()

    def rows(self, edit_id: int | None, suite: str) -> tuple[MeasurementRecord, ...]:
        """As rows of one suite."""
        return tuple(
            MeasurementRecord(
                edit_id=edit_id,
                suite=suite,
                metric=name,
                value=float(value),
                protocol=self.protocol,
                detail=self.details.get(name, {}),
            )
            for name, value in self.metrics.items()
        )


@dataclass
class _Sheet:
    """Collects scores and texts of one examination; `protocol` is of any records."""

    protocol: Protocol
    metrics: dict[str, float] = field(default_factory=dict)
    details: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(
        self,
        name: str,
        asked: Sequence[Question],
        rows: Sequence[Mapping[str, Any]],
        detail: Mapping[str, Any],
    ) -> None:
        """Means of the rows' `score` and `free_score`, one row a question, and the texts."""
        for metric, key in ((name, "score"), (f"{name}_free", "free_score")):
            value = mean(row[key] for row in rows)
            if value is not None:
                self.metrics[metric] = value
        if rows:
            ids = [digest([question.prompt, question.answer]) for question in asked]
            own = replace(self.protocol, records=records_digest(ids))
            self.details[name] = {**detail, "protocol": own.digest}


class Examiner:
    """Measures edits on one live model; keeps the base's predictions for the session."""

    def __init__(self, journal: Journal, live: LiveModel, randoms: Sequence[Question]) -> None:
        self._journal, self._live = journal, live
        self._randoms = tuple(randoms)
        self._whole = Protocol.of(live.model, records=())
        self._protocol = self._whole.definition
        self._base: dict[Question, Prediction] = {}
        self._stored: set[str] = set()

    def edits(self, requests: Sequence[EditRequest], plan: Plan) -> tuple[Measured, ...]:
        """Measure each edit's own probes on the version `plan`; the base is asked once for all.

        The base's predictions that were new come with the first.
        """
        fresh = self._remember([q for request in requests for q in _kept_questions(request)])
        self._live.show(plan)
        asked = [q for request in requests for q in self._questions_of(request)]
        answers = predict_each(self._live.model, asked)
        found: list[Measured] = []
        for request in requests:
            sheet = _Sheet(self._whole)
            after = self._own(request, sheet, answers)
            new = () if found else fresh
            found.append(Measured(sheet.metrics, sheet.details, after, self._protocol, new))
        return tuple(found)

    def randoms(self, plan: Plan, facts: Iterable[EditRequest | EditRecord] = ()) -> Measured:
        """Measure the ledger's random probes on the version `plan`, which states `facts`.

        A probe that asks for one of these facts is left out: its answer is meant to change.
        """
        meant = {text for fact in facts for text in _stated(fact)}
        asked = [question for question in self._randoms if question.prompt not in meant]
        fresh = self._remember(self._randoms)
        self._live.show(plan)
        sheet = _Sheet(self._whole)
        answers = predict_each(self._live.model, [self._again(q) for q in asked])
        self._kept("random", asked, sheet, answers, changed_only=True)
        return Measured(sheet.metrics, sheet.details, "", self._protocol, fresh)

    def holding(
        self, edits: Iterable[EditRecord], plan: Plan, told: Told | None = None
    ) -> dict[int, float]:
        """Teacher-forced reliability of other edits' own prompts on the version `plan`.

        `told` is called with each edit and its number as soon as it is measured.
        """
        chosen = list(edits)
        self._live.show(plan)
        asked = [Question(e.prompt.replace("{}", e.subject), e.target_new) for e in chosen]

        def measured(place: int, found: Prediction) -> None:
            if told is not None:
                told(chosen[place], token_accuracy(found.argmax, found.gold))

        found = predict(self._live.model, asked, free_tokens=0, told=measured)
        return {
            edit.id: token_accuracy(p.argmax, p.gold) for edit, p in zip(chosen, found, strict=True)
        }

    def _questions_of(self, request: EditRequest) -> list[Question]:
        """Everything that is asked about a request on the version it is measured on."""
        wanted = [q for probes in _wanted(request).values() for q in _questions(probes)]
        return [*wanted, *(self._again(q) for q in _kept_questions(request))]

    def _again(self, question: Question) -> Question:
        """The question whose answer is compared with what the base said."""
        before = self._base[question]
        return Question(before.prompt, before.answer or None)

    def _own(
        self, request: EditRequest, sheet: _Sheet, answers: Mapping[Question, Prediction]
    ) -> str:
        """The probes that should show the edit, and those that should not; the new answer."""
        after = ""
        for name, probes in _wanted(request).items():
            asked = _questions(probes)
            rows = [_shown(answers[question]) for question in asked]
            sheet.add(name, asked, rows, {"probes": rows})
            if name == "reliability":
                after = str(rows[0]["after"])
        self._kept("neighbourhood", _questions(request.neighbourhood), sheet, answers)
        self._kept("same_subject", _questions(request.same_subject), sheet, answers)
        return after

    def _kept(
        self,
        kind: str,
        questions: Sequence[Question],
        sheet: _Sheet,
        answers: Mapping[Question, Prediction],
        *,
        changed_only: bool = False,
    ) -> None:
        """Agreement with the base on some probes."""
        rows = [_agreement(self._base[q], answers[self._again(q)]) for q in questions]
        shown = [r for r in rows if r["score"] < 1 or r["free_score"] < 1] if changed_only else rows
        sheet.add(METRIC[kind], questions, rows, {"probes": shown, "asked": len(rows)})

    def _remember(self, questions: Sequence[Question]) -> tuple[PredictionRecord, ...]:
        """Know the base's predictions for `questions`; return those that no row holds yet."""
        missing = [q for q in dict.fromkeys(questions) if q not in self._base]
        if missing:
            missing = self._recall(missing)
        if missing:
            self._live.show({})
            found = predict(self._live.model, missing)
            self._base.update(zip(missing, found, strict=True))
        fresh = {q.prompt: self._base[q] for q in questions if q.prompt not in self._stored}
        return tuple(
            PredictionRecord(
                protocol=self._protocol, prompt=p.prompt, answer=p.answer, payload=p.to_json()
            )
            for p in fresh.values()
        )

    def _recall(self, questions: Sequence[Question]) -> list[Question]:
        """Take over what is stored; return the questions that no row answers.

        A row is kept per prompt; one that was scored on another answer does not serve.
        """
        rows = self._journal.predictions(self._protocol, [q.prompt for q in questions])
        self._stored.update(rows)
        missing = []
        for question in questions:
            row = rows.get(question.prompt)
            if row is None or question.answer not in (None, row.answer):
                missing.append(question)
            else:
                known = Prediction.from_json(question.prompt, row.answer, row.payload)
                self._base[question] = known
        return missing

    def kept(self, predictions: Iterable[PredictionRecord]) -> None:
        """These rows have been written."""
        self._stored.update(p.prompt for p in predictions)


def _questions(probes: Iterable[Probe]) -> list[Question]:
    return [Question(p.prompt, p.answer) for p in probes]


def _kept_questions(request: EditRequest) -> list[Question]:
    return _questions((*request.neighbourhood, *request.same_subject))


def _stated(fact: EditRequest | EditRecord) -> tuple[str, ...]:
    """The texts that ask for a fact: its prompt and its paraphrases."""
    own = fact.prompt.replace("{}", fact.subject)
    if isinstance(fact, EditRecord):
        return (own, *fact.probes.get("paraphrases", ()))
    return (own, *fact.paraphrases)


def _wanted(request: EditRequest) -> dict[str, tuple[Probe, ...]]:
    """The probes that should show the edit, by metric."""
    return {
        "reliability": (Probe(request.text, request.target_new),),
        "generalization": tuple(Probe(t, request.target_new) for t in request.paraphrases),
        "portability": tuple(p for p in request.portability if p.answer),
    }


def _shown(p: Prediction) -> dict[str, Any]:
    """A probe that should show the target."""
    score, _, free = wanted_scores(p, (p.answer,), BeginsWith())
    return {
        "prompt": p.prompt,
        "answer": p.answer,
        "after": p.free,
        "score": score,
        "free_score": free,
    }


def _agreement(before: Prediction, after: Prediction) -> dict[str, Any]:
    """A probe that should be as it was; where the base says nothing, the free texts decide."""
    score, _, free = kept_scores(before, after)
    return {
        "prompt": before.prompt,
        "before": before.free,
        "after": after.free,
        "score": score,
        "free_score": free,
    }
