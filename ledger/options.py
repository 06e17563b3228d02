"""What the verbs are told: the keyword arguments of edits, and the facts that are looked into.

Promise: one place for names, types and defaults; a value that exists is valid.

    ledger.edit(request, method="rome", layer="layerwise", gate=None)
    ledger.trace([Asked("Ada", "{} was born in", "London")])
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Self, TypedDict

from editors.requests import SLOT, EditRequest, Fact
from ledger.errors import InvalidInput
from ledger.evaluation.gates import Gate
from ledger.retests import Retested

NOTE_LIMIT: Final = 10_000
AUTHOR_LIMIT: Final = 200
BATCH_LIMIT: Final = 4096  # the highest rank an object may have
Progress = Callable[[str, float], None] | None


class EditOptions(TypedDict, total=False):
    """All may be left out.

    method: an editing method (default `rome`); layer: another than the method's default for the
    model, by number or by rule (`editors.rules`); overrides: other hyper-parameters; gate: limits,
    None for none (default `Gate()`); author, note: recorded; dry_run: measure without recording;
    retry: how often to compute again if another process moved the head meanwhile; progress: called
    with a phase and a share; retested: called with each earlier edit that is measured again.
    """

    method: str
    layer: int | str | None
    overrides: Mapping[str, object] | None
    gate: Gate | None
    author: str | None
    note: str
    dry_run: bool
    retry: int
    progress: Progress
    retested: Retested


@dataclass(frozen=True)
class Asked:
    """A prompt about a subject, and the answer that is looked for: None is what the model says.

    Raises: InvalidRequest, as a fact of an edit.
    """

    subject: str
    prompt: str
    answer: str | None = None

    def __post_init__(self) -> None:
        fact = Fact(self.subject, self.prompt, "?", self.answer)
        for name, value in (("subject", fact.subject), ("prompt", fact.prompt)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "answer", fact.target_true)

    @classmethod
    def of(cls, request: EditRequest) -> Self:
        """What a request is about, as it is before the edit."""
        return cls(request.subject, request.prompt, request.target_true)

    @property
    def text(self) -> str:
        """The prompt with the subject in its slot."""
        return self.prompt.replace(SLOT, self.subject)


def check_words(author: str, note: str) -> None:
    """Refuse an author or a note that cannot be recorded, before anything is computed.

    Raises: InvalidInput.
    """
    for name, text, limit in (("author", author, AUTHOR_LIMIT), ("note", note, NOTE_LIMIT)):
        if len(text) > limit:
            raise InvalidInput(f"the {name} has {len(text)} characters, the limit is {limit}")
        if any(char == "\0" or unicodedata.category(char) == "Cs" for char in text):
            raise InvalidInput(f"the {name} holds a NUL or a lone surrogate: remove it")
