"""How a batch is made again on another base: its own method, with settings that mean the same.

Promise: what was chosen by hand goes along, what a table gave for the old model is looked up for
the new one; whatever does not carry over is said.

Rules: chosen is what differs from the method's table for the old model. On a model of the same
type, depth and width everything carries over, the layer included; a rule for the layer carries over
as a rule. On another one the layers come from the new model's table, and a rule loses its range.

    settings, notes = settings_for(batch, old_config, new_config, RebaseOptions())
    settings.method, settings.layer, settings.overrides
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from editors.methods import get_editor
from editors.rules import RANGED, LayerRule
from ledger.deltas import LAYER_CHOICE
from ledger.errors import InvalidInput
from ledger.placing import defaults
from ledger.rebasing.views import RebaseOptions
from ledger.records import BatchRecord
from ledger.settings import Settings

_PLACES: Final = ("layer", "layers")
_SAME: Final = ("model_type", "num_hidden_layers", "hidden_size")


def settings_for(
    batch: BatchRecord, old: Any, new: Any, options: RebaseOptions
) -> tuple[Settings, tuple[str, ...]]:
    """The settings a batch is made again with, and what to say of them.

    `old` and `new` are model configurations, `old` None where it is not known.
    Raises: UnknownMethod, InvalidInput.
    """
    layer, overrides, notes = _own(batch, old, new, options)
    if options.layer is not None:
        layer = options.layer
    if options.layer is not None or any(name in options.overrides for name in _PLACES):
        overrides = {k: v for k, v in overrides.items() if k not in _PLACES}
        layer, notes = options.layer, []
    if isinstance(options.layer, str) and LayerRule.parse(options.layer).name == "traced":
        raise InvalidInput(
            "the rule traced reads a causal trace of the base, and a new ledger has none: give "
            "another rule, or the layer's number"
        )
    settings = Settings(options.method or batch.method, layer, {**overrides, **options.overrides})
    return settings, tuple(notes)


def _own(
    batch: BatchRecord, old: Any, new: Any, options: RebaseOptions
) -> tuple[int | str | None, dict[str, object], list[str]]:
    """Layer, overrides and notes, from the batch alone; a method that was given has none."""
    get_editor(options.method or batch.method)
    if options.method is not None:
        return None, {}, []
    rule = _rule(batch)
    if old is not None and all(getattr(old, n, None) == getattr(new, n, None) for n in _SAME):
        kept = dict(batch.hparams)
        number = kept.pop("layer", None)
        return (str(rule) if rule else number), kept, []
    notes = [] if not set(_PLACES) & set(batch.hparams) else [_moved(batch, old, new, rule)]
    if old is None:
        notes.append(
            "the old base is not on this machine, so settings that were chosen by hand cannot be "
            "told from its table's: all come from the new model's table (--set changes them)"
        )
        return rule.name if rule else None, {}, notes
    return rule.name if rule else None, _chosen(batch, old), notes


def _rule(batch: BatchRecord) -> LayerRule | None:
    """The rule that chose the batch's layer, if it can choose again: a trace is not carried."""
    choice = batch.evidence.get(LAYER_CHOICE)
    if not isinstance(choice, Mapping):
        return None
    name, span = str(choice.get("rule")), choice.get("range")
    if name == "traced":
        return None
    if choice.get("raw"):
        return LayerRule("layerwise-raw")
    if name in RANGED and isinstance(span, list | tuple):
        name = f"{name}:{span[0]}-{span[1]}"
    return LayerRule.parse(name)


def _moved(batch: BatchRecord, old: Any, new: Any, rule: LayerRule | None) -> str:
    where = ", ".join(map(str, batch.layers))
    before = "the old base" if old is None else _called(old)
    now = f"the rule {rule.name} chooses" if rule else "the method's table for it decides"
    return (
        f"{batch.method}: layer {where} of {before} does not carry over to {_called(new)}; "
        f"{now} (--layer, --set)"
    )


def _called(config: Any) -> str:
    return f"{config.model_type} of {config.num_hidden_layers} layers"


def _chosen(batch: BatchRecord, old: Any) -> dict[str, object]:
    """Hyper-parameters that the batch did not have from the table of its model."""
    usual = defaults(batch.method, old)
    return {
        name: value
        for name, value in batch.hparams.items()
        if name not in _PLACES and _plain(usual.get(name)) != _plain(value)
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
