"""One conversation in the terminal: what was said, what is shown of it, and what is asked.

Promise: with a document wanted, nothing is shown until the end; only a yes is a yes.

    talk = Talk(invocation, ledger, "rome", "HEAD", tokens=64)
    talk.tell("hello")
    talk.confirmed("change the model?")
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cli.conversation import Conversation
from cli.documents import plain
from cli.invocation import Invocation
from cli.output import Span

if TYPE_CHECKING:
    from ledger import Ledger
    from ledger.access.proposals import Kind
    from ledger.intent import Detector

YES: Final = frozenset({"y", "yes", "是", "好", "确认"})


@dataclass
class Talk:
    """One conversation in the terminal."""

    invocation: Invocation
    ledger: Ledger
    method: str
    at: str
    tokens: int
    compare: bool = False
    chat: bool = False
    detector: Detector | None = None
    conversation: Conversation = field(default_factory=Conversation)
    turns: list[dict[str, Any]] = field(default_factory=list)

    def tell(self, *parts: Span | str) -> None:
        """One line, unless a document is wanted."""
        if not self.invocation.json:
            self.invocation.output.line(*parts)

    def confirmed(self, question: str) -> bool:
        """Whether the next line says yes."""
        answer = self.invocation.output.asked(f"{question} [y/N] ")
        return answer is not None and answer.strip().casefold() in YES

    def keep(self, kind: str, **content: Any) -> None:
        """A turn of the document."""
        self.turns.append({"kind": kind, **plain(content)})

    def propose(self, kind: Kind, body: dict[str, Any]) -> None:
        """Leave a change to somebody else, who logs in; in a terminal nobody does."""
        pending = self.ledger.access.propose(kind, body, self.ledger.author)
        self.keep("proposed", proposal=pending)
        self.tell(Span("proposed", "yellow"), f" by {pending.proposer}; nothing is changed yet")
        self.tell(Span("  somebody else confirms it within a day, in the application:", "dim"))
        self.tell(f"  /proposals/{pending.id}")
