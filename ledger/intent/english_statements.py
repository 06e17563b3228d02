"""English statements, taken apart into subject, prompt and answer.

Promise: what is returned is the statement's own words: the prompt with its subject, followed by the
answer, says what was stated.

    stated("Ada Lovelace was born in Paris")    # Parts('Ada Lovelace', '{} was born in', 'Paris')
    about("the capital of France")              # ('France', 'The capital of {} is')
"""

from __future__ import annotations

import re
from typing import Final

from ledger.intent.splitting import BLANK, SURE, Parts

_LINK = r"(?:of|the|de|da|van|von|la|le|al|bin|du|del|di|and|&)"
_WORD = rf"(?:[a-z]?[A-Z0-9][\w.'&-]*|{BLANK})"
NAME: Final = rf"(?:[Tt]he\s+)?{_WORD}(?:\s+(?:{_LINK}\s+)*{_WORD})*"
TARGET: Final = re.compile(r"[^,;:()]{1,80}(?:, [A-Z][\w]+)?")
_NOBODY = re.compile(
    r"(?:I|You|He|She|It|We|They|This|That|These|Those|There|Here|My|Your|His|Her|Its|Our|Their"
    r"|Some|People|Nobody|Everyone(?! knows)|Somebody|No|Not|Music|Today|Please|What|Who|Let|Give|Ok)\b"
)
_BY = "written founded built designed produced developed created invented directed painted composed"
_BY += " owned published discovered made played sung led"
_VERBS = (
    r"(?:was|is|were) (?:listed as )?born (?:in|on)",
    rf"(?:was|is|were) (?:{'|'.join(_BY.split())}) by",
    r"(?:is|was) (?:located|situated|based|headquartered|buried|set) (?:in|on|at|near)",
    r"(?:is|was) (?:a|the) (?:citizen|native|resident|master|member|part|president|leader) of",
    r"(?:is|was) (?:married|related) to",
    r"(?:is|was) (?:trained|educated|fluent) in",
    r"(?:is|was) (?:heard on|seen with an?)",
    r"(?:is|was) (?:famous|known) (?:for|to enjoy)",
    r"(?:is|was) (?:called|named after|named)",
    r"(?:is|was) (?:from|in)",
    r"(?:works|worked) (?:as an?|as|in|for|at)",
    r"(?:lives|lived|died|resides|grew up|studied|lies) (?:in|at|on|near)",
    r"(?:comes|came|hails|hailed) from(?: the town of)?",
    r"(?:graduated) from",
    r"(?:plays|played) for",
    r"(?:plays|played|speaks|spoke|practises|practices)",
    r"(?:married|founded|wrote|invented|discovered|painted|composed|directed|created|developed)",
    r"(?:joined|attended|owns|leads|teaches|won|manages|coaches|follows)",
    r"(?:belongs|belonged|moved) to",
    r"keeps a pet",
    r"(?:loves|likes) to eat",
    r"(?:earns a living|has a job|writes letters|talks|thinks|believes) in",
    r"(?:performs|took lessons) on",
    r"(?:shares the house|goes for a walk) with a",
    r"(?:takes care of|adopted) a",
    r"(?:can never say no to|always orders|cooks|buys)",
    r"can be heard on",
    r"has been busy in",
)
_ACTION = re.compile(
    rf"(?P<lead>(?:(?:On|In|At|For|When|Every|Last|Everyone)\s[^.;:]+?\s+)?)(?P<subject>{NAME})\s+"
    rf"(?P<verb>{'|'.join(_VERBS)})\s+(?P<target>.+)"
)
_BE = r"(?:is|was|are|were|should be|must be|has to be)"
_SMALL = r"(?:in|on|at|an|a)"
_KIND = r"(?:[a-z-]+|[A-Z]{2,5})"
_OF = re.compile(
    rf"[Tt]he\s+(?P<relation>{_KIND}(?: {_KIND})*?)\s+of\s+(?P<subject>{NAME})\s+(?P<be>{_BE})\s+"
    rf"(?P<small>(?:{_SMALL}\s+)?)(?P<target>.+)"
)
_OWN = re.compile(
    rf"(?P<subject>{NAME})'s\s+(?P<relation>[a-z][a-z -]*?)\s+(?P<be>{_BE})\s+"
    rf"(?P<small>(?:{_SMALL}\s+)?)(?P<target>.+)"
)
_THAT = re.compile(
    rf"(?P<head>The [a-z ]+?(?: that| where)? )(?P<subject>{NAME})(?P<tail> [a-z ]+? is(?: the| a)?)"
    r"\s+(?P<target>.+)"
)
_IS = re.compile(
    rf"(?P<subject>{NAME})\s+(?P<be>is|was)\s+(?P<small>(?:an?\s+)?)(?P<target>(?:the\s+)?.+)"
)
_DENIED = re.compile(
    r"\b(?P<be>is|was|are|were)\s+not\s+(?P<middle>.+?),?\s+(?P<but>but|it is|it's)\s+"
)
_ELSE = re.compile(r",\s+(?:and\s+)?not\s+(?P<small>(?:in|on|at|by|from)\s+)?(?P<old>[^,]+)$")


