"""Reading edit requests from files: our own JSONL and the field's benchmark records.

Promise: every record becomes one validated `EditRequest`, or an `InvalidInput` that names the file
and the record; nothing is guessed from a record that matches no known shape.

Recognised shapes, by their keys (a `.jsonl` file has one record a line, a `.json` file a list):
- kel: subject, prompt, target_new [target_true, paraphrases, neighbourhood, same_subject,
  portability]; a probe is {"prompt": ..., "answer": ...}
- CounterFact, ROME form: requested_rewrite, paraphrase_prompts, neighborhood_prompts
- CounterFact, flat form (EasyEdit): prompt, target_new, ground_truth, rephrase_prompt,
  locality_prompt, locality_ground_truth
- ZsRE, MEND form: src, alt, answers, rephrase, loc, loc_ans [portability]
- ZsRE and others, KnowEdit form: prompt, target_new, ground_truth, locality{...}, portability{...}

    for request in read_requests(Path("facts.jsonl")):
        ledger.edit(request)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from editors.errors import EditorError
from editors.requests import EditRequest, Probe
from ledger.errors import InvalidInput

Record = Mapping[str, Any]
_BROKEN = (EditorError, InvalidInput, KeyError, TypeError, ValueError, AttributeError)


def read_requests(path: Path) -> Iterator[EditRequest]:
    """Yield one request per record of `path`.

    Raises: InvalidInput naming the file and the record (line number or list index).
    """
    for place, record in _records(path):
        try:
            yield to_request(record)
        except _BROKEN as error:
            raise InvalidInput(f"{path}, {place}: {_reason(error)}") from error


def to_request(record: Record) -> EditRequest:
    """The request of one record of a known shape.

    Raises: InvalidInput if the shape is unknown; InvalidRequest, KeyError, TypeError, ValueError or
    AttributeError if the record is broken.
    """
    if not isinstance(record, Mapping):
        raise InvalidInput(f"a record is a JSON object, not {type(record).__name__}")
    for key, convert in _SHAPES:
        if key in record:
            return convert(record)
    raise InvalidInput(
        f"no known shape has the keys {', '.join(sorted(record)) or '(none)'}; "
        "give at least subject, prompt and target_new"
    )


def _records(path: Path) -> Iterator[tuple[str, Record]]:
    try:
        if path.suffix == ".json":
            listed = json.loads(path.read_text("utf-8"))
            if not isinstance(listed, list):
                raise InvalidInput(f"{path}: a .json file of requests holds a list of records")
            yield from ((f"record {i}", record) for i, record in enumerate(listed))
            return
        with path.open("rb") as lines:  # decoded one by one, so that a bad one can be named
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield f"line {number}", _parse(line, path, number)
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} is not UTF-8 JSON: {error}") from error


def _parse(line: bytes, path: Path, number: int) -> Record:
    place = f"{path}, line {number}"
    try:
        return json.loads(line.decode("utf-8"))  # type: ignore[no-any-return]
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{place}: not UTF-8 ({error}); save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{place}: not JSON ({error}); one object a line") from error


def _reason(error: Exception) -> str:
    if isinstance(error, EditorError | InvalidInput):
        return str(error)
    if isinstance(error, KeyError):
        return f"misses the field {error}"
    return f"a field is of another kind than records of this shape have ({error})"


def _kel(record: Record) -> EditRequest:
    return EditRequest.from_json(dict(record))


def _counterfact_rome(record: Record) -> EditRequest:
    rewrite = record["requested_rewrite"]
    if not isinstance(rewrite, Mapping):
        raise InvalidInput("requested_rewrite is a list of rewrites; split them into records")
    true = rewrite["target_true"]["str"]
    return EditRequest(
        subject=rewrite["subject"],
        prompt=rewrite["prompt"],
        target_new=rewrite["target_new"]["str"],
        target_true=true,
        paraphrases=tuple(record.get("paraphrase_prompts", ())),
        neighbourhood=tuple(Probe(p, true) for p in record.get("neighborhood_prompts", ())),
    )


def _counterfact_flat(record: Record) -> EditRequest:
    place = record.get("locality_prompt")
    return EditRequest(
        subject=record["subject"],
        prompt=record["prompt"],
        target_new=record["target_new"],
        target_true=record.get("ground_truth"),
        paraphrases=_texts(record.get("rephrase_prompt")),
        neighbourhood=(Probe(place, record.get("locality_ground_truth")),) if place else (),
    )


def _zsre_mend(record: Record) -> EditRequest:
    extra = record.get("portability") or {}
    question = extra.get("New Question")
    place = record.get("loc")
    return EditRequest(
        subject=record["subject"],
        prompt=record["src"],
        target_new=record["alt"],
        target_true=_other(_first(record.get("answers")), record["alt"]),
        paraphrases=_texts(record.get("rephrase")),
        neighbourhood=(Probe(place, record.get("loc_ans")),) if place else (),
        portability=(Probe(question, extra["New Answer"]),) if question else (),
    )


def _knowedit(record: Record) -> EditRequest:
    locality = record.get("locality") or {}
    relation = locality.get("Relation_Specificity", ())
    others = [p for name, ps in locality.items() if name != "Relation_Specificity" for p in ps]
    moved = [p for ps in (record.get("portability") or {}).values() for p in ps]
    return EditRequest(
        subject=record["subject"],
        prompt=record["prompt"],
        target_new=record["target_new"],
        target_true=_other(_first(record.get("ground_truth")), record["target_new"]),
        paraphrases=_texts(record.get("rephrase_prompt") or record.get("rephrase")),
        neighbourhood=_probes(others),
        same_subject=_probes(relation),
        portability=_probes(moved),
    )


def _probes(records: Any) -> tuple[Probe, ...]:
    found = ((r["prompt"], _first(r.get("ground_truth"))) for r in records)
    return tuple(Probe(prompt, answer) for prompt, answer in found if answer)


def _texts(value: Any) -> tuple[str, ...]:
    if not value:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def _first(value: Any) -> str | None:
    """The first answer of nested lists of acceptable answers; None if there is none."""
    while isinstance(value, list | tuple):
        value = value[0] if value else None
    return str(value) if value else None


def _other(true: str | None, new: str) -> str | None:
    return None if true is None or true.strip() == new.strip() else true


_SHAPES: tuple[tuple[str, Callable[[Record], EditRequest]], ...] = (
    ("requested_rewrite", _counterfact_rome),
    ("src", _zsre_mend),
    ("locality_prompt", _counterfact_flat),
    ("rephrase_prompt", _knowedit),
    ("ground_truth", _knowedit),
    ("locality", _knowedit),
    ("prompt", _kel),
)
