"""What the rules of both languages share: a statement taken apart, and cues at its beginning.

Parts("Ada", "{} was born in", "Paris")
peeled("No, it is Berlin", CUES)          # ('it is Berlin', ('No',))
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from ledger.intent.proposal import Proposal

# Stands where the answer would: so a prompt is taken apart as a statement is.
BLANK: Final = "\u25a1"
SURE: Final = 0.8  # of a statement whose relation is in its words


@dataclass(frozen=True)
class Parts:
    """A statement: its subject, its words with a slot, its answer; `old` what it is not."""

    subject: str
    prompt: str
    target: str
    old: str | None = None
    words: tuple[str, ...] = ()
    sure: float = SURE

    def instead_of(self, old: str | None) -> Parts:
        """The same with an old answer, if none was named."""
        return self if self.old or not old else replace(self, old=old)

    def proposal(self, cues: tuple[str, ...]) -> Proposal | None:
        """As a proposal; a cue makes it surer."""
        return Proposal.of(
            self.subject,
            self.prompt,
            self.target,
            self.old,
            confidence=min(1.0, self.sure + (0.15 if cues else 0.0)),
            evidence=(*cues, *self.words),
        )


def filled(form: str, fields: Mapping[str, str | None]) -> str:
    """A form with `<name>` replaced by the field of that name."""
    for name, value in fields.items():
        form = form.replace(f"<{name}>", value or "")
    return form


def peeled(text: str, cue: re.Pattern[str]) -> tuple[str, tuple[str, ...]]:
    """The text without the cues that it begins with, and those cues."""
    cues: list[str] = []
    while (found := cue.match(text)) and found.end():
        cues.append(found.group(1))
        text = text[found.end() :].lstrip()
    return text, tuple(cues)
