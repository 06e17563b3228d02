"""How the API writes answers: whole, in pieces, and as errors.

Promise: every line of one answer names its version and the ledger's head; the last line of a stream
is `[DONE]`, also after an error.

    answer = Answer(CHAT, "chatcmpl-1", "demo@v3")
    line_of(answer.chunk("Lon", None, head))        # 'data: {...}'
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cli.errors import ApiError
from cli.web.asked import Asked
from cli.web.jobs import Job

if TYPE_CHECKING:
    from ledger.conversing import Reply


@dataclass(frozen=True)
class Form:
    """How an endpoint writes its answers."""

    id: str
    whole: str
    chunk: str
    message: Callable[[str], dict[str, Any]]
    piece: Callable[[str], dict[str, Any]]


def _chat_message(text: str) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": text, "refusal": None}}


def _chat_piece(text: str) -> dict[str, Any]:
    return {"delta": {"content": text} if text else {}}


def _text(text: str) -> dict[str, Any]:
    return {"text": text}


CHAT: Final = Form(
    "chatcmpl", "chat.completion", "chat.completion.chunk", _chat_message, _chat_piece
)
TEXT: Final = Form("cmpl", "text_completion", "text_completion", _text, _text)


def body(message: str, kind: str, code: str | None, param: str | None = None) -> dict[str, Any]:
    """An error as OpenAI's clients read it."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


@dataclass(frozen=True)
class Answer:
    """What every line of one answer repeats."""

    form: Form
    id: str
    model: str

    def line(self, kind: str, choices: list[dict[str, Any]], head: str | None) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": int(time.time()),
            "model": self.model,
            "system_fingerprint": head,
            "choices": choices,
        }

    def chunk(self, text: str, finish: str | None, head: str | None) -> dict[str, Any]:
        choice = {"index": 0, **self.form.piece(text), "finish_reason": finish, "logprobs": None}
        return self.line(self.form.chunk, [choice], head)


def last_lines(job: Job, answer: Answer, asked: Asked, head: str | None) -> list[str]:
    """The lines that end a stream."""
    if job.failure is not None:
        error = failure_of(job)
        return [line_of(body(error.message, error.kind, error.code)), "data: [DONE]\n\n"]
    reply, _ = job.result
    lines = [line_of(answer.chunk("", finish_of(reply), head))]
    if asked.usage:
        whole = answer.line(answer.form.chunk, [], head) | {"usage": usage_of(reply)}
        lines.append(line_of(whole))
    return [*lines, "data: [DONE]\n\n"]


def line_of(content: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"


def finish_of(reply: Reply) -> str:
    return "length" if reply.finish == "length" else "stop"


def usage_of(reply: Reply) -> dict[str, int]:
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.tokens,
        "total_tokens": reply.prompt_tokens + reply.tokens,
    }


def failure_of(job: Job) -> ApiError:
    """What went wrong in the worker; wrong input is the caller's."""
    failure = job.failure
    if failure is not None and failure.exit == 2:
        return ApiError(400, failure.message, "invalid_request_error")
    message = failure.message if failure else "the model failed"
    return ApiError(500, message, "server_error")
