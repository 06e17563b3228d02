"""The shapes of the endpoints that OpenAI's clients speak, for the OpenAPI document.

Rules: what is asked is checked by `cli.web.asked`, field by field; here stands what can be sent.

    ChatCompletion(id="chatcmpl-1", object="chat.completion", ...)
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal


@dataclass(frozen=True)
class Model:
    """A version of the base, by its number or a tag."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    root: str
    parent: str


@dataclass(frozen=True)
class Models:
    """The newest version, the base, and every tag."""

    object: Literal["list"]
    data: tuple[Model, ...]


@dataclass(frozen=True)
class Usage:
    """Tokens of the prompt and of the answer."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


@dataclass(frozen=True)
class Message:
    """An answer."""

    role: Literal["assistant"]
    content: str
    refusal: None


@dataclass(frozen=True)
class ChatChoice:
    """The one answer."""

    index: int
    message: Message
    finish_reason: Literal["stop", "length"]
    logprobs: None


@dataclass(frozen=True)
class ChatCompletion:
    """The next answer of a conversation; `model` is the version that gave it."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: tuple[ChatChoice, ...]
    usage: Usage


@dataclass(frozen=True)
class TextChoice:
    """The one continuation."""

    index: int
    text: str
    finish_reason: Literal["stop", "length"]
    logprobs: None


@dataclass(frozen=True)
class Completion:
    """The continuation of a text; `model` is the version that gave it."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: tuple[TextChoice, ...]
    usage: Usage


_COMMON: Final[MappingProxyType[str, Any]] = MappingProxyType(
    {
        "model": {"type": "string", "description": "`<base>@<version, tag or HEAD>`"},
        "stream": {"type": "boolean", "default": False},
        "max_tokens": {"type": "integer", "minimum": 1},
        "temperature": {"type": "number", "minimum": 0, "maximum": 2, "default": 0},
        "top_p": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 1},
        "seed": {"type": "integer"},
        "stop": {"type": "array", "items": {"type": "string"}, "maxItems": 4},
    }
)
_SAID: Final[MappingProxyType[str, Any]] = MappingProxyType(
    {
        "type": "object",
        "required": ["role", "content"],
        "properties": {
            "role": {"enum": ["system", "user", "assistant"], "type": "string"},
            "content": {"type": "string"},
        },
    }
)


def _asked(name: str, field: dict[str, Any]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": ["model", name],
        "properties": {name: field, **_COMMON},
    }
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


CHAT_ASKED: Final = MappingProxyType(
    _asked("messages", {"type": "array", "minItems": 1, "items": dict(_SAID)})
)
TEXT_ASKED: Final = MappingProxyType(_asked("prompt", {"type": "string"}))
