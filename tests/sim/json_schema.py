"""Whether a value is what an OpenAPI document says it is; the part of JSON Schema that is used.

wrong(value, {"$ref": "#/components/schemas/Status"}, document)      # [] or where it is not
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

KINDS: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float),
    "boolean": bool, "null": type(None),
}  # fmt: skip


def wrong(value: Any, schema: Mapping[str, Any], document: Mapping[str, Any]) -> list[str]:
    """The places that are not as they should be."""
    return list(_wrong(value, schema, document, "$"))


def _wrong(
    value: Any, schema: Mapping[str, Any], document: Mapping[str, Any], place: str
) -> Iterator[str]:
    if "$ref" in schema:
        schema = resolved(schema["$ref"], document)
    if "anyOf" in schema:
        if all(list(_wrong(value, one, document, place)) for one in schema["anyOf"]):
            yield f"{place}: none of {schema['anyOf']}"
        return
    kind = schema.get("type")
    if kind and (not isinstance(value, KINDS[kind]) or (value is True and kind != "boolean")):
        yield f"{place}: {value!r:.50} is no {kind}"
        return
    if value not in schema.get("enum", [value]) or value != schema.get("const", value):
        yield f"{place}: {value!r:.50} is not allowed"
    if isinstance(value, dict):
        yield from _fields(value, schema, document, place)
    for number, item in enumerate(value if isinstance(value, list) else ()):
        yield from _wrong(item, schema.get("items", {}), document, f"{place}[{number}]")


def _fields(
    value: Mapping[str, Any], schema: Mapping[str, Any], document: Mapping[str, Any], place: str
) -> Iterator[str]:
    known, more = schema.get("properties", {}), schema.get("additionalProperties", not schema)
    yield from (
        f"{place}: misses {name}" for name in schema.get("required", ()) if name not in value
    )
    for name, item in value.items():
        if name in known:
            yield from _wrong(item, known[name], document, f"{place}.{name}")
        elif isinstance(more, dict):
            yield from _wrong(item, more, document, f"{place}.{name}")
        elif not more:
            yield f"{place}: {name} is in no schema"


def resolved(reference: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a reference names. Raises: KeyError."""
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found
