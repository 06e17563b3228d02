"""`kel activations`: active units per layer, and how suddenly they rise where an edit would go.

Promise: of every prompt the count of each layer and the layer a rule chooses; FDV, RDSP and RMP at
that layer, their means, and the shares of prompts within the thesis' bounds.

Rules: prompts whose layer is the first, or has no active unit, have no such figures; they are left
out of means and shares and counted (section 3.3.2 of the thesis leaves out the latter). `jump`, the
bound of a large FDV, is 500 of 14336 units in the thesis and the same share of any other width.

    analysis = activations(workspace, ["Ada was born in"], 0, ActivationSettings())
    analysis.metrics["fdv"], analysis.metrics["share fdv > 0"]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from editors.analysis.activations import THRESHOLD, Rise, active_units, rise_at
from editors.analysis.lens import read
from editors.errors import InvalidHparams
from editors.layers import by_lens, static
from editors.model import EditableModel
from editors.requests import Probe
from editors.rules import LayerRule
from ledger.analysis.kept import Analysis
from ledger.errors import InvalidInput
from ledger.workspace import Workspace

THESIS_JUMP: Final = 500 / 14336
RDSP_LIMIT: Final = 10.0
RMP_LIMITS: Final = (0.5, 0.99)


@dataclass(frozen=True)
class ActivationSettings:
    """`jump` None: the thesis' share of the MLP's width. `layer`: a rule that needs no target."""

    threshold: float = THRESHOLD
    layer: str = "layerwise-raw"
    jump: int | None = None

    def __post_init__(self) -> None:
        if LayerRule.parse(self.layer).name in ("wilke", "traced"):
            raise InvalidHparams(f"the rule {self.layer} does not read the prompt alone")
        if self.jump is not None and self.jump < 1:
            raise InvalidInput(f"a jump of {self.jump} units: take 1 or more")


def activations(
    workspace: Workspace, prompts: Sequence[str], version: int, settings: ActivationSettings
) -> Analysis:
    """Count the active units of every prompt. Raises: InvalidInput, InvalidRequest."""
    if not prompts:
        raise InvalidInput("there is no prompt to look at")
    texts = [Probe(prompt).prompt for prompt in prompts]
    try:
        workspace.at(version)
        model = workspace.live.model
        counts = active_units(model, texts, settings.threshold).double().numpy()
        chosen = layers_by_prompt(model, texts, LayerRule.parse(settings.layer))
    finally:
        workspace.rest()
    jump = settings.jump or max(1, round(THESIS_JUMP * model.d_mlp))
    rises = [rise_at(row.tolist(), layer) for row, layer in zip(counts, chosen, strict=True)]
    return Analysis(
        kind="activations",
        versions=(version,),
        settings={**asdict(settings), "jump": jump, "units": model.d_mlp},
        texts={"prompts": texts},
        arrays={"counts": counts, "layer": np.array(chosen, dtype=np.float64)},
        metrics=_metrics([rise for rise in rises if rise is not None], len(rises), jump),
    )


def layers_by_prompt(model: EditableModel, texts: Sequence[str], rule: LayerRule) -> list[int]:
    """The layer that a rule without a target chooses for each text."""
    if rule.name == "static":
        return [static(model.n_layers).layer] * len(texts)
    raw = rule.name == "layerwise-raw"
    return [
        by_lens(model, reading.tokens, low=rule.low, high=rule.high, raw=raw).layer
        for reading in read(model, texts)
    ]


def _metrics(rises: Sequence[Rise], asked: int, jump: int) -> dict[str, float]:
    """Tables 3-4 and 3-5 of the thesis, over the prompts that have figures."""
    found = {"prompts": float(asked), "left_out": float(asked - len(rises))}
    if not rises:
        return found
    half, most = RMP_LIMITS
    shares = {
        "share fdv > 0": [rise.fdv > 0 for rise in rises],
        f"share fdv > {jump}": [rise.fdv > jump for rise in rises],
        f"share rdsp <= {RDSP_LIMIT:g}": [rise.rdsp <= RDSP_LIMIT for rise in rises],
        f"share rmp <= {half:g}": [rise.rmp <= half for rise in rises],
        f"share rmp <= {most:g}": [rise.rmp <= most for rise in rises],
    }
    means = {name: [getattr(rise, name) for rise in rises] for name in Rise._fields}
    return found | {name: float(np.mean(values)) for name, values in {**means, **shares}.items()}


def content(analysis: Analysis) -> dict[str, Any]:
    """Counts and figures of every prompt, and per layer the mean and the standard deviation."""
    counts, layers = analysis.arrays["counts"], analysis.arrays["layer"]
    prompts = []
    for text, row, layer in zip(analysis.texts["prompts"], counts, layers, strict=True):
        rise = rise_at(row.tolist(), int(layer))
        figures = rise._asdict() if rise else dict.fromkeys(Rise._fields)
        told = {"prompt": text, "layer": int(layer), "counts": [int(n) for n in row]}
        prompts.append({**told, **figures})
    return {
        "prompts": prompts,
        "mean": counts.mean(axis=0).tolist(),
        "sd": counts.std(axis=0).tolist(),
    }
