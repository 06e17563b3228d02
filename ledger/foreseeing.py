"""What an edit would disturb, told from its key alone, before its value is searched for.

Promise: one forward for the keys and one solve a layer; nothing is optimised and nothing recorded,
except that statistics that were missing are measured and kept.

Rules: a change that solves (W + u v) k = v* with least harm has v = (C⁻¹ k)ᵀ / (kᵀ C⁻¹ k), so
||u v k_j|| = ||u|| |v k_j| for every earlier key k_j. The size of u is not known yet; it is taken
to be the median of what the earlier edits do at their own keys. Methods without keys (ft, kn)
cannot be foreseen, nor can the layer that the rule `wilke` would find by editing each.

    foreseen(workspace, request, Settings("rome"), threshold=0.1)     # (Share(12, 0.31),)
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import torch
from torch import Tensor

from editors.base import Hparams
from editors.covariance import SecondMoment, identity
from editors.delta import LowRank
from editors.keys import subject_keys
from editors.methods import get_editor
from editors.requests import EditRequest
from ledger.candidates import Candidates
from ledger.interference import largest, measured, own_sizes
from ledger.placing import Placing, at_layer
from ledger.settings import Settings
from ledger.shares import Share
from ledger.versions import Part
from ledger.workspace import Workspace


def foreseen(
    workspace: Workspace, request: EditRequest, settings: Settings, threshold: float
) -> tuple[Share, ...] | None:
    """Active edits that it would disturb by more than a threshold; None if it has no key.

    Raises: InvalidRequest, UnknownMethod, InvalidHparams, LayerOutOfRange, EditFailed.
    """
    hparams = _placed(workspace, request, settings)
    if hparams is None:
        return None
    editor = get_editor(settings.method)
    layers = editor.needs(hparams) or _identity_layers(hparams)
    if not layers:
        return None
    active = workspace.journal.history().active()
    parts = workspace.versions.parts(active)
    try:
        moments = workspace.statistics.second_moments(editor.needs(hparams))
        keys = _keys(workspace, request, layers)
    finally:
        workspace.rest()
    changes = {}
    for layer, key in keys.items():
        name = workspace.live.model.parameter_name(layer)
        size = _typical(parts, name)
        if size is not None:
            changes[name] = _guess(key, moments.get(layer) or identity(len(key)), size)
    if not changes:
        return ()
    guess = Part(batch=0, siblings=(), changes=changes, keys={}, values={})
    return largest(active, measured([guess], parts).share[0], threshold)


def _placed(workspace: Workspace, request: EditRequest, settings: Settings) -> Hparams | None:
    """The hyper-parameters at the layer of the edit, or None where only editing can tell it."""
    placing, rule = Placing(workspace), settings.rule
    hparams, _ = placing.hparams(settings)
    if rule is None:
        return hparams
    if rule.name == "wilke":
        return None
    plan = workspace.versions.plan(workspace.journal.history().active())
    try:
        context = partial(Candidates(workspace).context, (), plan, None)
        return at_layer(hparams, placing.on_head(rule, request, hparams, context).layer)
    finally:
        workspace.rest()


def _identity_layers(hparams: Hparams) -> Collection[int]:
    """The layer of a method that was told to use no second moment."""
    values = hparams.to_dict()
    return [int(values["layer"])] if values.get("second_moment") == "identity" else []


def _keys(workspace: Workspace, request: EditRequest, layers: Collection[int]) -> dict[int, Tensor]:
    """The request's key at each layer on the head, the mean over the templates, [m] float64."""
    templates = workspace.templates()
    workspace.at_head()
    found = subject_keys(
        workspace.live.model, [request], layers=sorted(layers), templates=templates
    )
    return {layer: keys[0].mean(dim=0).double().cpu() for layer, keys in found.items()}


def _typical(parts: list[Part], name: str) -> float | None:
    """The median of what edits do at their own keys on one parameter."""
    sizes = own_sizes([_only(part, name) for part in parts if name in part.keys])
    sizes = sizes[~sizes.isnan()]
    return float(sizes.median()) if len(sizes) else None


def _only(part: Part, name: str) -> Part:
    return Part(part.batch, part.siblings, part.changes, {name: part.keys[name]}, {})


def _guess(key: Tensor, moment: SecondMoment, size: float) -> LowRank:
    """A change of that size at its own key, as far as norms go: u has one row."""
    direction = moment.solve(key[:, None])[:, 0].cpu()
    v = direction / (direction @ key)
    return LowRank(torch.tensor([[size]]), v.float()[None].contiguous())
