"""English: which messages state a fact or correct one, and how the fact is taken apart.

Promise: questions, hypotheticals, hearsay, quotations, denials without an answer and small talk are
no intents; a statement needs a subject with a name.

Rules: first what no intent is, then the cues at the beginning, then commands, statements, and
corrections whose subject and relation are those of the question before.

    detect("Change the birthplace of Ada to Paris.", None).prompt    # 'The birthplace of {} is'
"""

from __future__ import annotations

import re

from ledger.intent.english_questions import asked
from ledger.intent.english_statements import TARGET, about, stated, unfinished
from ledger.intent.proposal import Proposal, Turn
from ledger.intent.splitting import SURE, Parts, peeled

_NO_INTENT = re.compile(
    r"\b(?:if|suppos\w+|imagin\w+|pretend\w*|assum\w+|hypothetical\w*|let's say|what if"
    r"|maybe|perhaps|might|may be|could|would|possibly|probably|wonder\w*|whether|not sure"
    r"|i (?:think|guess|believe|heard)|said|says|say|claim\w*|believes?|thinks that|asked|told me"
    r"|according to|rumou?r\w*|not true that|never|nobody|no one|once upon"
    r"|in (?:the|a|my|his|her) (?:novel|book|story|film|movie|game|dream|play))\b|[\"“”]",
    re.IGNORECASE,
)
_QUESTION = re.compile(
    r"(?:who|what|where|when|why|how|which|whose|is|are|was|were|do|does|did|can|could|will|would"
    r"|shall|should|has|have|had|am|don't|do not|never|stop|yes|yeah|right|correct,|exactly)\b",
    re.IGNORECASE,
)
_END = r"(?:\s*[,.:;!-]+\s*(?:but\s+)?|\s+(?=(?:the|it|he|she|that|but)\b)|\s*$)"
_WRONG = r"(?:wrong|incorrect|false|not right|not true|not correct|a mistake|mistaken)"
_CORRECTION = re.compile(
    rf"((?:no|nope|nah|not true|{_WRONG}|(?:that|this|it)(?:'s| is) {_WRONG}"
    rf"|you(?:'re| are) {_WRONG}|actually|correction|sorry|hmm+ no|it's spelled wrong"
    r"|let me correct you|i told you|in fact|on the contrary)(?:, i mean)?)"
    + _END
    + r"(?:but\s+)?",
    re.IGNORECASE,
)
_MEANT = re.compile(r"(actually|i mean|no,? i meant?|in fact)\s+", re.IGNORECASE)
_INSTRUCTION = re.compile(
    r"((?:please\s+|i want you to\s+|you should\s+|you must\s+|kindly\s+)?"
    r"(?:remember|note|keep in mind|bear in mind|learn|store|memori[sz]e|know|record|fix|correct"
    r"|edit|update)(?:\s+(?:that|this(?:\s+fact)?|the fact that)\b|\s*(?=[:,]))"
    r"|(?:it is|it's) a fact that|from now on|for your information|fyi|by the way"
    r"|make it so that|new fact)\s*[:,]?\s*",
    re.IGNORECASE,
)
_RELATION = r"(?P<relation>(?:the\s+.+?\s+of\s+.+?|[A-Z].*?'s\s+.+?))"
_COMMANDS = (
    re.compile(
        r"(?:please\s+)?(?P<verb>change|set|update|correct|switch|edit|make|modify|alter)\s+"
        rf"{_RELATION}(?:\s+from\s+(?P<old>.+?))?\s+(?:to\s+be|to|into|as)\s+(?P<new>.+)",
        re.IGNORECASE,
    ),
    re.compile(
        r"(?:please\s+)?(?P<verb>replace)\s+(?P<old>.+?)\s+(?:with|by)\s+(?P<new>.+?)\s+as\s+"
        rf"{_RELATION}$",
        re.IGNORECASE,
    ),
    re.compile(
        r"(?:please\s+)?(?P<verb>[Mm]ake)\s+(?P<relation>the\s+[a-z ]+?\s+of\s+[A-Z][\w'-]*)\s+"
        r"(?P<new>[A-Z].*)"
    ),
)
_SHORT = re.compile(
    r"(?P<cue>(?:it|that|this|he|she)(?:'s| is| was| should be| must be| has to be)"
    r"|the (?:correct |right |true )?answer (?:is|should be))\s+(?P<rest>.+)",
    re.IGNORECASE,
)
_CONTRAST = (
    re.compile(r"not\s+(?P<old>.+?)\s*(?:,|;|\bbut\b)\s*(?:but\s+)?(?P<new>.+)", re.IGNORECASE),
    re.compile(r"(?P<new>.+?)(?:,| and)\s+not\s+(?:in\s+)?(?P<old>.+)", re.IGNORECASE),
)
_CHATTER = re.compile(
    r"(?:thanks?|thank you|idea|problem|way|please|ok|okay|need|worries|matter|not|more)\b",
    re.IGNORECASE,
)
_PRONOUN = re.compile(r"(?:he|she|it|they)\s+", re.IGNORECASE)
_POSSESSIVE = re.compile(
    r"(?:his|her|its|their)\s+(?P<relation>[a-z ]+?)\s+(?:is|was)\s+(?P<new>.+)"
)


