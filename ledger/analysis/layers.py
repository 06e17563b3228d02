"""`kel layers`: which layers the rules choose over a data set.

Promise: of every fact the layer of each rule; mean, standard deviation (of the whole, not of a
sample) and histogram; and how often another wording of the prompt moves it.

Rules: wording is the request's paraphrases, for the rules that read the prompt alone; nothing is
edited.

    analysis = choices(workspace, requests, ["static", "layerwise"], 0)
    content(analysis)["rules"][1]["mean"]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from editors.requests import EditRequest
from editors.rules import LayerRule
from ledger.analysis.activations import layers_by_prompt
from ledger.analysis.kept import Analysis, Array
from ledger.candidates import Candidates
from ledger.errors import InvalidInput
from ledger.placing import Placing
from ledger.settings import Settings
from ledger.versions import Plan
from ledger.workspace import Workspace

Progress = Callable[[str, float], None] | None
_BY_PROMPT = ("layerwise", "layerwise-raw")


def choices(
    workspace: Workspace,
    requests: Sequence[EditRequest],
    rules: Sequence[str],
    version: int,
    progress: Progress = None,
) -> Analysis:
    """Follow each rule for each request. Raises: InvalidInput, InvalidHparams, EditFailed."""
    if not requests or not rules:
        raise InvalidInput("give facts and at least one rule")
    parsed = [LayerRule.parse(rule) for rule in dict.fromkeys(rules)]
    arrays: dict[str, Array] = {}
    metrics = {"facts": float(len(requests))}
    try:
        plan = workspace.at(version)
        depth = workspace.live.model.n_layers
        for place, rule in enumerate(parsed):
            chosen = _chosen(workspace, requests, rule, plan, progress)
            arrays[f"layers{place}"] = _array(chosen)
            metrics |= {f"{rule} mean": _array(chosen).mean(), f"{rule} sd": _array(chosen).std()}
            moved = _moved(workspace, requests, rule, chosen)
            if moved:
                arrays[f"moved{place}"] = _array(moved)
                metrics[f"{rule} same layer in other words"] = _same(_array(moved))
    finally:
        workspace.rest()
    return Analysis(
        kind="layers",
        versions=(version,),
        settings={"rules": [str(rule) for rule in parsed], "depth": depth},
        texts={"prompts": [request.text for request in requests]},
        arrays=arrays,
        metrics={name: float(value) for name, value in metrics.items()},
    )


def _chosen(
    workspace: Workspace,
    requests: Sequence[EditRequest],
    rule: LayerRule,
    plan: Plan,
    progress: Progress,
) -> list[int]:
    if rule.name in _BY_PROMPT:
        return layers_by_prompt(workspace.live.model, [r.text for r in requests], rule)
    placing = Placing(workspace)
    hparams, _ = placing.hparams(Settings("rome", str(rule)))
    context = Candidates(workspace).context(placing.needs(rule, hparams), plan, progress)
    found = []
    for place, request in enumerate(requests, start=1):
        found.append(placing.choose(rule, request, hparams, context).layer)
        if progress is not None:
            progress(str(rule), place / len(requests))
    return found


def _moved(
    workspace: Workspace, requests: Sequence[EditRequest], rule: LayerRule, chosen: Sequence[int]
) -> list[int]:
    """By how many layers each paraphrase moves the choice; nothing for rules that do not read."""
    if rule.name not in _BY_PROMPT:
        return []
    pairs = [(t, n) for r, n in zip(requests, chosen, strict=True) for t in r.paraphrases]
    if not pairs:
        return []
    others = layers_by_prompt(workspace.live.model, [text for text, _ in pairs], rule)
    return [abs(other - layer) for other, (_, layer) in zip(others, pairs, strict=True)]


def _array(values: Sequence[int]) -> Array:
    return np.array(values, dtype=np.float64)


def _same(moved: Array) -> float:
    return float((moved == 0).mean())


def content(analysis: Analysis) -> dict[str, Any]:
    """Choices by rule; `wording` is None for rules that do not read the prompt, or without any."""
    depth = int(analysis.settings["depth"])
    rules = []
    for place, name in enumerate(analysis.settings["rules"]):
        chosen = analysis.arrays[f"layers{place}"]
        moved = analysis.arrays.get(f"moved{place}")
        wording = None
        if moved is not None:
            shares = {"asked": len(moved), "same": _same(moved), "mean_move": float(moved.mean())}
            wording = shares
        histogram = [int((chosen == layer).sum()) for layer in range(depth)]
        rules.append(
            {
                "rule": name,
                "mean": float(chosen.mean()),
                "sd": float(chosen.std()),
                "mode": histogram.index(max(histogram)),
                "histogram": histogram,
                "layers": [int(layer) for layer in chosen],
                "wording": wording,
            }
        )
    return {"rules": rules, "prompts": list(analysis.texts["prompts"])}
