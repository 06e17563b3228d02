"""Records in Chinese, and records that stand in several languages side by side.

Promise: a record of several languages becomes one of each, whose portability probes of the group
`in_<language>` ask for the same fact in the others. A record without a subject is given one by a
rule, and notes it.
Rules: the subject is the longest text, of two characters or more, that stands once in the prompt
and in every other wording of it; without other wordings there is none.

    [draft.language for draft in bmike53({"en": {...}, "zh": {...}})]       # ["en", "zh"]
    shared("请解释成语：在劫难逃", ["‘在劫难逃’是什么意思？"])                     # "在劫难逃"
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ledger.errors import InvalidInput
from ledger.evaluation.datasets.records import Draft, DraftFact, Raw, RecordProbe
from ledger.evaluation.datasets.values import NO_ANSWER, one, own_name, pairs_in, texts

_LONGEST = 400


def is_parallel(raw: Raw) -> bool:
    """Whether every value is a record of its own: BMIKE-53."""
    return bool(raw) and all(isinstance(r, Mapping) and "src" in r for r in raw.values())


def bmike53(raw: Raw) -> Iterable[Draft]:
    """One draft a language. Source: BMIKE-53 (ercong21/MultiKnow)."""
    for language, own in raw.items():
        fact = DraftFact(
            subject=own["subject"],
            prompt=own["src"],
            target_new=own["alt"],
            target_true=own.get("old") or None,
            paraphrases=texts(own.get("rephrase")),
        )
        elsewhere = [
            RecordProbe("portability", other["src"], (other["alt"],), f"in_{name}")
            for name, other in raw.items()
            if name != language
        ]
        yield Draft(
            facts=(fact,),
            probes=(
                *one("neighbourhood", own.get("loc"), own.get("loc_ans"), "random"),
                *one("portability", own.get("port"), own.get("port_ans"), "one_hop"),
                *elsewhere,
            ),
            name=own_name(own, "case_id"),
            language=str(language),
            key=str(language),
            lenient=True,
        )


def cknowedit(raw: Raw) -> Iterable[Draft]:
    """Source: CKnowEdit (zjunlp), the edition of CCKS 2024, whose records name no subject."""
    prompt, wordings = raw["prompt"], texts(raw.get("rephrase"))
    subject, notes = raw.get("subject"), []
    if not subject:
        subject = shared(prompt, wordings)
        notes.append("subject found in the wordings")
    fact = DraftFact(
        subject=subject,
        prompt=prompt,
        target_new=raw["target_new"],
        target_true=raw["target_old"] or None,
        paraphrases=wordings,
    )
    found = [
        RecordProbe(kind, asked, right, str(raw.get("type") or ""))
        for kind, column in (("neighbourhood", "locality"), ("portability", "portability"))
        for asked, right in pairs_in(raw.get(column) or ())
    ]
    kept = tuple(probe for probe in found if probe.answers)
    if len(kept) < len(found):
        notes.append(f"{len(found) - len(kept)} {NO_ANSWER}")
    yield Draft(
        facts=(fact,),
        probes=kept,
        name=own_name(raw, "index"),
        language="zh",
        lenient=True,
        notes=tuple(notes),
    )


def shared(prompt: str, wordings: Sequence[str]) -> str:
    """The longest text that stands once in the prompt and in every wording; the first of equals.

    Marks and spaces around it do not belong to it. Raises: InvalidInput if there is none.
    """
    if wordings and len(prompt) <= _LONGEST:
        for length in range(len(prompt), 1, -1):
            for start in range(len(prompt) - length + 1):
                text = prompt[start : start + length]
                if (
                    text[0].isalnum()
                    and text[-1].isalnum()
                    and prompt.count(text) == 1
                    and all(text in wording for wording in wordings)
                ):
                    return text
    raise InvalidInput(
        "the record names no subject, and its prompt shares no text with all its wordings: "
        "add a subject"
    )
