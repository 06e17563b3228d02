"""Trying methods on a ledger without recording: each time on the unedited model, restored exactly.

Promise: every record has its numbers, also one that a method refuses (then those of the model
without the edit); after a trial the live model is the fold of the head again, bit for bit.

Rules: nothing is left out and no gate decides; what is measured after `kel edit` is measured here,
of the delta as it would be stored.

    trials = Trials(ledger, families=("answers", "preference"))
    trials.edited([request], Settings("rome"))[0]["answers"].metrics["reliability"]
    trials.unedited([request])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from editors.errors import EditFailed, InvalidRequest
from editors.requests import EditRequest
from ledger.candidates import Candidate, Candidates
from ledger.errors import EditorFailure
from ledger.evaluation.metrics import harmonic, margin, preferred
from ledger.evaluation.scoring import Question, surprises
from ledger.ledger import Ledger
from ledger.settings import Settings
from ledger.versions import Plan

GAVE_UP = (EditFailed, EditorFailure)  # a method's own reasons, of facts that can be edited
SECONDS = "seconds"


@dataclass(frozen=True)
class Trial:
    """What became of one record, by one family of metrics; fields as those of a row."""

    outcome: str
    metrics: Mapping[str, float]
    layers: tuple[int, ...] = ()
    reason: str = ""
    seconds: float | None = None


ByFamily = dict[str, Trial]  # by family


class Trials:
    """Trials on one ledger, whose head stays where it is."""

    def __init__(self, ledger: Ledger, families: Sequence[str] = ("answers",)) -> None:
        self._w, self._families = ledger.workspace, tuple(families)

    def unedited(self, requests: Sequence[EditRequest]) -> list[ByFamily]:
        """The numbers of the head as it stands."""
        try:
            _, plan = self._w.at_head()
            return self._asked(requests, plan, Trial("unedited", {}))
        finally:
            self._w.rest()

    def edited(self, requests: Sequence[EditRequest], settings: Settings) -> list[ByFamily]:
        """One call of a method for all requests.

        Raises: InvalidHparams, UnknownMethod; InvalidRequest for a batch that the method cannot
        edit (of one fact it is that fact's refusal).
        """
        try:
            head, plan = self._w.at_head()
            try:
                found = Candidates(self._w).compute(requests, settings, head, plan, None)
            except (*GAVE_UP, InvalidRequest) as error:
                if isinstance(error, InvalidRequest) and len(requests) > 1:
                    raise
                return self._asked(requests, plan, Trial("refused", {}, reason=str(error)))
            return self._measured(found)
        finally:
            self._w.rest()

    def _measured(self, found: Candidate) -> list[ByFamily]:
        shared = {k: v for k, v in found.shared.metrics.items() if k != SECONDS}
        seconds = found.computed.seconds / len(found.requests)
        about = Trial("edited", {}, found.layers, seconds=seconds)
        answers = [{**measured.metrics, **shared} for measured in found.measured]
        return self._families_of(found.requests, answers, found.plan, about)

    def _asked(self, requests: Sequence[EditRequest], plan: Plan, about: Trial) -> list[ByFamily]:
        """The numbers of a version that none of these edits changed."""
        measured = self._w.examiner.edits(requests, plan)
        randoms = self._w.examiner.randoms(plan).metrics
        answers = [{**one.metrics, **randoms} for one in measured]
        return self._families_of(requests, answers, plan, about)

    def _families_of(
        self,
        requests: Sequence[EditRequest],
        answers: Sequence[Mapping[str, float]],
        plan: Plan,
        about: Trial,
    ) -> list[ByFamily]:
        self._w.live.show(plan)
        found: list[ByFamily] = []
        for request, metrics in zip(requests, answers, strict=True):
            by = {"answers": metrics}
            if "preference" in self._families:
                by["preference"] = self._preferences(request)
            kept = {name: by[name] for name in self._families}
            found.append({name: replace(about, metrics=m) for name, m in kept.items()})
        return found

    def _preferences(self, request: EditRequest) -> dict[str, float]:
        """ES, PS, NS, EM, PM, NM and S of the model as it stands; none without the old answer."""
        if request.target_true is None:
            return {}
        near = [probe.prompt for probe in request.neighbourhood]
        groups = {"E": [request.text], "P": list(request.paraphrases), "N": near}
        prompts = [text for texts in groups.values() for text in texts]
        new, true = (
            surprises(self._w.live.model, [Question(text, answer) for text in prompts])
            for answer in (request.target_new, request.target_true)
        )
        found: dict[str, float | None] = {}
        start = 0
        for name, texts in groups.items():
            part = slice(start, start + len(texts))
            start += len(texts)
            sides = (true[part], new[part]) if name == "N" else (new[part], true[part])
            pairs = list(zip(*sides, strict=True))
            found |= {f"{name}S": preferred(pairs), f"{name}M": margin(pairs)}
        shares = [found[name] for name in ("ES", "PS", "NS")]
        if None not in shares:
            found["S"] = harmonic([share for share in shares if share is not None])
        return {name: float(value) for name, value in found.items() if value is not None}
