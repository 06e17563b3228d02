"""One answer, token by token, with somebody who listens and may stop it.

Promise: without a sampler the answer is greedy, so the same model gives the same text to the same
tokens; what was heard piece by piece is, put together, the text that is returned.

Rules: a character whose bytes are not all there yet is held back; `listener` returns whether to go
on, and is asked after every token.

    spoken = speak(model, conversation_ids(model, messages), 64, listener=lambda text: True)
    spoken.text, spoken.finish            # '...', 'stop' | 'length' | 'stopped'
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from editors.chat import rendered_chat
from editors.errors import InvalidRequest
from editors.generation import Choose, continue_rows, greedy
from editors.model import EditableModel, StopRule
from editors.prompts import encode

Finish: TypeAlias = Literal["stop", "length", "stopped"]
Listener: TypeAlias = Callable[[str], bool]
_UNFINISHED = "\ufffd"


@dataclass(frozen=True)
class Spoken:
    """An answer: its text, how it ended, and how many tokens went in and came out.

    finish: 'stop' (it ended by itself), 'length' (the limit), 'stopped' (by the listener).
    """

    text: str
    finish: Finish
    prompt_tokens: int
    tokens: int


def conversation_ids(model: EditableModel, messages: Sequence[Mapping[str, str]]) -> list[int]:
    """Token ids of a conversation: by the chat template, or the last message alone without one.

    One user message in a chat frame is exactly the frame's. Raises: InvalidRequest.
    """
    if not messages or messages[-1]["role"] != "user":
        raise InvalidRequest("the last message must be the user's")
    if model.frame is None or [m["role"] for m in messages] == ["user"]:
        return list(encode(model, messages[-1]["content"]).ids)
    text = rendered_chat(model.tokenizer, messages)
    return list(model.tokenizer(text, add_special_tokens=False)["input_ids"])


def room(model: EditableModel) -> int | None:
    """How many tokens the model can look at, question and answer together; None: not known."""
    found = getattr(model.model.config, "max_position_embeddings", None)
    return int(found) if found else None


def speak(
    model: EditableModel,
    ids: Sequence[int],
    max_new_tokens: int,
    *,
    choose: Choose = greedy,
    stop: StopRule | None = None,
    listener: Listener = lambda piece: True,
) -> Spoken:
    """Continue the tokens; `stop(text, complete)` is where the text ends, or None.

    An answer ends where the model's room does. Raises: InvalidRequest if there is none left.
    """
    limit = room(model)
    if limit is not None:
        max_new_tokens = min(max_new_tokens, limit - len(ids))
    if max_new_tokens < 1:
        raise InvalidRequest(
            f"{len(ids)} tokens leave no room for an answer in the model's {limit}"
        )
    answer = _Answer(model, stop, listener)
    with model.evaluating():
        (tail,) = continue_rows(model, [ids], max_new_tokens, choose=choose, done=answer.grown)
    return answer.spoken(tail, len(ids), max_new_tokens)


class _Answer:
    """What has been said so far."""

    def __init__(self, model: EditableModel, stop: StopRule | None, listener: Listener) -> None:
        self._model, self._stop, self._listener = model, stop, listener
        self._told, self._stopped, self._ended = "", False, False

    def grown(self, tail: Sequence[int]) -> bool:
        """Tell what is new; whether that was all."""
        text = self._model.decode(tail)
        end = self._stop(text, False) if self._stop else None
        self._ended = end is not None
        self._tell(text if end is None else text[:end])
        return self._ended or self._stopped

    def spoken(self, tail: Sequence[int], asked: int, limit: int) -> Spoken:
        """The finished answer."""
        text = self._model.decode(tail)
        end = self._stop(text, True) if self._stop and not self._stopped else None
        text = text if end is None else text[:end]
        if self._stopped:
            return Spoken(self._told, "stopped", asked, len(tail))
        self._tell(text, last=True)
        cut = len(tail) >= limit and not self._ended
        return Spoken(text, "length" if cut else "stop", asked, len(tail))

    def _tell(self, text: str, *, last: bool = False) -> None:
        ready = text if last else text.rstrip(_UNFINISHED)
        new = ready[len(self._told) :]
        if new and not self._stopped:
            self._told = ready
            self._stopped = not self._listener(new)
