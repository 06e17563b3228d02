"""Whether a user's message wants a fact changed, and which.

Promise: pure functions of the message and the turn before it; no model and no torch; a detector
only ever proposes, what becomes of a proposal is for the user to confirm.

    from ledger.intent import Turn, detect
    found = detect("No, it is Berlin.", Turn("Where was Ada Lovelace born?", "In London."))
    found.subject, found.prompt, found.target_new     # 'Ada Lovelace', '{} was born in', 'Berlin'
"""

from ledger.intent.instruct import InstructDetector
from ledger.intent.proposal import Detector, Proposal, Turn
from ledger.intent.rules import detect

__all__ = ["Detector", "InstructDetector", "Proposal", "Turn", "detect"]
