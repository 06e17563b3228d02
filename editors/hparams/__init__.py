"""Published hyper-parameters as data: one file per method, one row per model or family.

Promise: `lookup` returns values with the place they come from, most specific row first: a model
size, then a model type, then a generic row that says what it assumes.
Rules: rows may give `layer_at`, a fraction of the depth, in place of `layer`, or `layers_at`, the
fractions of the first and the last, in place of `layers`; they become layer numbers here. A file
may be one object {"like": method} in place of rows: that method's values are taken. Nothing here
imports torch.

    values, source = lookup("rome", model.config)
    hparams = get_editor("rome").hparams.from_dict(values | {"v_lr": 0.1})
    print(source)                   # "kmeng01/rome hparams/ROME/gpt2-xl.json"
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from editors.errors import InvalidHparams, UnknownMethod

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


def lookup(method: str, config: Any) -> tuple[dict[str, Any], str]:
    """Values for a method on a model, and their source.

    `config` is a transformers config or a mapping with model_type, num_hidden_layers, hidden_size.
    Raises: UnknownMethod without a table, InvalidHparams when no row fits.
    """
    path = Path(__file__).parent / f"{method}.json"
    if not _NAME.fullmatch(method) or not path.is_file():
        raise UnknownMethod(f"no table of hyper-parameters for method {method!r}")
    rows = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(rows, Mapping):
        values, source = lookup(rows["like"], config)
        return values, f"{source}; {method} takes the values of {rows['like']}"
    fitting = [row for row in rows if _fits(row["match"], config)]
    if not fitting:
        raise InvalidHparams(f"no row of {path.name} fits this model: give all values yourself")
    best = max(fitting, key=lambda row: len(row["match"]))
    return _with_layer(best["hparams"], config), str(best["source"])


def _fits(match: Mapping[str, Any], config: Any) -> bool:
    return all(_get(config, name) == value for name, value in match.items())


def _get(config: Any, name: str) -> Any:
    return config.get(name) if isinstance(config, Mapping) else getattr(config, name, None)


def _with_layer(values: Mapping[str, Any], config: Any) -> dict[str, Any]:
    plain = {name: value for name, value in values.items() if not name.endswith("_at")}
    depth = int(_get(config, "num_hidden_layers") or 0)
    if "layer_at" in values:
        plain["layer"] = _layer(values["layer_at"], depth)
    if "layers_at" in values:
        first, last = (_layer(part, depth) for part in values["layers_at"])
        plain["layers"] = list(range(first, last + 1))
    return plain


def _layer(part: float, depth: int) -> int:
    return min(depth - 1, round(part * depth))
