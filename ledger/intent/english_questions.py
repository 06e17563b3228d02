"""English questions, as the beginnings of the statements that answer them.

Promise: the prompt with its subject, followed by an answer, answers the question.

    asked("Where was Ada Lovelace born?")        # ('Ada Lovelace', '{} was born in')
    asked("The profession of Ada is")            # ('Ada', 'The profession of {} is')
"""

from __future__ import annotations

import re
from types import MappingProxyType

from ledger.intent.english_statements import NAME, stated
from ledger.intent.splitting import BLANK, filled

_BY = MappingProxyType(
    {"wrote": "written", "made": "made", "built": "built", "led": "led", "sang": "sung"}
)
_S = rf"(?P<subject>{NAME})"
_WHAT = r"(?:what|who|where|which)"
_FORMS = (
    (rf"(?:where|when) (?P<be>was|is|were) {_S} born", "{} was born in"),
    (rf"where (?P<be>is|was) {_S} (?P<how>located|situated|based|headquartered|buried)",
     "{} <be> <how> in"),
    (rf"where (?:does|did) {_S} come from", "{} comes from"),
    (rf"where does {_S} (?P<verb>\w+)", "{} <verb>s in"),
    (rf"where did {_S} die", "{} died in"),
    (rf"{_WHAT} (?P<be>is|was|are|were) the (?P<relation>[a-z][a-z -]*?) of {_S}",
     "The <relation> of {} <be>"),
    (rf"{_WHAT} (?P<be>is|was|are|were) {_S}'s (?P<relation>[a-z][a-z -]*)", "{}'s <relation> <be>"),
    (rf"who (?:is|was) {_S} married to", "{} is married to"),
    (rf"(?:what|which) (?:\w+ )?language does {_S} speak", "{} speaks"),
    (rf"(?:what|which) (?:\w+ )?\w+ does {_S} (?P<verb>\w+)", "{} <verb>s"),
    (rf"what does {_S} do(?: for a living)?", "{} works as"),
    (rf"how many (?P<relation>[a-z ]+?) (?:does|do|did) {_S} have", "The number of <relation> of {} is"),
    (rf"who (?P<by>\w+) {_S}", "{} was <by> by"),
    (r"(?:what|who|which) is the (?P<subject>[a-z][a-z -]*)", "The {} is"),
    (rf"where (?P<be>is|was|are) {_S}", "{} <be> in"),
    (rf"(?:what|who) (?P<be>is|was) {_S}", "{} <be>"),
)  # fmt: skip
_QUESTIONS = tuple((re.compile(_form), prompt) for _form, prompt in _FORMS)


def asked(question: str) -> tuple[str, str] | None:
    """Subject and prompt of a question, or of a sentence without its end; None if neither."""
    text = " ".join(question.replace("’", "'").split()).rstrip(" ?.")
    text = re.sub(r"^(?:please )?(?:tell me|do you know|can you tell me),? ", "", text, flags=re.I)
    lowered = text[:1].lower() + text[1:]
    for pattern, form in _QUESTIONS:
        found = pattern.fullmatch(lowered)
        if found:
            return found["subject"], _filled(form, found)
    begun = stated(f"{text} {BLANK}")
    return (begun.subject, begun.prompt) if begun and begun.target == BLANK else None


def _filled(form: str, found: re.Match[str]) -> str:
    fields = found.groupdict()
    if "by" in fields:
        fields["by"] = _BY.get(fields["by"], fields["by"])
    if fields.get("verb", "").endswith(("s", "sh", "ch", "x")):
        fields["verb"] += "e"
    return filled(form, fields)