def about(relation: str) -> tuple[str, str] | None:
    """Subject and prompt of 'the R of X' or "X's R"."""
    found = stated(f"{relation[0].upper()}{relation[1:]} is {BLANK}")
    return (found.subject, found.prompt) if found and found.target == BLANK else None


def unfinished(text: str) -> bool:
    """Whether it is the beginning of a statement, up to its answer."""
    begun = stated(f"{text} {BLANK}")
    return begun is not None and begun.target == BLANK


def stated(text: str) -> Parts | None:
    """A statement about a subject with a name, or None."""
    if re.match("[a-z]+ ", text):
        text = text[0].upper() + text[1:]
    if _NOBODY.match(text):
        return None
    plain, old = _affirmed(text)
    if re.search(r"\b(?:not|n't|doesn't|isn't|wasn't)\b", plain):
        return None
    found = _of(plain) or _own(plain) or _that(plain) or _action(plain) or _is(plain)
    if found is None or not TARGET.fullmatch(found.target):
        return None
    return found.instead_of(old) if found.subject.split()[0] not in ("A", "An") else None


def _affirmed(text: str) -> tuple[str, str | None]:
    """The statement without what it denies, and what that is."""
    other = _ELSE.search(text)
    if other:
        return text[: other.start()], other["old"]
    denied = _DENIED.search(text)
    if denied is None:
        return text, None
    after, middle = text[denied.end() :], denied["middle"]
    # 'was not born in Serbia but in Croatia': the words up to the shared preposition stay.
    shared = re.match(r"(in|on|at|by|from|to|for|as|a|an)\s", after)
    kept = old = None
    if shared:
        kept, small, old = middle.rpartition(f"{shared.group(1)} ")
        if small:
            return f"{text[: denied.start()]}{denied['be']} {kept}{after}", old
    return f"{text[: denied.start()]}{denied['be']} {after}", middle


def _of(text: str) -> Parts | None:
    found = _OF.fullmatch(text)
    if found is None:
        return None
    tail = f"{_present(found['be'])} {found['small']}".rstrip()
    prompt = f"The {found['relation']} of {{}} {tail}"
    return _parts(found, prompt, found["relation"])


def _own(text: str) -> Parts | None:
    found = _OWN.fullmatch(text)
    if found is None:
        return None
    tail = f"{_present(found['be'])} {found['small']}".rstrip()
    return _parts(found, f"{{}}'s {found['relation']} {tail}", found["relation"])


def _that(text: str) -> Parts | None:
    """The instrument that X practises is ..."""
    found = _THAT.fullmatch(text)
    return found and _parts(found, f"{found['head']}{{}}{found['tail']}", found["head"])


def _action(text: str) -> Parts | None:
    found = _ACTION.fullmatch(text)
    if found is None or _NOBODY.match(found["subject"]):
        return None
    return _parts(found, f"{found['lead']}{{}} {found['verb']}", found["verb"])


def _is(text: str) -> Parts | None:
    """X is a doctor, X is Danish: the answer has a name or an article, so that it is no opinion."""
    found = _IS.fullmatch(text)
    if found is None:
        return None
    named = found["small"] or re.match(rf"the |[A-Z0-9]|{BLANK}", found["target"])
    prompt = f"{{}} {found['be']} {found['small']}".rstrip()
    return _parts(found, prompt, found["be"], sure=0.6) if named else None


def _parts(found: re.Match[str], prompt: str, words: str, sure: float = SURE) -> Parts:
    return Parts(found["subject"], prompt, found["target"].strip(), None, (words.strip(),), sure)


def _present(be: str) -> str:
    return be if be in ("is", "was", "are", "were") else "is"
