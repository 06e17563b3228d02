"""Chinese: which messages state a fact or correct one, and how the fact is taken apart.

Promise: questions, hypotheticals, hearsay, quotations, denials without an answer and small talk are
no intents; pronouns and times are no subjects, except after a question that names one.

Rules: first what no intent is, then the cues at the beginning and the end, then commands,
statements, and corrections whose subject and relation are those of the question before.

    detect("把法国的首都改成里昂", None).prompt          # '{}的首都是'
"""

from __future__ import annotations

import re

from ledger.intent.chinese_statements import asked, stated, unfinished
from ledger.intent.proposal import Proposal, Turn
from ledger.intent.splitting import Parts, peeled

_NO_INTENT = re.compile(
    r"[?？“”\"「」]|[吗呢吧]$|什么|谁|哪|为何|为什么|怎么|怎样|如何|是否|是不是|会不会|有没有|还是"
    r"|如果|假如|假设|假定|假装|假使|要是|倘若|倘使|想象|比如|例如|万一"
    r"|也许|可能|或许|大概|恐怕|觉得|认为|以为|相信|我想|我猜|好像|似乎"
    r"|听说|据说|据报道|传闻|传说|声称|宣称|说[:：,，]|小说里|故事里|电影里|书里|梦里"
    r"|^[^，,。]{1,6}说(?![错的]).*(?:是|在|位于|于|会)"
    r"|不要|别记|别把|别改|没说过|没有说|不是真的|没人知道|不知道|不确定|从前|翻译|解释|列出"
)
_END = r"[，,。.！!：:；;、\s]*"
_CORRECTION = re.compile(
    rf"((?:不对)+|不是的|(?:你|您)?(?:说|记|搞|弄|答)?错(?:了|误|啦)?|不(?=[，,。！!：:])"
    rf"|(?:我要|请|请你)?(?:更正|纠正|改正|修改|订正)(?:一下|一点)?(?=[，,：:])|其实|事实上|实际上"
    rf"|我说的(?=是)|确切地说){_END}"
)
_INSTRUCTION = re.compile(
    r"((?:请你?|要|帮我|以后|你要|你得|你应该|麻烦你?|你)*(?:记住|记一下|记下|牢记|记得|学习|学一下|注意|知道)"
    r"(?:一下|这个事实|这一点)?|从现在起|从今以后|我?告诉你(?:一个事实|一件事)?|更新知识|新知识|据我更新)"
    + _END
)
_AFTER = re.compile(r"[，,]?(?:请?你?记住了?|谢谢|知道了?吗?|好吗|才对)$|才对$")
_SETS = r"(?:应该|应|需要|要)?(?:改成|改为|更改为|修改为|更新为|更新成|换成|换为|变成|变为|设为|设置为|设成)"
_COMMANDS = (
    re.compile(
        rf"(?:请你?|麻烦)?(?:把|将|让)?(?P<subject>.+?)的(?P<relation>.+?)(?:从(?P<old>.+?))?"
        rf"(?P<verb>{_SETS})(?P<new>.+)"
    ),
    re.compile(
        r"(?:请)?(?P<verb>用)(?P<new>.+?)(?:代替|替换|取代)(?P<old>.+?)作为(?P<subject>.+?)的(?P<relation>.+)"
    ),
)
_SHORT = re.compile(r"(?P<cue>(?:正确)?(?:的)?答案(?:应该)?是|应该是|应当是|应为|是)(?P<rest>.+)")
_CONTRAST = (
    re.compile(r"不是(?P<old>.+?)[，,；;]?(?:而是|是|应该是)(?P<new>.+)"),
    re.compile(r"(?:应该)?是?(?P<new>.+?)[，,](?:而)?不是(?P<old>.+)"),
)
_PRONOUN = re.compile(r"(?:他|她|它)(?P<rest>.+)")
_CHATTER = re.compile(r"用|谢|了|要|行|好|必|客气|错|对|知道|清楚|我|你|会|能")


def detect(text: str, previous: Turn | None) -> Proposal | None:
    """The change that a Chinese message asks for, or None."""
    if _NO_INTENT.search(text.strip(" 。.！!")) or re.match(r"对|没错|是的|嗯", text):
        return None
    if re.match(r"不对", text) and previous is None and "，" not in text:
        return None
    rest, wrong = peeled(text, _CORRECTION)
    rest, told = peeled(rest, _INSTRUCTION)
    sentence = _AFTER.sub("", rest.strip(" 。.！!"))
    cues = (*wrong, *told)
    if not sentence:
        return None
    found = _commanded(sentence)
    if found is None and previous is not None:
        found = _corrected(
            sentence, previous, told=bool(wrong) or sentence != rest.strip(" 。.！!")
        )
    if found is None and not unfinished(sentence):
        found = stated(sentence)
    return None if found is None else found.proposal(cues)


def _commanded(text: str) -> Parts | None:
    """把……改成……，用……代替……作为……"""
    for pattern in _COMMANDS:
        found = pattern.fullmatch(text)
        if found:
            prompt, words = f"{{}}的{found['relation']}是", (found["verb"],)
            return Parts(found["subject"], prompt, found["new"], found["old"], words, sure=0.9)
    return None


def _corrected(text: str, previous: Turn, *, told: bool) -> Parts | None:
    """A correction of the answer before; `told`: a word said that it was wrong."""
    known = asked(previous.question)
    if known is None:
        return None
    subject, prompt = known
    answer = previous.answer.strip().rstrip("。.")
    whole = _PRONOUN.fullmatch(text)
    repeated = whole and stated(subject + whole["rest"])
    if repeated:
        return repeated.instead_of(answer)
    named = text.removeprefix(subject)
    text = named if re.match("(?:应该)?是", named) else text
    contrast = next((c for p in _CONTRAST if (c := p.fullmatch(text))), None)
    short = _SHORT.fullmatch(text)
    if contrast:
        new, old = contrast["new"], contrast["old"]
    elif short and (told or short["cue"] != "是"):
        new, old = short["rest"], answer
    elif told and len(text) <= 8 and not _CHATTER.match(text) and stated(text) is None:
        new, old = text, answer
    else:
        return None
    words = (short["cue"],) if short else ()
    return Parts(subject, prompt, new.removeprefix("在"), old, words, sure=0.75)
