"""What is to be edited: facts and requests, valid from the moment they exist.

Promise: every instance holds a prompt with exactly one `{}` where the subject stands, and texts
without control characters (prompts may hold newlines and tabs) or lone surrogates, each within
its limit.
Rules: slots are filled with `str.replace`, never `str.format`; surrounding whitespace of subjects
and targets is dropped; anything that cannot be repaired so is `InvalidRequest` naming the field.

    request = EditRequest("Ada Lovelace", "Ada Lovelace was born in", "Paris", "London")
    request.prompt      # "{} was born in"
    request.text        # "Ada Lovelace was born in"
    EditRequest.from_json(request.to_json()) == request
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import date
from typing import Any, Self

from editors.errors import InvalidRequest

SLOT = "{}"
SUBJECT_LIMIT = 500
PROMPT_LIMIT = 2000
TARGET_LIMIT = 500
SOURCE_LIMIT = 2000
VALIDITY = ("valid_from", "valid_until", "source")
LAYOUT = "\n\t"  # the only control characters of benchmark prompts

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_CJK = (
    (0x3000, 0x30FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF00, 0xFFEF),
    (0x20000, 0x3FFFF),
)


def is_cjk(char: str) -> bool:
    """True for a character of a script written without spaces between words (Chinese, Japanese)."""
    return any(low <= ord(char) <= high for low, high in _CJK)


@dataclass(frozen=True)
class Probe:
    """A prompt used to test an edit, with the answer wanted where one is known."""

    prompt: str
    answer: str | None = None

    def __post_init__(self) -> None:
        _checked("probe prompt", self.prompt, PROMPT_LIMIT, LAYOUT)
        if self.answer is not None:
            object.__setattr__(self, "answer", _stripped("probe answer", self.answer, TARGET_LIMIT))

    def to_json(self) -> dict[str, Any]:
        """Plain dict for storage."""
        return {"prompt": self.prompt, "answer": self.answer}

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Inverse of `to_json`. Raises InvalidRequest on unknown or missing keys."""
        return cls(**_known_keys(cls, data))


