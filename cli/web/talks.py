"""The conversations of the browsers, in memory, by the sha256 of a cookie.

Promise: nobody sees another's conversation; the number is bounded, the longest unused is forgotten.

    talks = Talks()
    talks.of(key).turns
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cli.conversation import MOST_TURNS, Conversation

if TYPE_CHECKING:
    from cli.web.jobs import Job
    from ledger.intent import Proposal

MOST_TALKS: Final = 500


@dataclass(frozen=True)
class WebTurn:
    """A message and what came of it: answers, or a proposal."""

    message: str
    answers: tuple[tuple[str, Job], ...] = ()  # label, job
    proposal: Proposal | None = None


@dataclass
class Talk:
    """One conversation as a page shows it."""

    conversation: Conversation = field(default_factory=Conversation)
    turns: list[WebTurn] = field(default_factory=list)
    compare: bool = False
    at: str = "HEAD"

    def add(self, turn: WebTurn) -> None:
        """Append a turn."""
        self.turns = [*self.turns, turn][-MOST_TURNS:]

    def clean(self) -> None:
        """Forget everything that was said."""
        self.conversation.clean()
        self.turns = []


class Talks:
    """All conversations."""

    def __init__(self) -> None:
        self._talks: OrderedDict[str, Talk] = OrderedDict()
        self._lock = threading.Lock()

    def seen(self, key: str) -> Talk:
        """A conversation to be looked at; an empty one if there is none."""
        with self._lock:
            return self._talks.get(key) or Talk()

    def of(self, key: str) -> Talk:
        """A conversation to be continued; made if there is none."""
        with self._lock:
            talk = self._talks.setdefault(key, Talk())
            self._talks.move_to_end(key)
            while len(self._talks) > MOST_TALKS:
                self._talks.popitem(last=False)
            return talk

    def move(self, old: str, new: str) -> None:
        """Give a conversation another key."""
        with self._lock:
            if old in self._talks:
                self._talks[new] = self._talks.pop(old)
