"""Reading a configuration of a run from a file of TOML.

Promise: a configuration that is returned is whole and valid; anything else is refused by file and
key.

Rules: an unknown key is refused; files are named from the folder of the configuration; a name such
as `thesis/fig2-5` is a configuration that comes with the program.

    config = load("thesis/fig2-5")
    shipped()                           # ['thesis/fig2-5', ...]
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from ledger.errors import InvalidInput
from ledger.runs.config import (
    FAMILIES,
    Config,
    DataSpec,
    MethodSpec,
    Mode,
    ModelSpec,
    is_word,
    short,
)

SHIPPED: Final = Path(__file__).parent / "configs"
Spec = TypeVar("Spec", ModelSpec, DataSpec, MethodSpec)


def load(spec: str) -> Config:
    """The configuration in a file, or one that comes with the program.

    Raises: InvalidInput naming the file and the key.
    """
    path = Path(spec)
    if not path.is_file():
        path = SHIPPED / f"{spec}.toml"
        if not path.is_file() or not path.resolve().is_relative_to(SHIPPED):
            raise InvalidInput(
                f"there is no file {spec}; these configurations come with the program: "
                + ", ".join(shipped())
            )
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInput(f"cannot read {path}: {error}") from error
    try:
        return _config(values, path)
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from error


def shipped() -> list[str]:
    """Names of the configurations that come with the program."""
    return sorted(
        p.relative_to(SHIPPED).with_suffix("").as_posix() for p in SHIPPED.rglob("*.toml")
    )


def _config(values: dict[str, Any], path: Path) -> Config:
    known = ("models", "data", "methods", "modes", "seed", "families", "marks")
    _no_others(values, known, "")
    parts: dict[str, Any] = {
        "models": _specs(values, "models", ModelSpec, path),
        "data": _specs(values, "data", DataSpec, path),
        "methods": _specs(values, "methods", MethodSpec, path),
    }
    if "modes" in values:
        modes = tuple(Mode.parse(text) for text in _list(values, "modes", str))
        parts["modes"] = _distinct([str(mode) for mode in modes], "modes") and modes
    if "seed" in values:
        parts["seed"] = _typed(values["seed"], int, "seed")
    if "families" in values:
        parts["families"] = tuple(_list(values, "families", str))
        _no_others(dict.fromkeys(parts["families"]), FAMILIES, "families: ")
    if "marks" in values:
        parts["marks"] = tuple(float(mark) for mark in _list(values, "marks", (int, float)))
        if not all(0 < mark <= 1 for mark in parts["marks"]):
            raise InvalidInput("marks are shares of a sequence, above 0 and up to 1")
    return Config(path.stem, **parts)


def _specs(values: Mapping[str, Any], key: str, kind: type[Spec], path: Path) -> tuple[Spec, ...]:
    found = [
        _spec(table, f"{key}[{place}]", kind, path)
        for place, table in enumerate(_list(values, key, dict))
    ]
    _distinct([spec.name for spec in found], key)
    return tuple(found)


def _spec(table: dict[str, Any], place: str, kind: type[Spec], path: Path) -> Spec:
    _no_others(table, list(kind.__dataclass_fields__), f"{place}: ")
    for name, types in _TYPES.items():
        if name in table:
            _typed(table[name], types, f"{place}.{name}")
    for name in ("limit", "probe_count", "tokens"):
        if table.get(name, 1) < 1:
            raise InvalidInput(f"{place}.{name} is {table[name]}; it must be 1 or more")
    table = {**table, **_placed(table, path)}
    if kind is MethodSpec:
        table.setdefault("name", table.get("method"))
    missing = [n for n in _NEEDED[kind] if not table.get(n)]
    if missing:
        raise InvalidInput(f"{place} misses {missing[0]}")
    if "/" in table["name"] or not str(table["name"]).isprintable():
        raise InvalidInput(f"{place}.name is {table['name']!r}; a name has no slash")
    return kind(**table)


_NEEDED: Final[Mapping[type, tuple[str, ...]]] = {
    ModelSpec: ("name", "base"),
    DataSpec: ("name", "source"),
    MethodSpec: ("name", "method"),
}
_TYPES: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("name", "base", "revision", "dtype", "device", "corpus"), str),
    **dict.fromkeys(("source", "probes", "method"), str),
    **dict.fromkeys(("limit", "probe_count", "tokens"), int),
    "sample": bool,
    "layer": (int, str),
    "set": dict,
}


def _placed(table: Mapping[str, Any], path: Path) -> dict[str, str]:
    """Files that a table names, from the folder of the configuration."""
    names = [n for n in ("source", "probes", "corpus") if n in table and not is_word(table[n])]
    return {n: str((path.parent / Path(table[n]).expanduser()).absolute()) for n in names}


def _no_others(values: Mapping[str, Any], known: Sequence[str], place: str) -> None:
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise InvalidInput(f"{place}{unknown[0]!r} is unknown; known are {', '.join(known)}")


def _list(values: Mapping[str, Any], key: str, kind: Any) -> list[Any]:
    found = values.get(key)
    if not isinstance(found, list) or not found:
        raise InvalidInput(f"{key} is missing or no list with something in it")
    return [_typed(item, kind, key) for item in found]


def _typed(value: Any, kind: Any, place: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise InvalidInput(f"{place} is {short(value)}, which is of another kind than expected")
    return value


def _distinct(names: Sequence[str], key: str) -> bool:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidInput(f"{key}: {twice[0]!r} stands there twice; give each its own name")
    return True
