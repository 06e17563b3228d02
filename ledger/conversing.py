"""Talking to a version: one answer in a conversation, or the continuation of a text, as it comes.

Promise: an answer names the version that gave it, and without a temperature it is that version's
greedy one; the live model is at the head again afterwards, whatever happened.

Rules: through the chat template the whole conversation counts, its oldest turns dropped where they
do not fit; a model without one continues the last message alone, up to the natural stop.

    reply = converse(workspace, [{"role": "user", "content": "Ada was born in"}], 3, Speech())
    reply.text, reply.version, reply.finish
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ledger.errors import InvalidInput

if TYPE_CHECKING:
    from editors.generation import Choose
    from editors.model import EditableModel, StopRule
    from ledger.workspace import Workspace

Message = Mapping[str, str]
Listener = Callable[[str], bool]
ROLES: Final = ("system", "user", "assistant")
MOST_TOKENS: Final = 4096
MOST_CHARACTERS: Final = 100_000
MOST_MESSAGES: Final = 200


@dataclass(frozen=True)
class Speech:
    """How to answer. `temperature` 0 is greedy; `stops` are texts that end the answer.

    Raises: InvalidInput for values outside their range.
    """

    max_new_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stops: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.max_new_tokens <= MOST_TOKENS:
            raise InvalidInput(f"{self.max_new_tokens} new tokens; ask for 1 to {MOST_TOKENS}")
        if not 0 <= self.temperature <= 2:
            raise InvalidInput(f"temperature {self.temperature}; give 0 (greedy) to 2")
        if not 0 < self.top_p <= 1:
            raise InvalidInput(f"top_p {self.top_p}; give a number above 0 and up to 1")
        if len(self.stops) > 4 or not all(0 < len(text) <= 200 for text in self.stops):
            raise InvalidInput("give at most 4 stop texts of 1 to 200 characters")


@dataclass(frozen=True)
class Reply:
    """An answer in a conversation, and the version that gave it.

    finish: 'stop' (it ended by itself), 'length' (the limit), 'stopped' (by whoever listened).
    """

    version: int
    text: str
    finish: str
    prompt_tokens: int
    tokens: int


def converse(
    workspace: Workspace,
    messages: Sequence[Message],
    version: int,
    speech: Speech,
    listener: Listener = lambda piece: True,
) -> Reply:
    """The next answer of a conversation. Raises: InvalidInput, InvalidRequest."""
    from editors.prompts import natural_stop

    _check(messages)

    def rows(model: EditableModel) -> list[int]:
        return _fitting(model, list(messages), speech.max_new_tokens)

    stop = None if "chat" in workspace.record.config else natural_stop
    return _spoken(workspace, rows, version, speech, listener, stop)


def complete(
    workspace: Workspace,
    text: str,
    version: int,
    speech: Speech,
    listener: Listener = lambda piece: True,
) -> Reply:
    """The continuation of a text as it is, without a chat template.

    Raises: InvalidInput, InvalidRequest.
    """
    from editors.prompts import encode

    if not text or len(text) > MOST_CHARACTERS:
        raise InvalidInput(f"the prompt has {len(text)} characters; give 1 to {MOST_CHARACTERS}")

    def rows(model: EditableModel) -> list[int]:
        return list(encode(model.plain, text).ids)

    return _spoken(workspace, rows, version, speech, listener, None)


def _check(messages: Sequence[Message]) -> None:
    if not 1 <= len(messages) <= MOST_MESSAGES:
        raise InvalidInput(f"{len(messages)} messages; give 1 to {MOST_MESSAGES}")
    if any(message["role"] not in ROLES for message in messages):
        raise InvalidInput(f"a message's role is one of {', '.join(ROLES)}")
    if sum(len(message["content"]) for message in messages) > MOST_CHARACTERS:
        raise InvalidInput(f"the messages have more than {MOST_CHARACTERS} characters; shorten")
    if not messages[-1]["content"].strip():
        raise InvalidInput("the message is empty")


def _fitting(model: EditableModel, messages: list[Message], new: int) -> list[int]:
    """Token ids of the conversation without the oldest turns that do not fit."""
    from editors.speaking import conversation_ids, room

    limit = room(model)
    # An answer may be cut short, but not to less than half of what the model can look at.
    answer = new if limit is None else min(new, limit // 2)
    while True:
        ids = conversation_ids(model, messages)
        first = int(messages[0]["role"] == "system")
        if limit is None or len(ids) + answer <= limit or len(messages) < first + 3:
            return ids
        del messages[first : first + 2]


def _spoken(
    workspace: Workspace,
    rows: Callable[[EditableModel], list[int]],
    version: int,
    speech: Speech,
    listener: Listener,
    stop: StopRule | None,
) -> Reply:
    from editors.speaking import speak

    try:
        workspace.at(version)
        model = workspace.live.model
        found = speak(
            model,
            rows(model),
            speech.max_new_tokens,
            choose=_choice(speech),
            stop=_ending(stop, speech.stops),
            listener=listener,
        )
    finally:
        workspace.rest()
    return Reply(version, found.text, found.finish, found.prompt_tokens, found.tokens)


def _choice(speech: Speech) -> Choose:
    import torch

    from editors.generation import greedy, nucleus_sampler

    if speech.temperature == 0:
        return greedy
    generator = torch.Generator()
    if speech.seed is None:
        generator.seed()
    else:
        generator.manual_seed(speech.seed)
    return nucleus_sampler(speech.temperature, speech.top_p, generator)


def _ending(stop: StopRule | None, stops: tuple[str, ...]) -> StopRule | None:
    """Where an answer ends: at the first stop text, or where `stop` says."""
    if not stops:
        return stop

    def ending(text: str, complete: bool) -> int | None:
        places = [place for given in stops if (place := text.find(given)) >= 0]
        natural = stop(text, complete) if stop else None
        return min([*places, *([] if natural is None else [natural])], default=None)

    return ending
