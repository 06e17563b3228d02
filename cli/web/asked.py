"""What a request of the API asks for, checked field by field.

Promise: a field that has no effect here is refused unless it is at its default; a message names the
field.

    asked_chat({"model": "demo", "messages": [{"role": "user", "content": "Hi"}]}, 256).speech
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cli.errors import ApiError, known

if TYPE_CHECKING:
    from ledger.conversing import Speech

_KNOWN: Final = frozenset(
    {"model", "messages", "prompt", "stream", "stream_options", "max_tokens", "temperature"}
    | {"max_completion_tokens", "top_p", "seed", "stop", "user", "metadata", "store"}
)
# Accepted at the values that mean "as it is done here".
_NEUTRAL: Final[Mapping[str, tuple[Any, ...]]] = {
    "n": (1,),
    "best_of": (1,),
    "logprobs": (None, False),
    "top_logprobs": (None,),
    "echo": (None, False),
    "suffix": (None, ""),
    "logit_bias": (None, {}),
    "presence_penalty": (None, 0),
    "frequency_penalty": (None, 0),
    "response_format": (None, {"type": "text"}),
    "tools": (None, []),
    "tool_choice": (None, "none"),
    "parallel_tool_calls": (None, True, False),
}


@dataclass(frozen=True)
class Asked:
    """A request: messages, or a prompt where they are None."""

    model: str
    speech: Speech
    stream: bool
    usage: bool
    messages: tuple[dict[str, str], ...] | None = None
    prompt: str = ""


def asked_chat(body: Mapping[str, Any], most: int) -> Asked:
    """A request for the next answer of a conversation. Raises: ApiError."""
    given = body.get("messages")
    if not isinstance(given, list) or not given:
        raise _wrong("messages", "a list of messages is needed")
    messages = tuple(_message(place, message) for place, message in enumerate(given))
    return Asked(*_common(body, most), messages=messages)


def asked_text(body: Mapping[str, Any], most: int) -> Asked:
    """A request for the continuation of a text. Raises: ApiError."""
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise _wrong("prompt", "give one prompt, as a text")
    return Asked(*_common(body, most), prompt=prompt)


def _common(body: Mapping[str, Any], most: int) -> tuple[str, Speech, bool, bool]:
    for name, value in body.items():
        if name not in _KNOWN and value not in _NEUTRAL.get(name, ()):
            raise _wrong(name, f"{name} is not supported here")
    stream = _of(body, "stream", bool, False)
    options = _of(body, "stream_options", dict, {})
    return (
        _of(body, "model", str, None),
        _speech(body, most),
        stream,
        bool(options.get("include_usage")),
    )


def _speech(body: Mapping[str, Any], most: int) -> Speech:
    from ledger.conversing import Speech

    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int)):
        raise _wrong("max_tokens", "max_tokens is a whole number")
    stop = body.get("stop") or []
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(text, str) for text in stops):
        raise _wrong("stop", "stop is a text or a list of texts")
    try:
        return Speech(
            max_new_tokens=min(limit if limit is not None else most, most),
            temperature=float(_of(body, "temperature", (int, float), 0.0)),
            top_p=float(_of(body, "top_p", (int, float), 1.0)),
            seed=_of(body, "seed", int, None, needed=False),
            stops=tuple(stops),
        )
    except Exception as error:
        failure = known(error)
        if failure is None:
            raise
        raise _wrong(None, failure.message) from error


def _message(place: int, message: object) -> dict[str, str]:
    name = f"messages[{place}]"
    if not isinstance(message, dict):
        raise _wrong(name, f"{name} is an object with role and content")
    role, content = message.get("role"), message.get("content")
    if isinstance(content, list) and all(_is_text(part) for part in content):
        content = "".join(part["text"] for part in content)
    if role == "developer":
        role = "system"
    if not isinstance(role, str) or not isinstance(content, str):
        raise _wrong(name, f"{name} needs a role and a content of text")
    return {"role": role, "content": content}


def _is_text(part: object) -> bool:
    return (
        isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
    )


def _of(body: Mapping[str, Any], name: str, kind: Any, default: Any, *, needed: bool = True) -> Any:
    """A field of a type; its default where it is missing or null."""
    value = body.get(name)
    if value is None:
        if default is None and needed:
            raise _wrong(name, f"{name} is needed")
        return default
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _wrong(name, f"{name} is of the wrong type")
    return value


def _wrong(name: str | None, message: str) -> ApiError:
    return ApiError(400, message, "invalid_request_error", None, name)
