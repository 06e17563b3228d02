"""The editing methods: where they come from, what they store, what can be taken out again.

Promise: every registered method is listed, also one that nothing is known of here but its editor.

Rules: no weights are read; defaults come from the tables of `editors.hparams` for the model of a
ledger, and without one from the rows that hold for any model.

    [view.name for view in methods(None)]
    methods(journal.model())[0].defaults["layer"]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from editors import methods as registry
from editors.base import Editor
from editors.errors import InvalidHparams, UnknownMethod
from editors.hparams import lookup
from ledger.base import find_again
from ledger.records import ModelRecord
from ledger.views import MethodView

_FACT: Final = "exact, any fact in any order"
_COLUMN: Final = (
    "one column a fact in each edited matrix",
    "exact for a whole batch; of one fact its column, or the rest is solved again",
)
_RANK_ONE: Final = ("rank one, one matrix", _FACT)
_NEURONS: Final = ("rank one in each touched matrix", _FACT)
_DENSE: Final = ("a dense matrix", "exact for a whole batch only")
_UNKNOWN: Final = ("low rank or dense (kel show)", "exact for a whole batch")
_STORED: Final = MappingProxyType(
    {
        "rome": _RANK_ONE,
        "rome-unsup": _RANK_ONE,
        "rome-sup": ("rank three at most, one matrix", _FACT),
        "memit": _COLUMN,
        "pmet": _COLUMN,
        "emmet": _COLUMN,
        "alphaedit": _COLUMN,
        "kn": _NEURONS,
        "kn-erase": _NEURONS,
        "kn-suppress": _NEURONS,
        "kn-enhance": _NEURONS,
        "ft": _DENSE,
        "ft-l": _DENSE,
        "ft-m": _DENSE,
    }
)
# What `lookup` needs of any model; where a table counts layers by depth, none can be named.
_ANY_MODEL: Final = MappingProxyType({"num_hidden_layers": 1})
_OF_A_MODEL: Final = ("layer", "layers")


def methods(model: ModelRecord | None, place: Path | None = None) -> list[MethodView]:
    """All methods, with their defaults for a ledger's model, or for any.

    `place` is where the base lies, if not where it was recorded. Raises: BaseMismatch.
    """
    config = None if model is None else _config(model, place)
    return [_view(editor, config) for editor in registry.METHODS]


def _config(model: ModelRecord, place: Path | None) -> Any:
    from transformers import AutoConfig

    folder = find_again(model, place)
    return AutoConfig.from_pretrained(folder, local_files_only=True)


def _view(editor: Editor[Any], config: Any) -> MethodView:
    stores, removal = _STORED.get(editor.name, _UNKNOWN)
    defaults, source = _defaults(editor, config)
    return MethodView(editor.name, editor.paper, stores, removal, defaults, source)


def _defaults(editor: Editor[Any], config: Any) -> tuple[dict[str, Any], str]:
    """Hyper-parameters in the order of their type, and the source of the table's."""
    known: dict[str, Any] = {
        item.name: item.default for item in fields(editor.hparams) if item.default is not MISSING
    }
    values: Mapping[str, Any]
    try:
        values, source = lookup(editor.name, _ANY_MODEL if config is None else config)
    except (UnknownMethod, InvalidHparams):
        values, source = {}, "no table: what has no default is given with --set"
    if config is None:
        values = {name: value for name, value in values.items() if name not in _OF_A_MODEL}
    known |= values
    names = [item.name for item in fields(editor.hparams) if item.name in known]
    return {name: _plain(known[name]) for name in names}, source


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