@dataclass(frozen=True)
class Fact:
    """(subject, prompt, target): the prompt is a template with one `{}` for the subject."""

    subject: str
    prompt: str
    target_new: str
    target_true: str | None = None

    def __post_init__(self) -> None:
        subject = _stripped("subject", self.subject, SUBJECT_LIMIT)
        if SLOT in subject:
            raise InvalidRequest(f"subject {subject!r} contains '{{}}', the slot of the prompt")
        object.__setattr__(self, "subject", subject)
        object.__setattr__(self, "prompt", as_template(self.prompt, subject))
        new = _stripped("target_new", self.target_new, TARGET_LIMIT)
        object.__setattr__(self, "target_new", new)
        if self.target_true is not None:
            true = _stripped("target_true", self.target_true, TARGET_LIMIT)
            object.__setattr__(self, "target_true", true)
            if true == new:
                raise InvalidRequest(f"target_new equals target_true ({new!r}): nothing to edit")

    @property
    def text(self) -> str:
        """The prompt with the subject in its slot."""
        return self.prompt.replace(SLOT, self.subject)

    def to_json(self) -> dict[str, Any]:
        """Plain dict for storage: strings, None, lists and dicts only; of `VALIDITY` what is given.

        So a request without them is written as it was before there were any.
        """
        found = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}
        return {k: v for k, v in found.items() if v is not None or k not in VALIDITY}

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Inverse of `to_json`. Raises InvalidRequest on unknown or missing keys."""
        return cls(**_known_keys(cls, data))


@dataclass(frozen=True)
class EditRequest(Fact):
    """A fact with the probes that test it.

    `paraphrases` are full prompt texts with the same answer; `neighbourhood` (other subjects),
    `same_subject` (other relations) and `portability` (consequences) are probes. None of them has
    a slot. `valid_from` and `valid_until` are the first and the last day on which the fact is true
    (`2026-01-31`), `source` is who says so, a text or an address: they are kept and change nothing
    of the edit.
    """

    paraphrases: tuple[str, ...] = ()
    neighbourhood: tuple[Probe, ...] = ()
    same_subject: tuple[Probe, ...] = ()
    portability: tuple[Probe, ...] = ()
    valid_from: str | None = None
    valid_until: str | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_validity()
        texts = _sequence("paraphrases", self.paraphrases)
        for text in texts:
            _whole("paraphrase", _checked("paraphrase", text, PROMPT_LIMIT, LAYOUT))
        object.__setattr__(self, "paraphrases", texts)
        for name in ("neighbourhood", "same_subject", "portability"):
            probes = tuple(_probe(name, p) for p in _sequence(name, getattr(self, name)))
            for probe in probes:
                _whole(f"{name} prompt", probe.prompt)
            object.__setattr__(self, name, probes)

    def _check_validity(self) -> None:
        first, last = self.valid_from, self.valid_until
        for name, value in (("valid_from", first), ("valid_until", last)):
            if value is not None:
                day(name, value)
        if first is not None and last is not None and last < first:
            raise InvalidRequest(f"valid_until {last} is before valid_from {first}: swap them")
        if self.source is not None:
            object.__setattr__(self, "source", _stripped("source", self.source, SOURCE_LIMIT))

    @property
    def fact(self) -> Fact:
        """The fact alone, without probes."""
        return Fact(self.subject, self.prompt, self.target_new, self.target_true)


def day(field: str, value: object) -> str:
    """`value`, if it is a day as `2026-01-31`; days sort as texts. Raises: InvalidRequest."""
    try:
        if isinstance(value, str) and _DAY.fullmatch(value):
            return date.fromisoformat(value).isoformat()
    except ValueError:
        pass  # a day that no month has
    raise InvalidRequest(f"{field} {value!r:.40} is no day: write it as 2026-01-31")


def as_template(prompt: object, subject: str) -> str:
    """The prompt as a template with exactly one slot.

    Raises: InvalidRequest where the subject is not in it exactly once.
    """
    text = _checked("prompt", prompt, PROMPT_LIMIT, LAYOUT)
    slots = text.count(SLOT)
    places = list(_occurrences(text, subject))
    if slots > 1:
        raise InvalidRequest(f"prompt {text!r} has {slots} slots '{{}}': keep one for the subject")
    if slots and places:
        raise InvalidRequest(f"prompt {text!r} has a slot and names the subject {subject!r} again")
    if slots:
        return text
    if not places:
        raise InvalidRequest(
            f"subject {subject!r} is not in the prompt {text!r}: write it as it stands there, "
            "or mark its place with '{}'"
        )
    if len(places) > 1:
        raise InvalidRequest(
            f"subject {subject!r} is {len(places)} times in the prompt {text!r}: "
            "mark one place with '{}' and reword the other"
        )
    return text[: places[0]] + SLOT + text[places[0] + len(subject) :]


def _occurrences(text: str, subject: str) -> Iterable[int]:
    """Starts of the subject in the text as whole words (CJK text has no word boundaries)."""
    start = text.find(subject)
    while start >= 0:
        end = start + len(subject)
        joined_left = start > 0 and _same_word(text[start - 1], text[start])
        joined_right = end < len(text) and _same_word(text[end - 1], text[end])
        if not joined_left and not joined_right:
            yield start
        start = text.find(subject, start + 1)


def _same_word(left: str, right: str) -> bool:
    return all((c.isalnum() or c == "_") and not is_cjk(c) for c in (left, right))


def _stripped(field: str, value: object, limit: int) -> str:
    return _checked(field, value.strip() if isinstance(value, str) else value, limit)


def _checked(field: str, value: object, limit: int, allowed: str = "") -> str:
    """The value if it is a usable text of at most `limit` characters, else InvalidRequest."""
    if not isinstance(value, str):
        raise InvalidRequest(f"{field} must be a text, not {type(value).__name__}")
    if not value.strip():
        raise InvalidRequest(f"{field} is empty: give at least one visible character")
    if len(value) > limit:
        raise InvalidRequest(f"{field} has {len(value)} characters, the limit is {limit}: shorten")
    for place, char in enumerate(value):
        category = unicodedata.category(char)
        if category in ("Cc", "Cs") and char not in allowed:
            kind = "control character" if category == "Cc" else "lone surrogate"
            raise InvalidRequest(
                f"{field} has a {kind} U+{ord(char):04X} at character {place}: remove it"
            )
    return value


def _whole(field: str, text: str) -> None:
    """Refuse a template where a whole text is wanted: it would be asked with its braces."""
    if SLOT in text:
        raise InvalidRequest(f"{field} {text!r} has a slot '{{}}': write it out with its subject")


def _sequence(field: str, value: object) -> tuple[Any, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InvalidRequest(f"{field} must be a sequence, not {type(value).__name__}")
    return tuple(value)


def _probe(field: str, value: object) -> Probe:
    if isinstance(value, Probe):
        return value
    if isinstance(value, Mapping):
        return Probe.from_json(value)
    raise InvalidRequest(f"{field} must hold probes, not {type(value).__name__}")


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [item.to_json() if isinstance(item, Probe) else item for item in value]
    return value


def _known_keys(cls: type[Any], data: object) -> dict[str, Any]:
    """`data` as keyword arguments of `cls`; raises InvalidRequest unless the keys fit."""
    if not isinstance(data, Mapping):
        raise InvalidRequest(f"{cls.__name__} must be an object, not {type(data).__name__}")
    names = [f.name for f in fields(cls)]
    unknown = sorted(str(key) for key in data if key not in names)
    if unknown:
        raise InvalidRequest(f"{cls.__name__}: unknown field {unknown[0]!r}; known: {names}")
    required = {"prompt"} if cls is Probe else {"subject", "prompt", "target_new"}
    missing = sorted(required - set(data))
    if missing:
        raise InvalidRequest(f"{cls.__name__}: field {missing[0]!r} is missing")
    return dict(data)
