"""How good the embedded model is: recall, where recall happens, and how it takes edits.

Promise: every figure of docs/demo-model.md comes from here; facts are drawn by seed, no record is
left out, and the model runs with its plain causal attention.

    report = measure(model, world, edits=100, seed=0)
    report["edits"]["reliability"]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from editors.analysis.tracing import NOISE_SIGMAS, Noise, subject_sigma, trace_fact
from editors.model import EditableModel
from ledger.demo.trials import Trials, drawn
from ledger.demo.world import World, WorldFact
from ledger.evaluation.metrics import answers_with, mean

Progress = Callable[[str, float], None]


def measure(
    model: EditableModel, world: World, *, edits: int, seed: int, progress: Progress
) -> dict[str, Any]:
    """Recall over all facts, indirect effects over 60 facts, and `edits` single edits."""
    return {
        "recall": recall(model, world.facts),
        "indirect_effect": indirect_effects(model, drawn(world, 60, seed)),
        "edits": Trials(model, world, seed=seed).singles("rome", count=edits, progress=progress),
    }


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
    sigma = NOISE_SIGMAS * subject_sigma(model, [fact.subject for fact in facts])
    noise = Noise(sigma, torch.Generator().manual_seed(0))
    found = []
    for fact in facts:
        start = fact.text.index(fact.subject)
        span = (start, start + len(fact.subject))
        found.append(
            trace_fact(
                model,
                fact.text,
                subject=span,
                answer=fact.target_true,
                noise=noise,
                kinds=("state",),
            )
        )
    return {
        "facts": len(found),
        "total_effect": mean(effects.total for effects in found),
        "subject_last": _columns([effects.subject_last for effects in found]),
        "prompt_last": _columns([effects.prompt_last for effects in found]),
    }


def _columns(rows: Sequence[Sequence[float]]) -> list[float]:
    return [sum(column) / len(column) for column in zip(*rows, strict=True)]
