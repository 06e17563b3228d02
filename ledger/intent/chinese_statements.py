"""Chinese statements and questions, taken apart into subject, prompt and answer.

Promise: the prompt with its subject, followed by the answer, says what was stated or answers what
was asked.

    stated("王伟的职业是医生")               # Parts('王伟', '{}的职业是', '医生')
    asked("阿达出生在哪里？")                # ('阿达', '{}出生在')
"""

from __future__ import annotations

import re

from ledger.intent.splitting import BLANK, Parts, filled

_NOBODY = re.compile(
    r"我|你|您|他|她|它|咱|这|那|今|明天|昨|前天|后天|现在|有人|有的|有个|大家(?!都知道)|人们|所有|每|某|一|天气"
    r"|请|没|不|别|很|太|真|谢|好|从"
)
_OFTEN = r"(?:平时|业余时间常常|退休以后|多年来一直|从小|每天|通常|现在|目前|一直|常常|最)?"
_VERBS = (
    "出生于|出生在|诞生于|生于|死于|逝世于|去世于|来自|住在|居住在|生活在|位于|坐落于|坐落在|地处|就职于|任职于|供职于|工作于"
    "|毕业于|就读于|担任|擅长演奏|会演奏|演奏|会弹|会拉|会吹|会说|擅长|练习|学习|流经|创办了|创立了|创建了|发明了|发现了|写了|创作了"
    "|嫁给了?|娶了|属于|隶属于|热衷于|热爱|喜欢|迷上了|业余时间常常|是一名|是一位|是一个|原名叫|叫做|谋生？答案是"
)
_SPEAKS = re.compile(r"(?P<subject>.{2,6}?)(?P<verb>说|讲)(?P<target>.{1,6}[语话])")
_LEAD = r"(?P<lead>(?:[^，,]{2,6}[，,]|大家都知道|朋友们常听|说到爱好，)?)"
_FOND = r"(?:最?(?:喜欢|爱)|会演奏|擅长)?"
_OF = re.compile(
    rf"{_LEAD}(?P<subject>[^，,的]{{1,20}}?|《[^》]+》)(?P<fond>{_FOND})的(?P<relation>[^，,是]{{1,12}}?)"
    r"(?P<be>应该是|应是|应当是|是位于|位于|是在|是|为|叫做|叫|在)(?P<target>.+)"
)
_ACTION = re.compile(
    rf"{_LEAD}(?P<subject>(?:《[^》]+》|[^，,的是]{{2,12}}?))(?P<often>{_OFTEN})(?P<verb>{_VERBS})"
    r"(?P<target>.+)"
)
_MADE = re.compile(r"(?P<subject>《[^》]+》)是(?P<target>.+?)(?P<verb>写|著|创作)的")
_IS = re.compile(
    rf"{_LEAD}(?P<subject>(?:《[^》]+》|[^，,的是]{{2,12}}?))(?P<often>{_OFTEN})(?P<verb>应该是|是|在)"
    r"(?P<target>.+)"
)
_NOT = (
    re.compile(
        r"(?P<head>.+?)不(?P<be>是|在|位于|住在)(?P<old>[^，,]+)[，,](?:而)?(?P=be)(?P<new>.+)"
    ),
    re.compile(
        r"(?P<head>.+?)(?:应该)?(?P<be>是|在|位于|住在)(?P<new>[^，,]+)[，,](?:而)?不(?P=be)(?P<old>.+)"
    ),
)
_TARGET = re.compile(r"[^，,。；;：:？！!]{1,30}")

_WHERE = r"(?:哪里|哪儿|何处|什么地方|哪个.*|哪座.*|哪家.*|哪所.*|几月.*|什么.*|哪种.*|哪国.*|谁)"
_QUESTIONS = (
    (re.compile(r"谁是(?P<subject>.+?)的(?P<relation>.+)"), "{}的<relation>是"),
    (re.compile(r"(?P<subject>.+?)是谁(?:写|著|创作)的"), "{}的作者是"),
    (re.compile(r"谁(?:写|创作)了(?P<subject>.+)"), "{}的作者是"),
    (re.compile(r"(?P<subject>.+?)是(?:做|干)什么.*"), "{}的职业是"),
    (re.compile(r"(?P<subject>.+?)有(?:几|多少)[颗个座条名位只]?(?P<relation>.+)"), "{}的<relation>数量是"),
    (re.compile(rf"(?P<subject>[^的]+?)(?P<fond>{_FOND})的(?P<relation>.+?)(?P<be>是|在|位于|叫){_WHERE}"),
     "{}<fond>的<relation><be>"),
    (re.compile(rf"(?P<subject>.{{2,12}}?)(?P<often>{_OFTEN})(?P<verb>{_VERBS}|说|在|是){_WHERE}"),
     "{}<often><verb>"),
)  # fmt: skip


def stated(text: str) -> Parts | None:
    """A statement about a subject with a name, or None."""
    if _NOBODY.match(text):
        return None
    plain, old = _affirmed(text)
    found = _made(plain) or _of(plain) or _action(plain) or _speaks(plain) or _is(plain)
    if found is None or _NOBODY.match(found.subject) or not _TARGET.fullmatch(found.target):
        return None
    if re.search(r"不|没", found.subject + found.prompt) or found.target.startswith(("不", "我")):
        return None
    return found.instead_of(old)


def asked(question: str) -> tuple[str, str] | None:
    """Subject and prompt of a question, or of a sentence without its end; None if neither."""
    text = re.sub(r"^(?:请问|你知道|告诉我)[，,]?|[？?。\s]+$", "", question.strip())
    for pattern, form in _QUESTIONS:
        found = pattern.fullmatch(text)
        if found:
            return found["subject"], filled(form, found.groupdict())
    begun = stated(text + BLANK)
    return (begun.subject, begun.prompt) if begun and begun.target == BLANK else None


def unfinished(text: str) -> bool:
    """Whether it is the beginning of a statement, up to its answer."""
    begun = stated(text + BLANK)
    return begun is not None and begun.target == BLANK


def _affirmed(text: str) -> tuple[str, str | None]:
    """The statement without what it denies, and what that is."""
    for pattern in _NOT:
        found = pattern.fullmatch(text)
        if found:
            return f"{found['head']}{found['be']}{found['new']}", found["old"]
    return text, None


def _of(text: str) -> Parts | None:
    found = _OF.fullmatch(text)
    if found is None:
        return None
    be = "是" if found["be"].startswith("应") else found["be"]
    return _parts(
        found, f"{found['lead']}{{}}{found['fond']}的{found['relation']}{be}", found["relation"]
    )


def _action(text: str) -> Parts | None:
    found = _ACTION.fullmatch(text)
    if found is None:
        return None
    words = f"{found['often'] or ''}{found['verb']}"
    return _parts(found, f"{found['lead']}{{}}{words}", words)


def _made(text: str) -> Parts | None:
    """《……》是……写的"""
    found = _MADE.fullmatch(text)
    return found and _parts(found, "{}的作者是", found["verb"])


def _speaks(text: str) -> Parts | None:
    found = _SPEAKS.fullmatch(text)
    return found and _parts(found, f"{{}}{found['verb']}", found["verb"])


def _is(text: str) -> Parts | None:
    found = _IS.fullmatch(text)
    if found is None:
        return None
    verb = f"{found['often'] or ''}{found['verb'].removeprefix('应该')}"
    return _parts(found, f"{found['lead']}{{}}{verb}", verb, sure=0.6)


def _parts(found: re.Match[str], prompt: str, words: str, sure: float = 0.8) -> Parts:
    return Parts(found["subject"], prompt, found["target"].strip(), None, (words,), sure)
