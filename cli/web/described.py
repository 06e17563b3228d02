"""What the API offers: the OpenAPI document, and the same as a page that can be read.

Promise: both are made from the routes that are served, so they cannot say something else; the page
needs no script and nothing from elsewhere.

    GET /v1/openapi.json    GET /api
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.responses import JSONResponse, Response

from cli.web.bearer import Caller, needs
from cli.web.pages import page

document_router = APIRouter()
router = APIRouter()
INVALID: Final = "422"  # FastAPI's own refusal, which is answered as 400 here
ABOUT: Final = (
    "Ask any version of the model, read the ledger, and change it by proposals that are confirmed."
)
SCOPES: Final = {"model": "chat", "ledger": "read", "changes": "read"}


@dataclass(frozen=True)
class Operation:
    """A line of the page."""

    method: str
    path: str
    about: str
    scope: str
    parameters: tuple[tuple[str, str, str], ...]  # name, kind, default or ''
    fields: tuple[tuple[str, str, bool], ...]  # of the body: name, kind, needed
    answer: str
    example: str


def described(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of the routes under /v1."""
    found: dict[str, Any] = FastAPI.openapi(app)
    found["info"]["description"] = ABOUT
    for operations in found["paths"].values():
        for operation in operations.values():
            operation["responses"].pop(INVALID, None)
    for name in ("HTTPValidationError", "ValidationError"):
        found["components"]["schemas"].pop(name, None)
    return found


@document_router.get("/v1/openapi.json", include_in_schema=False)
def openapi(request: Request, _: Annotated[Caller, Depends(needs("chat"))]) -> Response:
    """The document."""
    return JSONResponse(described(request.app))


@router.get("/api")
def readable(request: Request) -> Response:
    """The same, to be read."""
    found = described(request.app)
    base = str(request.base_url).rstrip("/")
    return page(request, "api.html", operations=list(_operations(found, base)))


def _operations(found: Mapping[str, Any], base: str) -> Iterator[Operation]:
    schemas = found["components"]["schemas"]
    for path, operations in found["paths"].items():
        for method, one in operations.items():
            body = _body(one, schemas)
            yield Operation(
                method=method.upper(),
                path=path,
                about=one.get("description", ""),
                scope="edit"
                if method == "post" and "changes" in one["tags"]
                else SCOPES[one["tags"][0]],
                parameters=tuple(_parameters(one)),
                fields=tuple(_fields(body)),
                answer=_answer(one),
                example=_example(method, path, body, base),
            )


def _parameters(operation: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for parameter in operation.get("parameters", ()):
        schema = parameter["schema"]
        default = "" if schema.get("default") in (None, "") else str(schema["default"])
        yield parameter["name"], _kind(schema), default


def _fields(body: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    for name, schema in body.get("properties", {}).items():
        yield name, _kind(schema), name in body.get("required", ())


def _body(operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of what is sent; empty for nothing."""
    asked = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    schema: dict[str, Any] = asked.get("schema", {})
    reference = schema.get("$ref", "").rpartition("/")[2]
    return schemas[reference] if reference else schema


def _answer(operation: Mapping[str, Any]) -> str:
    """The name of the shape that is answered."""
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            schema = response.get("content", {}).get("application/json", {}).get("schema", {})
            return f"{status} {_kind(schema)}"
    return ""


def _kind(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " | ".join(_kind(one) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return f"[{_kind(schema.get('items', {}))}]"
    return str(schema.get("type", "any"))


_EXAMPLES: Final = {"subject": "Ada", "prompt": "{} was born in", "target_new": "Paris"}


def _example(method: str, path: str, body: Mapping[str, Any], base: str) -> str:
    """The request as a line for a shell."""
    place = f"{base}{path}".replace("{ref}", "3").replace("{name}", "NAME")
    parts = ["curl", '-H "Authorization: Bearer $KEL_TOKEN"', f"'{place}'"]
    if method == "post":
        parts.insert(1, "-X POST")
    if body:
        needed = body.get("required", ())
        sent = {name: _value(name, body["properties"][name]) for name in needed}
        parts.insert(-1, f"--json '{json.dumps(sent)}'")
    return " ".join(parts)


def _value(name: str, schema: Mapping[str, Any]) -> Any:
    if schema.get("type") == "array":
        return [{"role": "user", "content": "Ada was born in"}]
    return _EXAMPLES.get(name, name.upper())
