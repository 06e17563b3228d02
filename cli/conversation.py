"""A conversation with the model, as the terminal and the web page both keep it.

Promise: what is sent to the model is what is shown; `clean` leaves nothing of it, so that the next
answer comes from the weights alone. Bounded: the oldest turns are forgotten first.

    talk = Conversation()
    talk.add(Exchange("Ada was born in", "London.", version=3))
    talk.messages("She lives in")       # the turns before, and this one
    talk.proposed("No, it is Paris")    # a Proposal that rests on the turn before
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ledger.intent import Detector, Proposal

MOST_TURNS: Final = 50
CLEAN: Final = ("clean", "/clean")


@dataclass(frozen=True)
class Exchange:
    """A question and the answer of one version."""

    question: str
    answer: str
    version: int


@dataclass
class Conversation:
    """The exchanges so far."""

    exchanges: list[Exchange] = field(default_factory=list)

    def add(self, exchange: Exchange) -> None:
        """Append an exchange, and forget the oldest if there are too many."""
        self.exchanges = [*self.exchanges, exchange][-MOST_TURNS:]

    def clean(self) -> None:
        """Forget all of it."""
        self.exchanges = []

    def messages(self, question: str) -> list[dict[str, str]]:
        """What the model is given: all turns, and the question."""
        found: list[dict[str, str]] = []
        for exchange in self.exchanges:
            found.append({"role": "user", "content": exchange.question})
            found.append({"role": "assistant", "content": exchange.answer.strip()})
        return [*found, {"role": "user", "content": question}]

    def proposed(self, message: str, other: Detector | None = None) -> Proposal | None:
        """The change that a message asks for, resting on the last exchange.

        By the rules, and where they find nothing by the `other` detector.
        """
        from ledger.intent import Turn, detect

        last = self.exchanges[-1] if self.exchanges else None
        turn = Turn(last.question, last.answer.strip()) if last else None
        found = detect(message, turn)
        return other(message, turn) if found is None and other else found
