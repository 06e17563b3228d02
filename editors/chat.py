"""Chat templates: what stands before and after a user's words, and before the assistant's.

Promise: a text inside its frame is, character for character, what the tokenizer's own chat template
makes of one user message with the generation prompt; an answer follows as the assistant's words do.
Rules: the template is run once, when the frame is made, so that neither a date in it nor a later
version of it changes what edits were made with; thinking is off where the template lets it; a
template that is more than a frame around the user's words is refused.

    frame = frame_of(tokenizer)
    frame.before        # "<|im_start|>user\n"
    frame.after         # "<|im_end|>\n<|im_start|>assistant\n"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from editors.errors import InvalidRequest, UnsupportedModel

_ASKED = ("Where was Ada born 4f2a?", "北京 is {the capital} of which country, é 93c1?")
_SAID = "In the city 7b1d."


@dataclass(frozen=True)
class Frame:
    """`before` and `after` the user's words; `gap` between the generation prompt and an answer."""

    before: str
    after: str
    gap: str

    def to_json(self) -> dict[str, str]:
        """Plain dict for storage."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, str]) -> Self:
        """Inverse of `to_json`."""
        return cls(data["before"], data["after"], data["gap"])


def frame_of(tokenizer: Any) -> Frame:
    """The frame that a tokenizer's chat template puts around a question.

    Raises: UnsupportedModel without a template, and for one that does more than that.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise UnsupportedModel(
            "the tokenizer has no chat template: leave --chat-template out, or choose a chat model"
        )
    first, second = _ASKED
    asked = _rendered(tokenizer, first)
    before, _, after = asked.partition(first)
    if asked != before + first + after or _rendered(tokenizer, second) != before + second + after:
        raise UnsupportedModel(
            "the chat template changes the user's words or repeats them, so no subject can be "
            "found in what it makes of them: leave --chat-template out"
        )
    answered = _rendered(tokenizer, first, _SAID)
    gap, found, _ = answered.removeprefix(asked).partition(_SAID)
    if not found or not answered.startswith(asked) or gap.strip():
        raise UnsupportedModel(
            "by the chat template an answer does not follow the generation prompt (a thinking part "
            "that cannot be turned off stands between): leave --chat-template out"
        )
    return Frame(before, after, gap)


def rendered_chat(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> str:
    """A whole conversation as the chat template writes it, up to where the next answer begins.

    Each message has a `role` (system, user, assistant) and a `content`. Raises: InvalidRequest for
    a conversation that the template refuses.
    """
    try:
        text: str = tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
    except Exception as error:  # a template is a program: it may fail in any way
        raise InvalidRequest(
            f"the chat template refuses these messages ({type(error).__name__}: {error})"
        ) from error
    return text


def _rendered(tokenizer: Any, user: str, said: str | None = None) -> str:
    messages = [{"role": "user", "content": user}]
    if said is not None:
        messages.append({"role": "assistant", "content": said})
    try:
        text: str = tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=said is None,
            enable_thinking=False,
        )
    except Exception as error:  # a template is a program: it may fail in any way
        raise UnsupportedModel(
            f"the chat template cannot be used ({type(error).__name__}: {error}): "
            "leave --chat-template out"
        ) from error
    return text
