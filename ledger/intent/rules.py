"""The rules' detector: English and Chinese, each by its own rules.

Promise: deterministic; the same message and turn give the same proposal. Figures: docs/app.md.

Rules: a message is Chinese if it holds a Chinese character, else English; a message of more than
`LONGEST` characters is a text, not a statement.

    detect("把法国的首都改成里昂").target_new         # '里昂'
"""

from __future__ import annotations

import re
from typing import Final

from ledger.intent import chinese, english
from ledger.intent.proposal import Proposal, Turn

LONGEST: Final = 300
_CHINESE = re.compile(r"[\u4e00-\u9fff]")


def detect(message: str, previous: Turn | None = None) -> Proposal | None:
    """The change that a message asks for, or None."""
    text = " ".join(message.split())
    if not text or len(text) > LONGEST:
        return None
    if _CHINESE.search(text):
        return chinese.detect(text, previous)
    return english.detect(text, previous)
