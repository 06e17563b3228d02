"""From files to records: the functions that everything else reads data sets with.

Promise: records come in the order of the file; with a seed, those that are drawn depend on the
seed and on the records alone, not on their order, the file's other shape or how it is split.
Rules: a bad record is handed over as `BadRecord`, or raised with `strict`; of equal records the
second has the id of the first with `~2` behind it.

    good = [r for r in read_records("zsre.json", limit=100) if isinstance(r, Record)]
    requests = list(read_requests("facts.jsonl"))       # strict, without the records around them
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path

from editors.errors import EditorError
from editors.requests import SLOT, EditRequest
from ledger.errors import InvalidInput
from ledger.evaluation.datasets.files import Item, items, located
from ledger.evaluation.datasets.records import BadRecord, Draft, DraftFact, Raw, Record, build
from ledger.evaluation.datasets.shapes import Shape, shape_of

_BROKEN = (EditorError, InvalidInput, KeyError, TypeError, ValueError, AttributeError)


def read_records(
    source: str | Path,
    *,
    shape: str | None = None,
    strict: bool = False,
    seed: int | None = None,
    limit: int | None = None,
    language: str | None = None,
) -> Iterator[Record | BadRecord]:
    """The records of a file (or of `hub:owner/name/path`), good ones and bad ones.

    `shape`: take every record for one of this shape. `limit`: the first so many good records, or,
    with a `seed`, so many drawn from all of them, in the order of the file. `language`: only those.
    Raises: InvalidInput if the file cannot be read; for a bad record if `strict`.
    """
    if limit is not None and limit < 1:
        raise InvalidInput(f"{limit} records of {source}: take 1 or more")
    found = _records(located(source), shape, language)
    if strict:
        found = map(_or_raise, found)
    if limit is None:
        return found
    return _first(found, limit) if seed is None else _drawn(found, limit, seed)


def read_requests(source: str | Path) -> Iterator[EditRequest]:
    """The requests of every record; of chained edits one after the other.

    Raises: InvalidInput naming the file and the record (line number or index).
    """
    for record in read_records(source, strict=True):
        if isinstance(record, Record):
            yield from record.requests


def to_request(raw: Raw) -> EditRequest:
    """The request of one record of a known shape.

    Raises: InvalidInput if the shape is unknown, or the record has several requests; otherwise as
    the record is broken: InvalidRequest, KeyError, TypeError, ValueError or AttributeError.
    """
    shape = _shape(raw, None)
    (record, *more) = (build(draft, raw, shape.name, "record") for draft in shape.convert(raw))
    if more:
        raise InvalidInput(f"the record is {len(more) + 1} records of the shape {shape.name}")
    return record.request


def _shape(raw: object, name: str | None) -> Shape:
    if not isinstance(raw, Mapping):
        raise InvalidInput(f"a record is a JSON object, not {type(raw).__name__}")
    return shape_of(raw, name)


def _records(path: Path, shape: str | None, language: str | None) -> Iterator[Record | BadRecord]:
    seen: Counter[str] = Counter()
    for item in items(path):
        for record in _of_item(item, path, shape, language):
            yield record if isinstance(record, BadRecord) else _unique(record, seen)


def _of_item(
    item: Item, path: Path, name: str | None, language: str | None
) -> Iterator[Record | BadRecord]:
    """What stands at a place: one record, several in several languages, or a bad one."""
    if item.fault is not None:
        yield BadRecord(path, item.place, item.fault.code, item.fault.reason)
        return
    code = "shape"
    try:
        shape = _shape(item.value, name)
        code = "field"
        drafts = list(shape.convert(item.value))
        unknown = _unknown(item.value, shape)
    except _BROKEN as error:
        if isinstance(error, EditorError):  # our own shape, whose fields are a request's
            code = _code(Draft((_as_told(item.value),)), error)
        yield BadRecord(path, item.place, code, _reason(error))
        return
    for draft in drafts:
        if language is not None and draft.language not in ("", language):
            continue
        try:
            noted = replace(draft, notes=(*draft.notes, *unknown))
            record = build(noted, item.value, shape.name, item.place)
        except _BROKEN as error:
            yield BadRecord(path, item.place, _code(draft, error), _reason(error))
        else:
            if language in (None, record.language):
                yield record


def _unknown(raw: Raw, shape: Shape) -> tuple[str, ...]:
    """Notes on columns that the shape does not know."""
    names = sorted(str(name) for name in raw if shape.columns and name not in shape.columns)
    return tuple(f"column {name!r} is not known" for name in names)


def _unique(record: Record, seen: Counter[str]) -> Record:
    """The record under an id that no earlier one has."""
    seen[record.id] += 1
    times = seen[record.id]
    return record if times == 1 else replace(record, id=f"{record.id}~{times}")


def _or_raise(record: Record | BadRecord) -> Record | BadRecord:
    if isinstance(record, BadRecord):
        raise InvalidInput(str(record))
    return record


# --- which records ------------------------------------------------------------------------------


def _first(found: Iterable[Record | BadRecord], limit: int) -> Iterator[Record | BadRecord]:
    count = 0
    for record in found:
        yield record
        count += isinstance(record, Record)
        if count == limit:
            return


def _drawn(
    found: Iterable[Record | BadRecord], limit: int, seed: int
) -> Iterator[Record | BadRecord]:
    """The records whose ids hash lowest with the seed; the bad ones all, before them."""
    heap: list[tuple[int, int, Record]] = []
    for place, record in enumerate(found):
        if isinstance(record, BadRecord):
            yield record
            continue
        drawn = (-lot(seed, record.id), -place, record)
        if len(heap) < limit:
            heapq.heappush(heap, drawn)
        else:
            heapq.heappushpop(heap, drawn)
    yield from (record for _, _, record in sorted(heap, key=lambda drawn: -drawn[1]))


def lot(seed: int, name: str) -> int:
    """A number that a seed gives to a name, the same everywhere; the lowest are drawn."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8])


# --- what is wrong ------------------------------------------------------------------------------


def _reason(error: Exception) -> str:
    if isinstance(error, EditorError | InvalidInput):
        return str(error)
    if isinstance(error, KeyError):
        return f"misses the field {error}"
    return f"a field is of another kind than records of this shape have ({error})"


def _as_told(raw: Raw) -> DraftFact:
    """The fact of a record of our own shape, as it stands there."""
    subject, prompt, new = (raw.get(name) for name in ("subject", "prompt", "target_new"))
    return DraftFact(subject, prompt, new, raw.get("target_true"))


def _code(draft: Draft, error: Exception) -> str:
    """What is wrong with a draft that was refused, by looking at its facts."""
    if not isinstance(error, EditorError):
        return "field"
    texts = chain.from_iterable((f.subject, f.prompt, f.target_new) for f in draft.facts)
    if all(isinstance(text, str) and text for text in texts):
        for name, test in _FAULTS:
            if any(test(fact) for fact in draft.facts):
                return name
    return "invalid"


_FAULTS: tuple[tuple[str, Callable[[DraftFact], bool]], ...] = (
    ("subject_missing", lambda f: SLOT not in f.prompt and f.subject not in f.prompt),
    ("subject_repeated", lambda f: f.prompt.count(SLOT) + f.prompt.count(f.subject) > 1),
    ("no_op", lambda f: f.target_true is not None and f.target_new == f.target_true),
)
