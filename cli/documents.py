"""The JSON that commands write.

Promise: one document a command, with its schema first; field names are those of the ledger's
values; every document is valid JSON (a number that is not finite is null).
Rules: within a schema number, fields are only ever added.

    document("status", ledger.status())     # '{\n  "schema": "kel.status/1", ...'
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from cli.text import escape_json


def document(name: str, content: object) -> str:
    """`content` (a value of the ledger, or a mapping) as the document `kel.<name>/1`."""
    body = {"schema": f"kel.{name}/1", **plain(content)}
    return escape_json(json.dumps(body, ensure_ascii=False, allow_nan=False, indent=2))


def plain(value: object) -> Any:
    """`value` made of dicts, lists, texts, numbers, booleans and None.

    Raises: TypeError for a value that has no JSON form.
    """
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
