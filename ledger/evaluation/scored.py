"""What a record scores on an edited model, by the rules of its data set.

Promise: pure; predictions of the unedited and of the edited model go in, numbers come out, and
every probe of the record counts once.
Rules: `reliability` its requests, `generalization` paraphrases, `portability` consequences,
`multi_hop` questions over all hops: mean share of right tokens, teacher-forced. `locality`
neighbours, `locality_distracting`, `locality_same_subject`, `locality_random` the random probes:
share of tokens as the unedited model has them. Of each, `<name>_exact` counts answers whose tokens
are all right, `<name>_free` free answers that a judge accepts (that are unchanged, for locality),
and `<name>.<group>` the probes of a group. `multi_hop_any` is 1 if one of its questions is answered
(MQuAKE, Zhong et al. 2023). CounterFact's scores are those of Meng et al. 2022.

    before = predict_each(model, base_questions(record, randoms))
    after = predict_each(edited, edited_questions(record, before, randoms))
    record_scores(record, before, after, randoms)["portability.one_hop"]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from editors.requests import Probe
from ledger.evaluation.datasets import Record, RecordProbe
from ledger.evaluation.judging import BeginsWith, Judge
from ledger.evaluation.metrics import all_right, harmonic, margin, mean, preferred, token_accuracy
from ledger.evaluation.scoring import Prediction, Question

WANTED: Final = MappingProxyType(
    {"paraphrase": "generalization", "portability": "portability", "multi_hop": "multi_hop"}
)
KEPT: Final = MappingProxyType(
    {
        "neighbourhood": "locality",
        "distracting": "locality_distracting",
        "same_subject": "locality_same_subject",
    }
)
RANDOM: Final = "locality_random"
Predictions = Mapping[Question, Prediction]
Scores = tuple[float, float, float]


def base_questions(record: Record, randoms: Sequence[Probe] = ()) -> list[Question]:
    """What the unedited model has to be asked: what is to stay as it is."""
    probes = [*(p.probe for kind in KEPT for p in record.of(kind)), *randoms]
    return [Question(p.prompt, p.answer) for p in probes]


def edited_questions(
    record: Record, before: Predictions, randoms: Sequence[Probe] = ()
) -> list[Question]:
    """What the edited model has to be asked. `before`: answers to `base_questions`."""
    own = [Question(request.text, request.target_new) for request in record.requests]
    return [
        *own,
        *(_asked(probe) for kind in WANTED for probe in record.of(kind)),
        *(_again(before[q]) for q in base_questions(record, randoms)),
    ]


def record_scores(
    record: Record,
    before: Predictions,
    after: Predictions,
    randoms: Sequence[Probe] = (),
    judge: Judge | None = None,
) -> dict[str, float]:
    """Every score that the record has probes for."""
    decide = judge or BeginsWith()
    own = [RecordProbe("", request.text, (request.target_new,)) for request in record.requests]

    def right(probe: RecordProbe) -> Scores:
        return wanted_scores(after[_asked(probe)], probe.answers, decide)

    def same(probe: RecordProbe) -> Scores:
        base = before[Question(probe.prompt, probe.probe.answer)]
        return kept_scores(base, after[_again(base)])

    found = _named("reliability", own, right)
    for kind, name in WANTED.items():
        found |= _named(name, record.of(kind), right)
    if hops := record.of("multi_hop"):
        found["multi_hop_any"] = max(right(probe)[2] for probe in hops)
    for kind, name in KEPT.items():
        found |= _named(name, record.of(kind), same)
    random = [RecordProbe("", p.prompt, (p.answer,) if p.answer else ()) for p in randoms]
    return found | _named(RANDOM, random, same)


def _named(
    name: str, probes: Iterable[RecordProbe], score: Callable[[RecordProbe], Scores]
) -> dict[str, float]:
    """Means over all probes and over those of each group."""
    chosen = list(probes)
    groups = {probe.group for probe in chosen} - {""}
    found: dict[str, float | None] = {}
    rows = [score(probe) for probe in chosen]
    for place, suffix in enumerate(("", "_exact", "_free")):
        found[name + suffix] = mean(row[place] for row in rows)
    for group in sorted(groups):
        of_group = [r[0] for r, p in zip(rows, chosen, strict=True) if p.group == group]
        found[f"{name}.{group}"] = mean(of_group)
    return {key: value for key, value in found.items() if value is not None}


# --- one probe ----------------------------------------------------------------------------------


def wanted_scores(found: Prediction, accepted: Sequence[str], judge: Judge) -> Scores:
    """Of an answer that is wanted: share of right tokens, all of them, the free answer judged."""
    return (
        token_accuracy(found.argmax, found.gold),
        all_right(found.argmax, found.gold),
        float(judge(found.prompt, accepted, found.free)),
    )


def kept_scores(before: Prediction, after: Prediction) -> Scores:
    """Of an answer that is to stay: share of equal tokens, all of them, the same free answer.

    Where the unedited model says nothing, the free answers decide.
    """
    same = float(before.free == after.free)
    if not len(before.argmax) == len(after.argmax) > 0:
        return same, same, same
    share = token_accuracy(after.argmax, before.argmax)
    return share, float(share == 1.0), same


def _asked(probe: RecordProbe) -> Question:
    return Question(probe.prompt, probe.probe.answer)


def _again(before: Prediction) -> Question:
    """The question whose answer is compared with what was said before."""
    return Question(before.prompt, before.answer or None)


# --- CounterFact --------------------------------------------------------------------------------


def compared_questions(record: Record) -> list[Question]:
    """Prompts with the new and with the true answer, whose surprises `counterfact` compares."""
    return [
        Question(prompt, answer)
        for prompts in _compared(record).values()
        for prompt in prompts
        for answer in (record.request.target_new, record.request.target_true)
    ]


def counterfact(record: Record, surprise: Mapping[Question, float]) -> dict[str, float]:
    """ES, PS and NS and the differences EM, PM and NM; only those that have prompts.

    Raises: InvalidInput for a record of several requests.
    """
    new, true = record.request.target_new, record.request.target_true
    found: dict[str, float | None] = {}
    for letter, prompts in _compared(record).items():
        pairs = [(surprise[Question(p, new)], surprise[Question(p, true)]) for p in prompts]
        if letter == "N":
            pairs = [(other, wanted) for wanted, other in pairs]
        found[f"{letter}S"], found[f"{letter}M"] = preferred(pairs), margin(pairs)
    return {name: value for name, value in found.items() if value is not None}


def counterfact_score(rows: Sequence[Mapping[str, float]]) -> float | None:
    """S: the harmonic mean of the means of ES, PS and NS over cases; None without all three."""
    means = [mean(row[name] for row in rows if name in row) for name in ("ES", "PS", "NS")]
    whole = [value for value in means if value is not None]
    return harmonic(whole) if len(whole) == len(means) else None


def _compared(record: Record) -> dict[str, tuple[str, ...]]:
    """Prompts of the three groups; none of a record without a true answer."""
    request = record.request
    if request.target_true is None:
        return {}
    return {
        "E": (request.text,),
        "P": request.paraphrases,
        "N": tuple(probe.prompt for probe in record.of("neighbourhood")),
    }
