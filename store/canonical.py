"""One JSON text for one value, and a reader that accepts nothing ambiguous.

Promise: equal values give equal bytes on every machine; `strict_json(canonical_json(x)) == x` for
values built of dict, list, str, int, float, bool and None.
Rules: keys are strings and sorted by code point, no spaces, UTF-8 unescaped, no NaN or infinity,
no lone surrogates, at most 64 levels. Reading refuses duplicate keys.

    canonical_json({"b": 1, "a": [True, None]})     # b'{"a":[true,null],"b":1}'
    strict_json(b'{"a":1,"a":2}')                   # CanonicalError
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from store.errors import CanonicalError

MAX_DEPTH: Final = 64
_MAX_DIGITS: Final = 400
_INT_LIMIT: Final = 10**_MAX_DIGITS
# Made once: making it takes longer than writing a row.
_ENCODER: Final = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
# Only such a number can be outside the range of a double, or an integer of too many digits.
_LARGE: Final = re.compile(rb"[0-9][eE]|[0-9]{300}")
_BRACKETS: Final = bytes.maketrans(b"{}", b"[]")
_OTHERS: Final = bytes(set(range(256)) - set(b"[]{}"))


def canonical_json(value: object) -> bytes:
    """The canonical UTF-8 JSON of `value`; tuples are written as lists, mappings as objects.

    Raises: CanonicalError for other types, non-string keys, NaN, infinity, lone surrogates,
    more than 64 levels (so also for cycles).
    """
    return rewritten(_plain(value, 0))


def rewritten(parsed: object) -> bytes:
    """As `canonical_json`, quicker, of what `strict_json` returned. Raises: CanonicalError."""
    try:
        return _ENCODER.encode(parsed).encode("utf-8")
    except ValueError as error:
        raise CanonicalError(f"value has no canonical JSON: {error}") from error


def strict_json(data: bytes | str) -> Any:
    """Parse JSON without duplicate keys, NaN, infinities or more than 64 levels.

    Raises: CanonicalError, and nothing else.
    """
    try:
        raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
        outline = outline_of(raw)
        decoder = _WARY if _LARGE.search(outline) else _DECODER
        value = decoder.decode(data if isinstance(data, str) else raw.decode("utf-8"))
    except RecursionError as error:
        raise CanonicalError("JSON is nested too deeply") from error
    except ValueError as error:
        raise CanonicalError(f"not strict JSON: {error}") from error
    _check_depth(outline)
    return value


def outline_of(raw: bytes) -> bytes:
    """JSON text without its strings: what stands outside of them is its structure and numbers."""
    return _STRING.sub(b"", raw)


def _plain(value: object, depth: int) -> object:
    """`value` with mappings as dicts and sequences as lists, every leaf checked."""
    if depth >= MAX_DEPTH and isinstance(value, Mapping | list | tuple):
        raise CanonicalError(f"value is nested deeper than {MAX_DEPTH} levels (or contains itself)")
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    # A dict first: asking whether something is a Mapping takes much longer.
    if isinstance(value, dict) or isinstance(value, Mapping):  # noqa: SIM101
        return {_key(key): _plain(item, depth + 1) for key, item in value.items()}
    raise CanonicalError(f"{type(value).__name__} has no JSON form; convert it to a plain value")


def _number(value: float) -> float:
    if isinstance(value, float) and not math.isfinite(value):
        raise CanonicalError(f"{value!r} has no JSON form; only finite numbers can be stored")
    if isinstance(value, int) and abs(value) >= _INT_LIMIT:
        raise CanonicalError(f"an integer has more than {_MAX_DIGITS} digits")
    return value


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise CanonicalError(f"key {key!r} is not a string; JSON objects have string keys only")
    return key


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise CanonicalError("an object has the same key twice")
    return result


def _no_constant(name: str) -> NoReturn:
    raise CanonicalError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise CanonicalError("a number is outside the range of a double")
    return number


def _bounded_int(text: str) -> int:
    # Converting digits is quadratic in their number, so hostile text must be stopped before.
    if len(text.removeprefix("-")) > _MAX_DIGITS:
        raise CanonicalError(f"an integer has more than {_MAX_DIGITS} digits")
    return int(text)


def _check_depth(outline: bytes) -> None:
    """Take away the innermost pairs of brackets, level by level, of text that was parsed."""
    brackets = outline.translate(_BRACKETS, delete=_OTHERS)
    for _ in range(MAX_DEPTH):
        if not brackets:
            return
        brackets = brackets.replace(b"[]", b"")
    if brackets:
        raise CanonicalError(f"JSON is nested deeper than {MAX_DEPTH} levels")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
# Looks at each number, so it is only used where a number can be too large.
_WARY: Final = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_constant=_no_constant,
    parse_float=_finite,
    parse_int=_bounded_int,
)
