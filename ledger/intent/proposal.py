"""What a detector of intents is given and what it returns.

Promise: a proposal that exists can be made a request of: its subject, prompt and target are valid.

    Proposal.of("Ada", "{} was born in", "Paris", confidence=0.9, evidence=("was born in",))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from editors.errors import InvalidRequest
from editors.requests import EditRequest


@dataclass(frozen=True)
class Turn:
    """A question (or the beginning of a sentence) and what the model said to it."""

    question: str
    answer: str = ""


@dataclass(frozen=True)
class Proposal:
    """A change that a message seems to want.

    `prompt` has one `{}` for the subject and ends where the answer begins; `target_true` is the
    old answer where it was named; `confidence` is 0 to 1; `evidence` the words that it rests on.
    """

    subject: str
    prompt: str
    target_new: str
    target_true: str | None = None
    confidence: float = 1.0
    evidence: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        subject: str,
        prompt: str,
        target_new: str,
        target_true: str | None = None,
        *,
        confidence: float,
        evidence: Sequence[str],
    ) -> Self | None:
        """A proposal, or None where no request can be made of it."""
        old = target_true.strip() if target_true else None
        old = None if old == target_new.strip() else old or None
        try:
            request = EditRequest(subject, prompt, target_new, old)
        except InvalidRequest:
            return None
        words = tuple(dict.fromkeys(word.strip() for word in evidence if word.strip()))
        texts = request.subject, request.prompt, request.target_new, request.target_true
        return cls(*texts, confidence, words)

    def request(self) -> EditRequest:
        """The edit that it asks for, without probes."""
        return EditRequest(self.subject, self.prompt, self.target_new, self.target_true)


class Detector(Protocol):
    """Finds the intent of a message; `previous` is the turn before it."""

    def __call__(self, message: str, previous: Turn | None = None) -> Proposal | None: ...
