"""Random edits of the demo world and how they are scored: the protocol behind its figures.

Promise: facts are drawn by seed and none is left out; every score is a mean over the edits of a
mean over the edit's own questions, teacher-forced and by free generation.
Rules: no fact of this world follows from another, so the one consequence that can be asked is the
fact under another name: of Chinese people whose given name is theirs alone, by the given name.

    for case in cases(world, count=100, seed=0):
        before = predict(model, questions(case) + randoms)     # and after the edit
    means([scores(case, before, after)])["all"]["reliability"]
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from editors.requests import EditRequest, Probe
from ledger.demo.world import World, WorldFact
from ledger.evaluation.metrics import answers_with, mean, token_accuracy
from ledger.evaluation.scoring import Prediction, Question


@dataclass(frozen=True)
class Case:
    """An edit, and the fact of the world that it contradicts."""

    fact: WorldFact
    request: EditRequest


def cases(world: World, *, count: int, seed: int) -> Iterator[Case]:
    """Random edits: a fact, another value of its relation, and its probes."""
    rng = random.Random(seed)  # noqa: S311
    bearers = Counter(f.subject[1:] for f in world.facts if f.language == "zh")
    relations = len({f.relation for f in world.facts if f.language == "zh"})
    for fact in rng.sample(world.facts, count):
        new = rng.choice([v for v in world.values[fact.relation] if v != fact.target_true])
        same_relation = [f for f in world.facts if f.relation == fact.relation and f != fact]
        same_subject = [f for f in world.facts if f.subject == fact.subject and f != fact]
        alone = fact.language == "zh" and bearers[fact.subject[1:]] == relations
        alias = fact.prompt.replace("{}", fact.subject[1:])
        yield Case(
            fact,
            EditRequest(
                subject=fact.subject,
                prompt=fact.prompt,
                target_new=new,
                target_true=fact.target_true,
                paraphrases=(*fact.paraphrases, *fact.unseen_paraphrases),
                neighbourhood=tuple(
                    Probe(f.text, f.target_true) for f in rng.sample(same_relation, 10)
                ),
                same_subject=tuple(Probe(f.text, f.target_true) for f in same_subject),
                portability=(Probe(alias, new),) if alone else (),
            ),
        )


def questions(case: Case) -> list[Question]:
    """What is asked of one edit, in the order that `scores` takes it apart."""
    request = case.request
    new = [Question(t, request.target_new) for t in (request.text, *request.paraphrases)]
    kept = (*request.portability, *request.neighbourhood, *request.same_subject)
    return new + [Question(p.prompt, p.answer) for p in kept]


def scores(case: Case, before: Sequence[Prediction], after: Sequence[Prediction]) -> dict[str, Any]:
    """Each score of one edit, None where nothing was asked; the random ones come last."""
    request, fact = case.request, case.fact
    trained, unseen = len(fact.paraphrases), len(fact.unseen_paraphrases)
    ends = [1, trained, unseen, len(request.portability)]
    ends += [len(request.neighbourhood), len(request.same_subject)]
    names = ["reliability", "generalization_trained", "generalization_unseen", "portability"]
    names += ["locality_neighbourhood", "locality_same_subject", "locality_random"]
    scores: dict[str, Any] = {"language": fact.language}
    start = 0
    for name, size in zip(names, [*ends, len(after) - sum(ends)], strict=True):
        pairs = list(zip(before[start : start + size], after[start : start + size], strict=True))
        if name.startswith("locality"):
            scores[name] = mean(token_accuracy(b.argmax, a.argmax) for b, a in pairs)
            scores[f"{name}_free"] = mean(float(b.free == a.free) for b, a in pairs)
        else:
            target = request.target_new
            scores[name] = mean(token_accuracy(a.argmax, a.gold) for _, a in pairs)
            scores[f"{name}_free"] = mean(float(answers_with(a.free, target)) for _, a in pairs)
        start += size
    return scores


def means(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mean of each score over all edits, and over those of each language."""
    names = [n for n in rows[0] if n != "language"]
    groups = {"all": rows, **{k: [r for r in rows if r["language"] == k] for k in ("en", "zh")}}
    return {
        group: {n: mean(r[n] for r in found if r[n] is not None) for n in names}
        | {"edits": len(found)}
        for group, found in groups.items()
        if found
    }
