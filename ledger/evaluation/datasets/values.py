"""Taking apart the values of records: one text or many, one answer or nested lists of them.

Promise: what is absent gives nothing; what is of another kind raises, as the shapes promise.

    answers([["Ada", "A."], ["Bob"]])        # ("Ada", "A.", "Bob")
    one("portability", "Who?", "Ada", "")    # (RecordProbe("portability", "Who?", ("Ada",)),)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ledger.errors import InvalidInput
from ledger.evaluation.datasets.records import Raw, RecordProbe

NO_ANSWER: Final = "probes without an answer left out"


def texts(value: Any) -> tuple[Any, ...]:
    """A text, a list of them, or nothing, as a tuple. What is in a list is checked by its user."""
    if not value:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def answers(value: Any) -> tuple[str, ...]:
    """All texts of nested lists, in order, each once; empty ones are none.

    Raises: InvalidInput for anything that is neither text, number nor list.
    """
    return tuple(dict.fromkeys(_flat(value)))


def _flat(value: Any) -> Iterator[str]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _flat(item)
    elif isinstance(value, Mapping):
        raise InvalidInput("an answer is a text or a list of texts, not an object")
    elif value is not None and str(value).strip():
        yield str(value)


def one(kind: str, prompt: Any, answer: Any, group: str) -> tuple[RecordProbe, ...]:
    """A probe, or none where there is no prompt."""
    return (RecordProbe(kind, prompt, answers(answer), group),) if prompt else ()


def pairs_in(items: Any) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Prompts with their answers, of a list of probes or of a probe of two lists (EasyEdit).

    Answers stand under `ground_truth` or `answer`.
    """
    if isinstance(items, Mapping):
        prompts, found = texts(items["prompt"]), items.get("ground_truth")
        listed = [found] if isinstance(items["prompt"], str) else texts(found)
        yield from ((p, answers(a)) for p, a in zip(prompts, listed, strict=True))
        return
    for item in items:
        yield item["prompt"], answers(item.get("ground_truth", item.get("answer")))


def grouped(name: str) -> str:
    """A data set's own word for a kind of probe: `Subject_Aliasing` -> `subject_aliasing`."""
    return "_".join(str(name).lower().split())


def own_name(raw: Raw, key: str) -> str:
    """The number a data set gives to a record, as text."""
    return str(raw[key]) if raw.get(key) is not None else ""
