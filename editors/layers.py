"""Where to edit: rules that choose a layer for the methods that edit one.

Promise: every rule returns the layer and the evidence for it, which belongs in the record of the
edit; the model is left as it was.
Rules: `static` is a fixed late depth; `layerwise` reads the logit lens of the prompt (Algorithms 1
and 2 of the thesis); `wilke` takes the layer where ROME needs the smallest relative change;
`traced` the largest mean indirect effect of a causal trace. How they are written: `editors.rules`.

    layer, evidence = layerwise(model, request)
    layer, evidence = wilke(model, request, hparams, context)
    layer, evidence = traced([0.1, 0.4, 0.2])           # 1
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Final, NamedTuple

from editors.analysis.lens import shown, top_tokens
from editors.base import EditContext
from editors.delta import JSON
from editors.errors import EditFailed, InvalidHparams
from editors.methods.rome import RomeHparams, rank_one
from editors.model import EditableModel
from editors.requests import EditRequest
from editors.rows import Wish
from editors.values import capture_places, optimise_value

STATIC_DEPTH: Final = 17 / 32
SCAN_DEPTH: Final = 1 / 2
_NO_LIMIT = 1e30


class Choice(NamedTuple):
    """A layer and why."""

    layer: int
    evidence: dict[str, JSON]


def static(n_layers: int, depth: float = STATIC_DEPTH) -> Choice:
    """A late layer: 17 of 32 in the thesis, the same share of any other depth.

    Raises: InvalidHparams for a depth outside [0, 1).
    """
    if not 0 <= depth < 1:
        raise InvalidHparams(f"depth is {depth:g}, a share of the layers: give 0 up to below 1")
    return Choice(min(n_layers - 1, round(depth * n_layers)), {"rule": "static", "depth": depth})


def layerwise(
    model: EditableModel,
    request: EditRequest,
    *,
    low: int | None = None,
    high: int | None = None,
    raw: bool = False,
) -> Choice:
    """The layer by the logit lens of the request's prompt; see `by_lens`."""
    return by_lens(model, top_tokens(model, request.text), low=low, high=high, raw=raw)


def by_lens(
    model: EditableModel,
    tokens: Sequence[int],
    *,
    low: int | None = None,
    high: int | None = None,
    raw: bool = False,
) -> Choice:
    """The first layer whose top token, by the logit lens, is the one that most layers have.

    Among tokens that equally many layers have, the one with the longest last run of layers counts,
    and of those the one that comes last. The layer is then moved into `low`..`high` (by default the
    second to the last but one: an edit of the last layer is read by nothing). `raw` is the thesis'
    rule alone: ties go to the token seen first, no range. `tokens`: the top token of every layer.
    Raises: InvalidHparams for a range without layers.
    Source: thesis, Algorithms 1 and 2.
    """
    last = model.n_layers - 1
    top = (last if raw else max(0, last - 1)) if high is None else high
    bottom = (0 if raw else min(1, top)) if low is None else low
    if not 0 <= bottom <= top <= last:
        raise InvalidHparams(f"no layer from {bottom} to {top}: this model has layers 0 to {last}")
    token = Counter(tokens).most_common(1)[0][0] if raw else _repeated(tokens)
    first = list(tokens).index(token)
    return Choice(
        min(max(first, bottom), top),
        {
            "rule": "layerwise",
            "raw": raw,
            "range": [bottom, top],
            "first": first,
            "token": shown(model, token),
            "tokens": [shown(model, t) for t in tokens],
        },
    )


def _repeated(tokens: Sequence[int]) -> int:
    """The token of most layers; see `layerwise` for ties."""
    counts = Counter(tokens)
    last_runs = {token: len(list(run)) for token, run in groupby(tokens)}
    last_places = {token: place for place, token in enumerate(tokens)}
    return max(counts, key=lambda t: (counts[t], last_runs[t], last_places[t]))


def wilke(
    model: EditableModel,
    request: EditRequest,
    hparams: RomeHparams,
    context: EditContext,
    *,
    layers: Sequence[int] | None = None,
) -> Choice:
    """The layer at which ROME changes its matrix least, as ||ΔW|| / ||W||; the lower among equals.

    Scans the lower half of the layers by default, all from one pass over the rows. No matrix of the
    size of W is formed: the norm of a rank-one change is that of its factors. No search is given up
    early: a delta may shrink as well as grow, so no step bounds the norm of the last one.
    Raises: EditFailed when no layer can be edited; LayerOutOfRange.
    Source: WilKE (Hu et al. 2024), section 3.
    """
    scanned = scanned_by_default(model.n_layers) if layers is None else layers
    ratios: dict[int, float] = {}
    failed: dict[str, JSON] = {}
    wish, places = Wish((request,)), {layer: [model.projection(layer)] for layer in scanned}
    capture = capture_places(model, wish, context.templates, places.values())
    for layer, modules in places.items():
        at_layer = replace(hparams, layer=layer, max_update_ratio=_NO_LIMIT)
        try:
            value = optimise_value(
                model,
                wish,
                modules=modules,
                templates=context.templates,
                settings=at_layer,
                capture=capture,
            )
            update = rank_one(model, value, at_layer, context)
        except EditFailed as error:
            failed[str(layer)] = str(error)
        else:
            ratios[layer] = update.ratio
    if not ratios:
        raise EditFailed(f"none of the layers {list(scanned)} can be edited: {failed}")
    curve: dict[str, JSON] = {str(layer): ratio for layer, ratio in ratios.items()}
    best = min(ratios, key=lambda layer: (ratios[layer], layer))
    return Choice(best, {"rule": "wilke", "update_ratio": curve, "failed": failed})


def scanned_by_default(n_layers: int) -> range:
    """The layers that `wilke` looks at: the lower half, one at least."""
    return range(max(1, round(SCAN_DEPTH * n_layers)))


def traced(effects: Sequence[float], *, low: int = 0, high: int | None = None) -> Choice:
    """The layer with the largest mean indirect effect, of `low`..`high`; the lower among equals.

    `effects`: one a layer. Raises: InvalidHparams without effects, or for a range without layers.
    Source: ROME (Meng et al. 2022), section 2.
    """
    if not effects:
        raise InvalidHparams("no mean indirect effects: run a causal trace first")
    last = len(effects) - 1
    top = last if high is None else high
    if not 0 <= low <= top <= last:
        raise InvalidHparams(f"no layer from {low} to {top}: the trace has layers 0 to {last}")
    layer = max(range(low, top + 1), key=lambda n: (effects[n], -n))
    return Choice(layer, {"rule": "traced", "range": [low, top], "effects": list(effects)})
