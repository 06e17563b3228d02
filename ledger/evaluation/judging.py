"""Judges: who decides whether a free answer is right.

Promise: a judge has a name, which enters the protocol, so that numbers of different judges are
never compared; nothing here talks to a service.
Rules: a judge is any object with `name` and `__call__`; one that asks a language model is given by
the caller.

    judge = NormalisedMatch()
    judge("Who wrote it?", ("Ada Lovelace",), "ada lovelace.")      # True
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import Final, Protocol

from ledger.evaluation.metrics import answers_with

_ARTICLES: Final = re.compile(r"\b(a|an|the)\b")
_MARKS: Final = str.maketrans("", "", string.punctuation + "。，、！？；：“”‘’（）《》")


class Judge(Protocol):
    """Decides whether `answer` to `prompt` says one of the `accepted` answers."""

    @property
    def name(self) -> str:
        """What the protocol calls it: another way of judging needs another name."""
        ...

    def __call__(self, prompt: str, accepted: Sequence[str], answer: str) -> bool: ...


class BeginsWith:
    """The default: the answer begins with an accepted one, at a word boundary."""

    name = "begins with an accepted answer, normalised"

    def __call__(self, prompt: str, accepted: Sequence[str], answer: str) -> bool:
        """As `ledger.evaluation.metrics.answers_with`, of any accepted answer."""
        return any(answers_with(answer, target) for target in accepted)


class NormalisedMatch:
    """The answer is an accepted one, but for case, articles, punctuation and spaces.

    Source: SQuAD, as EasyEdit falls back to without a judge model (`exact_match_score`).
    """

    name = "is an accepted answer, SQuAD-normalised"

    def __call__(self, prompt: str, accepted: Sequence[str], answer: str) -> bool:
        """Equality after normalisation."""
        return _plain(answer) in {_plain(target) for target in accepted}


def _plain(text: str) -> str:
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_MARKS)).split())