def detect(text: str, previous: Turn | None) -> Proposal | None:
    """The change that an English message asks for, or None."""
    text = text.replace("’", "'").strip()
    if text.endswith("?") or _NO_INTENT.search(text) or _QUESTION.match(text):
        return None
    rest, wrong = peeled(text, _CORRECTION)
    rest, told = peeled(rest, _INSTRUCTION)
    meant = _MEANT.match(rest) if wrong or previous else None
    if meant:
        rest, wrong = rest[meant.end() :], (*wrong, meant.group(1))
    if _QUESTION.match(rest) or not rest or "? " in rest:
        return None
    sentence = rest.rstrip(" .!")
    found = _commanded(sentence)
    if found is None and previous is not None:
        found = _corrected(sentence, previous, told=bool(wrong))
    if found is None:
        found = _first_stated(sentence)
    return None if found is None else found.proposal((*wrong, *told))


def _first_stated(text: str) -> Parts | None:
    """The first of its sentences that states a fact."""
    if unfinished(text):
        return None
    sentences = (s.rstrip(" .!") for s in re.split(r"(?<=[a-z]{3}[.!])\s+(?=[A-Z])", text))
    return next((found for s in sentences if (found := stated(s))), None)


def _commanded(text: str) -> Parts | None:
    """change ... to ..., replace ... with ... as ..."""
    for pattern in _COMMANDS:
        found = pattern.fullmatch(text)
        subject = found and about(found["relation"])
        if found and subject:
            fields = found.groupdict()
            words = (found["verb"],)
            return Parts(*subject, found["new"], fields.get("old"), words, sure=0.9)
    return None


def _corrected(text: str, previous: Turn, *, told: bool) -> Parts | None:
    """A correction of the answer before; `told`: a word said that it was wrong."""
    subject = asked(previous.question)
    if subject is None:
        return None
    short = _SHORT.fullmatch(text)
    rest, cues = (short["rest"], (short["cue"],)) if short else (text, ())
    contrast = next((c for p in _CONTRAST if (c := p.fullmatch(rest))), None)
    answer = previous.answer.strip().rstrip(".")
    told = told or contrast is not None or bool(short and "be" in short["cue"].split())
    told = told or bool(short and "answer" in short["cue"])
    whole = _whole(text, *subject)
    if whole is not None:
        return whole.instead_of(answer)
    if not told:
        return None
    new = contrast["new"] if contrast else rest
    if not (short or contrast) and (stated(text) or len(new.split()) > 4):
        return None
    new = re.sub(r"^(?:it is|it's|in)\s+", "", new)
    if _CHATTER.match(new) or not TARGET.fullmatch(new):
        return None
    old = contrast["old"] if contrast else answer
    return Parts(*subject, new, old, cues, sure=0.75)


def _whole(text: str, subject: str, prompt: str) -> Parts | None:
    """A correction that repeats the relation: by a pronoun, or the other way round."""
    if _PRONOUN.match(text):
        found = stated(_PRONOUN.sub(f"{subject} ", text, count=1))
        # 'it is Berlin' names no relation: it is that of the question.
        return found if found and found.sure >= SURE else None
    owned = _POSSESSIVE.fullmatch(text)
    if owned:
        known = owned["relation"].split()[-1] in prompt
        words = prompt if known else f"{{}}'s {owned['relation']} is"
        return Parts(subject, words, owned["new"], words=(owned["relation"],))
    turned = re.fullmatch(r"(?P<new>[A-Z][\w '-]*?) is (?P<relation>the .+)", text)
    relation = prompt.removesuffix(" is").replace("{}", subject)
    if turned and turned["relation"].casefold() == relation.casefold():
        return Parts(subject, prompt, turned["new"], words=(turned["relation"],))
    return None
