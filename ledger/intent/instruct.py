"""An instruct model as a detector: asked through its chat template, answering in fixed JSON.

Promise: whatever the model says, what comes back is a valid proposal or None; words that stand in
neither the message nor the turn before it are never proposed.

Rules: the model is a function from the messages of a chat to a text, so that tests need none and
the caller decides where it runs; the answer is one JSON object with exactly the fields asked for.

    detector = InstructDetector(lambda messages: '{"intent": false}')
    detector("Hello!")                                  # None
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ledger.intent.proposal import Proposal, Turn

Message = Mapping[str, str]
FIELDS: Final = ("subject", "prompt", "old", "new")
INSTRUCTION: Final = (
    "You decide whether the user states or corrects a fact that a knowledge base should store. "
    "Questions, small talk, hypotheticals, quotations, hearsay and bare denials are not such. "
    'Answer with one JSON object and nothing else. No fact: {"intent": false}. A fact: '
    '{"intent": true, "subject": "...", "prompt": "...", "old": "...", "new": "...", '
    '"confidence": 0.0}. "prompt" is the sentence up to the answer with {} in place of the '
    'subject, such as "{} was born in" or "{}的职业是"; "new" is the new answer, "old" the old '
    "one or empty. Keep the user's language and words."
)


@dataclass(frozen=True)
class InstructDetector:
    """A detector that asks `say`: the messages of a chat in, the assistant's text out."""

    say: Callable[[Sequence[Message]], str]

    def __call__(self, message: str, previous: Turn | None = None) -> Proposal | None:
        """The proposal that the model names, or None; see `Detector`."""
        return parsed(self.say(messages(message, previous)), message, previous)


def messages(message: str, previous: Turn | None) -> list[dict[str, str]]:
    """The chat that asks for the intent of a message."""
    before = (
        f"Question before: {previous.question}\nAnswer: {previous.answer}\n" if previous else ""
    )
    asked = f"{INSTRUCTION}\n\n{before}Message: {message}\nJSON:"
    return [{"role": "user", "content": asked}]


def parsed(text: str, message: str, previous: Turn | None) -> Proposal | None:
    """What a model's answer proposes; None for anything that is not as asked for."""
    found = _object(text)
    if found is None or found.get("intent") is not True:
        return None
    values = [found.get(name, "") for name in FIELDS]
    sure = found.get("confidence", 0.5)
    if not all(isinstance(value, str) for value in values) or not isinstance(sure, int | float):
        return None
    subject, prompt, old, new = values
    known = f"{message}\n{previous.question}\n{previous.answer}" if previous else message
    if not {subject.casefold(), new.casefold()} <= _parts_of(known, subject, new):
        return None
    confidence = min(1.0, max(0.0, float(sure)))
    return Proposal.of(subject, prompt, new, old or None, confidence=confidence, evidence=(new,))


def _parts_of(known: str, *texts: str) -> set[str]:
    """Those of the texts that stand in what is known."""
    return {t.casefold() for t in texts if t.strip() and t.casefold() in known.casefold()}


def _object(text: str) -> dict[str, Any] | None:
    """The first JSON object in a text."""
    start = text.find("{")
    try:
        found, _ = json.JSONDecoder().raw_decode(text[start:]) if start >= 0 else (None, 0)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
