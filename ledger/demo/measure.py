"""How good the embedded model is: recall, where recall happens, and how it takes edits.

Promise: every figure of docs/demo-model.md comes from here; facts are drawn by seed, no record is
left out, and the model runs with its plain causal attention.

    report = measure(model, world, edits=100, seed=0)
    report["edits"]["reliability"]
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from editors.analysis.tracing import trace_fact
from editors.base import EditContext
from editors.covariance import SecondMoment, accumulate
from editors.delta import Delta
from editors.errors import EditFailed
from editors.hparams import lookup
from editors.methods import get_editor
from editors.model import EditableModel
from editors.prompts import context_templates
from editors.requests import EditRequest, Probe
from ledger.demo.corpus import texts
from ledger.demo.world import World, WorldFact
from ledger.evaluation.metrics import answers_with, mean, token_accuracy
from ledger.evaluation.scoring import Prediction, Question, predict
from ledger.weights import fold

Progress = Callable[[str, float], None]


def measure(
    model: EditableModel, world: World, *, edits: int, seed: int, progress: Progress
) -> dict[str, Any]:
    """Recall over all facts, indirect effects over 60 facts, and `edits` single edits."""
    return {
        "recall": recall(model, world.facts),
        "indirect_effect": indirect_effects(model, _sample(world, 60, seed)),
        "edits": edit_report(model, world, count=edits, seed=seed, progress=progress),
    }


def _sample(world: World, count: int, seed: int) -> list[WorldFact]:
    rng = random.Random(seed)  # noqa: S311
    return rng.sample(world.facts, min(count, len(world.facts)))


# --- recall -------------------------------------------------------------------------------------


def recall(model: EditableModel, facts: Sequence[WorldFact]) -> dict[str, float]:
    """Share of free answers that are right, per language, on trained and on unseen phrasings."""
    found: dict[str, float] = {}
    for language in ("en", "zh"):
        chosen = [f for f in facts if f.language == language]
        for kind in ("trained", "unseen"):
            asked = [
                (p, f.target_true)
                for f in chosen
                for p in ((f.text, *f.paraphrases) if kind == "trained" else f.unseen_paraphrases)
            ]
            free = model.generate([p for p, _ in asked], 8)
            right = [answers_with(t, a) for t, (_, a) in zip(free, asked, strict=True)]
            found[f"{kind}_{language}"] = sum(right) / len(right)
    return found


# --- causal tracing -----------------------------------------------------------------------------


def indirect_effects(model: EditableModel, facts: Sequence[WorldFact]) -> dict[str, Any]:
    """Mean effects over facts: total, and per layer at the last subject and last prompt token."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for fact in facts:
        start = fact.text.index(fact.subject)
        span = (start, start + len(fact.subject))
        found.append(
            trace_fact(model, fact.text, subject=span, answer=fact.target_true, generator=generator)
        )
    return {
        "facts": len(found),
        "total_effect": mean(effects.total for effects in found),
        "subject_last": _columns([effects.subject_last for effects in found]),
        "prompt_last": _columns([effects.prompt_last for effects in found]),
    }


def _columns(rows: Sequence[Sequence[float]]) -> list[float]:
    return [sum(column) / len(column) for column in zip(*rows, strict=True)]


# --- edits --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Case:
    fact: WorldFact
    request: EditRequest


def cases(world: World, *, count: int, seed: int) -> Iterator[_Case]:
    """Random edits: a fact, another value of its relation, and its probes."""
    rng = random.Random(seed)  # noqa: S311
    for fact in rng.sample(world.facts, count):
        new = rng.choice([v for v in world.values[fact.relation] if v != fact.target_true])
        same_relation = [f for f in world.facts if f.relation == fact.relation and f != fact]
        same_subject = [f for f in world.facts if f.subject == fact.subject and f != fact]
        yield _Case(
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
            ),
        )


def world_moment(model: EditableModel, world: World, layer: int, tokens: int) -> SecondMoment:
    """C over the world's own texts."""
    endless = texts(world, seed=2)
    found = accumulate(model, [layer], islice(endless, tokens), max_tokens=tokens)
    return found[layer]


def edit_report(
    model: EditableModel, world: World, *, count: int, seed: int, progress: Progress, **set_: Any
) -> dict[str, Any]:
    """Single edits by r-ROME at its default layer, each on the unedited model."""
    values, _ = lookup("rome", model.model.config)
    editor = get_editor("rome")
    hparams = editor.hparams.from_dict({**values, **set_})
    moment = world_moment(model, world, hparams.layer, 12 * model.d_mlp)
    templates = context_templates(model, torch.Generator().manual_seed(seed))
    context = EditContext(torch.Generator().manual_seed(seed), templates, lambda _: moment)
    randoms = [Question(f.text, f.target_true) for f in _sample(world, 100, seed + 1)]
    rows = []
    for number, case in enumerate(cases(world, count=count, seed=seed)):
        asked = _questions(case) + randoms
        before = predict(model, asked)
        try:
            delta = editor(model, [case.request], hparams, context=context)
        except EditFailed:
            rows.append(_scores(case, before, before) | {"failed": 1.0})
        else:
            after = _predict_with(model, delta, asked)
            rows.append(_scores(case, before, after) | {"failed": 0.0})
        progress("edits", (number + 1) / count)
    return _means(rows) | {"hparams": hparams.to_dict()}


def _predict_with(
    model: EditableModel, delta: Delta, asked: Sequence[Question]
) -> list[Prediction]:
    """Predictions of the model with the delta folded into the weights as bfloat16."""
    ((name, change),) = delta.parameters.items()
    old = model.weight(name).clone()
    folded = fold(old.to(torch.bfloat16).contiguous(), [change], transposed=False)
    model.set_weight_(name, folded.to(old.dtype))
    try:
        return predict(model, asked)
    finally:
        model.set_weight_(name, old)


def _questions(case: _Case) -> list[Question]:
    request = case.request
    new = [Question(t, request.target_new) for t in (request.text, *request.paraphrases)]
    kept = (*request.neighbourhood, *request.same_subject)
    return new + [Question(p.prompt, p.answer) for p in kept]


def _scores(
    case: _Case, before: Sequence[Prediction], after: Sequence[Prediction]
) -> dict[str, Any]:
    request, fact = case.request, case.fact
    trained, unseen = len(fact.paraphrases), len(fact.unseen_paraphrases)
    ends = [1, trained, unseen, len(request.neighbourhood), len(request.same_subject)]
    names = ["reliability", "generalization_trained", "generalization_unseen"]
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


def _means(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    names = [n for n in rows[0] if n != "language"]
    groups = {"all": rows, **{k: [r for r in rows if r["language"] == k] for k in ("en", "zh")}}
    return {
        group: {n: mean(r[n] for r in found) for n in names} | {"edits": len(found)}
        for group, found in groups.items()
        if found
    }
