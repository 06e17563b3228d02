"""What a record of a data set is: requests, the probes that test them, and where it came from.

Promise: a `Record` holds valid requests and valid probes; its id depends on its content alone, so
it is the same in every file, order and shard.
Rules: a probe's first answer is the one that is scored, any of its answers is right; a probe
without one asks for what the unedited model said. A request carries the probes its class knows;
the others (`distracting`, `multi_hop`) stand in the record only.

    record.request.target_new, record.of("portability"), record.of("multi_hop")
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from editors.requests import SLOT, EditRequest, Probe
from ledger.errors import InvalidInput

Raw = Mapping[str, Any]
KINDS: Final = (
    "paraphrase",
    "neighbourhood",
    "distracting",
    "same_subject",
    "portability",
    "multi_hop",
)
NO_OP: Final = "the target is the answer it replaces"
_OF_REQUEST: Final = ("neighbourhood", "same_subject", "portability")
_ID_DIGITS: Final = 16
_SCRIPTS: Final = (
    ("LATIN", "en"),
    ("CJK", "zh"),
    ("HANGUL", "ko"),
    ("HIRAGANA", "ja"),
    ("KATAKANA", "ja"),
)


@dataclass(frozen=True)
class RecordProbe:
    """A prompt that tests a record. `kind` is one of KINDS, `group` the data set's own word for it.

    `answers`: acceptable ones, the first is scored; none: the answer is to stay as it was.
    """

    kind: str
    prompt: str
    answers: tuple[str, ...] = ()
    group: str = ""

    @property
    def probe(self) -> Probe:
        """As a request carries it. Raises: InvalidRequest."""
        return Probe(self.prompt, self.answers[0] if self.answers else None)


@dataclass(frozen=True)
class DraftFact:
    """A fact as a file tells it. `relation` is the data set's name for it, or its prompt."""

    subject: Any
    prompt: Any
    target_new: Any
    target_true: Any = None
    paraphrases: tuple[Any, ...] = ()
    relation: str = ""


@dataclass(frozen=True)
class Draft:
    """What a shape makes of a record, not yet checked.

    `key` tells several records apart that one record of the file becomes; `known`: the targets are
    what a model is expected to say already; `lenient`: a target that is the answer already is an
    edit all the same; `notes` what was changed or left out; `request` is there where the file tells
    the very request.
    """

    facts: tuple[DraftFact, ...]
    probes: tuple[RecordProbe, ...] = ()
    name: str = ""
    language: str = ""
    key: str = ""
    generation: tuple[str, ...] = ()
    known: bool = False
    lenient: bool = False
    notes: tuple[str, ...] = ()
    request: EditRequest | None = None


@dataclass(frozen=True)
class Record:
    """One record. `requests` are edited together (several only where hops are chained).

    `name` is the data set's own number for it, `place` where it stands in its file, `generation`
    prompts for free texts; `relations` name the relation of each request.
    """

    id: str
    place: str
    shape: str
    language: str
    requests: tuple[EditRequest, ...]
    probes: tuple[RecordProbe, ...] = ()
    name: str = ""
    generation: tuple[str, ...] = ()
    relations: tuple[str, ...] = ()
    known: bool = False
    notes: tuple[str, ...] = ()

    @property
    def request(self) -> EditRequest:
        """The only request. Raises: InvalidInput if the record has several."""
        if len(self.requests) != 1:
            raise InvalidInput(f"record {self.id} ({self.place}) has {len(self.requests)} requests")
        return self.requests[0]

    def of(self, kind: str) -> tuple[RecordProbe, ...]:
        """Its probes of a kind, in the order of the file."""
        return tuple(probe for probe in self.probes if probe.kind == kind)


@dataclass(frozen=True)
class BadRecord:
    """A record that cannot be used: where it stands, and why.

    `code`: json, too_long, shape, field, subject_missing, subject_repeated, no_op or invalid.
    """

    path: Path
    place: str
    code: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}, {self.place}: {self.reason}"


def build(draft: Draft, raw: Raw, shape: str, place: str) -> Record:
    """The record of a draft. Raises: InvalidRequest or InvalidInput naming the field."""
    requests = tuple(_request(fact, draft) for fact in draft.facts)
    for probe in draft.probes:
        if SLOT in probe.probe.prompt:
            raise InvalidInput(f"{probe.kind} prompt {probe.prompt!r} has a slot: write it out")
    paraphrases = tuple(
        RecordProbe("paraphrase", text, (request.target_new,))
        for request in requests
        for text in request.paraphrases
    )
    notes = list(draft.notes)
    if any(r.target_true is None and f.target_true for r, f in _pairs(requests, draft)):
        notes.append(NO_OP)
    return Record(
        id=digest_of(raw) + (f"-{draft.key}" if draft.key else ""),
        place=place,
        shape=shape,
        language=draft.language or language_of(" ".join(request.text for request in requests)),
        requests=requests,
        probes=(*paraphrases, *draft.probes),
        name=draft.name,
        generation=draft.generation,
        relations=tuple(fact.relation or r.prompt for r, fact in _pairs(requests, draft)),
        known=draft.known,
        notes=tuple(notes),
    )


def _pairs(requests: Sequence[EditRequest], draft: Draft) -> list[tuple[EditRequest, DraftFact]]:
    return list(zip(requests, draft.facts, strict=True))


def _request(fact: DraftFact, draft: Draft) -> EditRequest:
    """A request, with the record's probes where it is its only one."""
    if draft.request is not None:
        return draft.request
    alone = len(draft.facts) == 1
    same = draft.lenient and _text(fact.target_true) == _text(fact.target_new)
    probes: dict[str, Any] = {
        kind: tuple(p.probe for p in draft.probes if alone and p.kind == kind)
        for kind in _OF_REQUEST
    }
    return EditRequest(
        subject=fact.subject,
        prompt=fact.prompt,
        target_new=fact.target_new,
        target_true=None if same else fact.target_true,
        paraphrases=fact.paraphrases,
        **probes,
    )


def _text(value: object) -> object:
    return value.strip() if isinstance(value, str) else value


def digest_of(raw: object) -> str:
    """The first digits of the sha256 of a record's JSON, whatever the order of its keys."""
    text = json.dumps(raw, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:_ID_DIGITS]


def language_of(text: str) -> str:
    """`ja`, `ko` or `zh` where a letter of that script occurs, else `en`, or `und` for most others.

    Latin letters without a declared language are taken for English, as in the benchmarks.
    """
    found = Counter(_language(char) for char in text if char.isalpha())
    for language in ("ja", "ko", "zh"):
        if found[language]:
            return language
    return "en" if found["en"] > found["und"] else "und"


def _language(char: str) -> str:
    name = unicodedata.name(char, "")
    return next((language for start, language in _SCRIPTS if name.startswith(start)), "und")
