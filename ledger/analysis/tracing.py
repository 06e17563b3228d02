"""`kel trace`: causal tracing of one fact or many, kept and read again.

Promise: every effect of every fact, token and layer is kept; means over facts come with 95 %
intervals and with the number of facts they rest on.

Rules: of several facts those count whose answer the model says when nothing is corrupted; tokens
are brought together by their role in the prompt. Noise is `sigmas` standard deviations of the
embeddings of all traced subjects, drawn with the seed.

    analysis = trace(workspace, facts, version, TraceSettings())
    content(analysis)["effects"]["mlp"]          # [row][layer]
    mean_effects(analysis, "mlp")                # per layer, at the last subject token
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any, Final

import numpy as np
import torch

from editors.analysis.tracing import (
    KINDS,
    NOISE_DRAWS,
    NOISE_SIGMAS,
    Effects,
    Noise,
    default_window,
    subject_sigma,
    trace_fact,
)
from editors.prompts import fill_subject
from ledger.analysis.kept import Analysis, Array
from ledger.errors import InvalidInput
from ledger.options import Asked
from ledger.workspace import Workspace

ROLES: Final = (
    "first subject token",
    "middle subject tokens",
    "last subject token",
    "first later token",
    "later tokens",
    "last token",
)
LAST_SUBJECT: Final = ROLES[2]
_NORMAL_95: Final = 1.96
Progress = Callable[[str, float], None] | None


@dataclass(frozen=True)
class TraceSettings:
    """`window` None: a share of the depth (`editors.analysis.tracing`)."""

    sigmas: float = NOISE_SIGMAS
    draws: int = NOISE_DRAWS
    window: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.sigmas <= 1000:
            raise InvalidInput(f"noise of {self.sigmas} standard deviations: above 0, at most 1000")
        if not 1 <= self.draws <= 1000:
            raise InvalidInput(f"{self.draws} draws of noise: take 1 to 1000")
        if self.window is not None and self.window < 1:
            raise InvalidInput(f"a window of {self.window} layers: take 1 or more")


def trace(
    workspace: Workspace,
    facts: Sequence[Asked],
    version: int,
    settings: TraceSettings,
    progress: Progress = None,
) -> Analysis:
    """Trace facts on a version: their answer, or what the model says where there is none.

    Raises: InvalidInput without facts, or if the model says none of several; InvalidRequest.
    """
    if not facts:
        raise InvalidInput("there is no fact to trace")
    try:
        workspace.at(version)
        window = settings.window or default_window(workspace.live.model.n_layers)
        found = _traced(workspace, facts, settings, window, progress)
    finally:
        workspace.rest()
    many = len(facts) > 1
    kept = [(a, e) for a, e in found if e.known or not many]
    if not kept:
        raise InvalidInput(
            f"the model says the answer of none of the {len(facts)} facts: trace facts that "
            "it knows, or without an answer, and then what it says is traced"
        )
    return Analysis(
        kind="trace",
        versions=(version,),
        settings={**asdict(settings), "window": window},
        texts={
            "facts": [_fact(asked, effects) for asked, effects in kept],
            "left_out": [a.text for a, e in found if not e.known] if many else [],
        },
        arrays=_arrays([effects for _, effects in kept]),
        metrics={
            "facts": float(len(kept)),
            "clean": _mean(e.clean for _, e in kept),
            "corrupted": _mean(e.corrupted for _, e in kept),
            "total_effect": _mean(e.total for _, e in kept),
        },
    )


def _traced(
    workspace: Workspace,
    facts: Sequence[Asked],
    settings: TraceSettings,
    window: int,
    progress: Progress,
) -> list[tuple[Asked, Effects]]:
    model = workspace.live.model
    sigma = settings.sigmas * subject_sigma(model, [fact.subject for fact in facts])
    generator = torch.Generator().manual_seed(settings.seed)
    noise = Noise(sigma, generator, settings.draws)
    found = []
    for place, fact in enumerate(facts, start=1):
        filled = fill_subject(fact.subject, fact.prompt)
        effects = trace_fact(
            model,
            filled.text,
            subject=filled.subject,
            answer=fact.answer,
            noise=noise,
            window=window,
        )
        found.append((fact, effects))
        if progress is not None:
            progress("tracing", place / len(facts))
    return found


def _fact(asked: Asked, effects: Effects) -> dict[str, Any]:
    return {
        "prompt": asked.text,
        "answer": effects.answer,
        "known": effects.known,
        "tokens": list(effects.tokens),
        "subject": list(effects.subject),
    }


def _arrays(found: Sequence[Effects]) -> dict[str, Array]:
    """All facts' tokens one below the other: [all tokens, L] for each kind; [n] probabilities."""
    return {
        **{str(kind): torch.cat([e.of[kind] for e in found]).numpy() for kind in KINDS},
        "clean": np.array([e.clean for e in found], dtype=np.float64),
        "corrupted": np.array([e.corrupted for e in found], dtype=np.float64),
    }


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


