"""The API that OpenAI's clients speak: models, chat completions, completions.

Promise: an answer names the version that gave it in `model`, and the ledger's last entry in
`system_fingerprint` and `X-Ledger-Head`; without a temperature it is greedy; what is not supported
is refused, never ignored. Errors have their shape.

Rules: a model is called `<base>@<version>`, any version, tag or HEAD; the base's id alone is HEAD.
Where others can reach the application a token of scope `chat` or more is needed.

    GET /v1/models    POST /v1/chat/completions    POST /v1/completions    GET /health
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response, StreamingResponse

from cli.errors import ApiError, Overloaded, known
from cli.web.answers import (
    CHAT,
    TEXT,
    Answer,
    Form,
    body,
    failure_of,
    finish_of,
    last_lines,
    line_of,
    usage_of,
)
from cli.web.asked import Asked, asked_chat, asked_text
from cli.web.bearer import ERRORS, needs
from cli.web.jobs import END, Job
from cli.web.model_shapes import (
    CHAT_ASKED,
    TEXT_ASKED,
    ChatCompletion,
    Completion,
    Model,
    Models,
)
from cli.web.pages import state_of
from cli.web.state import State

if TYPE_CHECKING:
    from ledger import Ledger
    from ledger.conversing import Reply

alive = APIRouter()
router = APIRouter(
    prefix="/v1", tags=["model"], dependencies=[Depends(needs("chat"))], responses=ERRORS
)


def shaped(status: int, message: str, kind: str, code: str | None) -> JSONResponse:
    """A response with an error."""
    return JSONResponse(body(message, kind, code), status)


async def told(_request: Request, error: Exception) -> Response:
    """The response of an ApiError."""
    if not isinstance(error, ApiError):
        raise error
    return JSONResponse(
        body(error.message, error.kind, error.code, error.param), error.status, error.headers
    )


@alive.get("/health", include_in_schema=False)
def health(request: Request) -> dict[str, str]:
    """Whether the application answers; nothing about the ledger."""
    return {"status": "ok"}


@router.get("/models", response_model=Models)
def models(request: Request) -> Response:
    """The newest version, the base, and every tag."""
    state = state_of(request)
    status = state.status()
    names = {f"v{status.version}": status.version, "v0": 0, **status.tags}
    base = state.head().base
    made = [_model(base, name) for name in names]
    return JSONResponse({"object": "list", "data": made}, headers=_headers(status.head))


@router.get("/models/{name:path}", response_model=Model)
def model(request: Request, name: str) -> Response:
    """One version."""
    state = state_of(request)
    version = _version(state, name)
    head = state.status().head
    return JSONResponse(_model(state.head().base, f"v{version}"), headers=_headers(head))


@router.post("/chat/completions", response_model=ChatCompletion, openapi_extra=dict(CHAT_ASKED))
async def chat_completions(request: Request) -> Response:
    """The next answer of a conversation."""
    return await _completed(request, CHAT, asked_chat)


@router.post("/completions", response_model=Completion, openapi_extra=dict(TEXT_ASKED))
async def completions(request: Request) -> Response:
    """The continuation of a text."""
    return await _completed(request, TEXT, asked_text)


async def _completed(
    request: Request, form: Form, reading: Callable[[Mapping[str, Any], int], Asked]
) -> Response:
    state = state_of(request)
    asked = reading(await _json(request), state.settings.tokens)
    version = await run_in_threadpool(_version, state, asked.model)
    owner = f"api {request.client.host if request.client else '?'} {secrets.token_hex(8)}"
    try:
        job = state.worker.submit("api", owner, lambda le, job: _work(le, job, asked, version))
    except Overloaded as error:
        raise ApiError(503, str(error), "server_error", headers={"retry-after": "5"}) from error
    answer = Answer(form, f"{form.id}-{job.id}", f"{state.head().base}@v{version}")
    if asked.stream:
        events = _streamed(request, job, answer, asked)
        return StreamingResponse(
            events,
            media_type="text/event-stream",
            headers=_headers(state.status().head),
        )
    return await _whole(request, job, answer)


def _work(ledger: Ledger, job: Job, asked: Asked, version: int) -> tuple[Reply, str]:
    """In the worker's thread: the answer, and the ledger's head when it was given."""
    job.tell("head", ledger.status().head)

    def listener(piece: str) -> bool:
        job.tell("token", piece)
        return not job.stopped

    at = f"v{version}"
    if asked.messages is not None:
        reply = ledger.say(asked.messages, at=at, speech=asked.speech, listener=listener)
    else:
        reply = ledger.complete(asked.prompt, at=at, speech=asked.speech, listener=listener)
    return reply, ledger.status().head


async def _whole(request: Request, job: Job, answer: Answer) -> Response:
    async for event in job.watch():
        if event is None and await request.is_disconnected():
            job.stop()
    if job.failure is not None:
        raise failure_of(job)
    reply, head = job.result
    choice = {"index": 0, **answer.form.message(reply.text), "logprobs": None}
    choice["finish_reason"] = finish_of(reply)
    content = answer.line(answer.form.whole, [choice], head) | {"usage": usage_of(reply)}
    return JSONResponse(content, headers=_headers(head))


async def _streamed(request: Request, job: Job, answer: Answer, asked: Asked) -> AsyncIterator[str]:
    head: str | None = None
    try:
        async for event in job.watch():
            if event is None:
                yield ": still there\n\n"
            elif event.name == "head":
                head = str(event.data)
                if answer.form is CHAT:
                    first = answer.chunk("", None, head)
                    first["choices"][0]["delta"] = {"role": "assistant", "content": ""}
                    yield line_of(first)
            elif event.name == "token":
                yield line_of(answer.chunk(str(event.data), None, head))
            elif event.name == END:
                for line in last_lines(job, answer, asked, head):
                    yield line
    finally:
        job.stop()  # whoever went away waits for no answer


def _headers(head: str) -> dict[str, str]:
    return {"x-ledger-head": head}


def _model(base: str, name: str) -> dict[str, Any]:
    found = {"id": f"{base}@{name}", "object": "model", "created": 0, "owned_by": "kel"}
    return {**found, "root": base, "parent": f"{base}@v0"}


def _version(state: State, name: str) -> int:
    """The version that a model's name means. Raises: ApiError."""
    base, _, at = name.rpartition("@") if "@" in name else (name, "", "HEAD")
    if base == state.head().base:
        try:
            return state.ledger.resolve(at)
        except Exception as error:
            if known(error) is None:
                raise
    raise ApiError(
        404,
        f"there is no model {name[:200]!r}; GET /v1/models lists some, and any version can be "
        "asked for",
        "invalid_request_error",
        "model_not_found",
        "model",
    )


async def _json(request: Request) -> Mapping[str, Any]:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise ApiError(415, "send application/json", "invalid_request_error")
    try:
        found = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "the body is no JSON", "invalid_request_error") from error
    if not isinstance(found, dict):
        raise ApiError(400, "the body is no JSON object", "invalid_request_error")
    return found
