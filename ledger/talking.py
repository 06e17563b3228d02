"""The verbs of conversation: an answer as it comes, and a change seen before it is made.

Promise: none of them changes what the model says; `preview` may measure and keep statistics that
were missing, as `foresee` does.

Rules: base class of `ledger.Ledger`; what computes is imported inside the verb that needs it.

    ledger.say([{"role": "user", "content": "Ada was born in"}]).text
    ledger.preview(request).outcome.before
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ledger.changing import ChangingLedger
from ledger.errors import InvalidInput
from ledger.investigating import InvestigatingLedger
from ledger.options import Progress
from ledger.retests import Retested
from ledger.shares import Share
from ledger.views import EditOutcome

if TYPE_CHECKING:
    from editors.requests import EditRequest
    from ledger.conversing import Reply, Speech
    from ledger.intent import Detector

_JSON_TOKENS: Final = 200


@dataclass(frozen=True)
class Preview:
    """What an edit would do: edits that its key tells it would disturb, and its dry run.

    `foreseen` is None for a method without keys.
    """

    foreseen: tuple[Share, ...] | None
    outcome: EditOutcome


class TalkingLedger(ChangingLedger, InvestigatingLedger):
    """An open ledger that is talked to."""

    def say(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        at: str = "HEAD",
        speech: Speech | None = None,
        listener: Callable[[str], bool] = lambda piece: True,
    ) -> Reply:
        """The next answer of a conversation, told piece by piece to `listener`.

        Each message has `role` and `content`; the listener returns whether to go on.
        Raises: InvalidInput, InvalidRequest, UnknownRevision.
        """
        from ledger.conversing import Speech, converse

        version = self.resolve(at)
        return converse(self.workspace, messages, version, speech or Speech(), listener)

    def complete(
        self,
        prompt: str,
        *,
        at: str = "HEAD",
        speech: Speech | None = None,
        listener: Callable[[str], bool] = lambda piece: True,
    ) -> Reply:
        """The continuation of a text as it is, without a chat template. Raises: as `say`."""
        from ledger.conversing import Speech, complete

        version = self.resolve(at)
        return complete(self.workspace, prompt, version, speech or Speech(), listener)

    def detector(self) -> Detector:
        """The base itself as a detector of intents, asked through its chat template.

        The unedited base, so that no edit changes what is taken for one. Raises: InvalidInput
        without a chat template.
        """
        from ledger.conversing import Speech
        from ledger.intent import InstructDetector

        if not self.status().base.chat:
            raise InvalidInput(
                "the model cannot tell intents: its ledger has no chat template; use the rules"
            )

        def asked(messages: Sequence[Mapping[str, str]]) -> str:
            return self.say(messages, at="base", speech=Speech(_JSON_TOKENS)).text

        return InstructDetector(asked)

    def preview(
        self,
        request: EditRequest,
        *,
        method: str = "rome",
        progress: Progress = None,
        retested: Retested = None,
    ) -> Preview:
        """What an edit of the head would do, measured and not recorded. Raises: as `edit`."""
        foreseen = self.foresee(request, method=method)
        outcome = self.edit(
            request, method=method, dry_run=True, progress=progress, retested=retested
        )
        return Preview(foreseen, outcome)