# --- what is shown ------------------------------------------------------------------------------


def content(analysis: Analysis) -> dict[str, Any]:
    """Facts, and effects by row and layer: rows are tokens of one fact, roles of several.

    `errors` is half the width of the 95 % interval of each mean, None where one fact was traced.
    """
    facts = [
        {**fact, "clean": float(clean), "corrupted": float(low)}
        for fact, clean, low in zip(
            analysis.texts["facts"],
            analysis.arrays["clean"],
            analysis.arrays["corrupted"],
            strict=True,
        )
    ]
    told = {"facts": facts, "left_out": list(analysis.texts["left_out"])}
    if len(facts) == 1:
        grids = {kind: analysis.arrays[kind].tolist() for kind in KINDS}
        tokens = list(facts[0]["tokens"])
        return {
            **told,
            "rows": tokens,
            "counts": [1] * len(tokens),
            "effects": grids,
            "errors": None,
        }
    groups = {kind: _by_role(analysis, kind) for kind in KINDS}
    rows = [role for role in ROLES if groups["state"][role]]
    return {
        **told,
        "rows": rows,
        "counts": [len(groups["state"][role]) for role in rows],
        "effects": {k: [np.mean(groups[k][r], axis=0).tolist() for r in rows] for k in KINDS},
        "errors": {k: [_half_width(groups[k][r]) for r in rows] for k in KINDS},
    }


def mean_effects(analysis: Analysis, kind: str) -> list[float]:
    """Mean indirect effect per layer at the last subject token."""
    means: list[float] = np.mean(_by_role(analysis, kind)[LAST_SUBJECT], axis=0).tolist()
    return means


def _by_role(analysis: Analysis, kind: str) -> dict[str, list[Array]]:
    """Role -> one row [L] for each fact that has such tokens, the mean over them."""
    found: dict[str, list[Array]] = {role: [] for role in ROLES}
    start = 0
    for fact in analysis.texts["facts"]:
        grid = analysis.arrays[kind][start : start + len(fact["tokens"])]
        start += len(fact["tokens"])
        for role, places in roles(fact).items():
            if places:
                found[role].append(grid[list(places)].mean(axis=0))
    return found


def roles(fact: Mapping[str, Any]) -> dict[str, range]:
    """Positions by role; the last subject token is that only, also where the prompt ends there."""
    first, last = fact["subject"]
    end = len(fact["tokens"]) - 1
    found = (
        range(first, min(first + 1, last)),
        range(first + 1, last),
        range(last, last + 1),
        range(last + 1, min(last + 2, end)),
        range(last + 2, end),
        range(max(end, last + 1), end + 1),
    )
    return dict(zip(ROLES, found, strict=True))


def _half_width(rows: Sequence[Array]) -> list[float] | None:
    if len(rows) < 2:
        return None
    spread: list[float] = (
        _NORMAL_95 * np.std(np.stack(rows), axis=0, ddof=1) / sqrt(len(rows))
    ).tolist()
    return spread
