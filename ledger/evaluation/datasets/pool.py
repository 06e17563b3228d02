"""A pool of random locality probes: questions about anything else, which no edit may touch.

Promise: a pool holds each prompt once, in the order of the file; what is drawn depends on the seed
and on the prompts alone.
Source: the multi-locality data of the thesis (section 2.4): a pool of 1,037 pairs of ZsRE, 100 of
which are asked after every edit.

    probes = drawn(locality_pool("zsre.json"), 100, seed=0)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from editors.errors import EditorError
from editors.requests import Probe
from ledger.errors import InvalidInput
from ledger.evaluation.datasets.files import items, located
from ledger.evaluation.datasets.reading import lot
from ledger.evaluation.datasets.values import answers

_PAIRS: Final = (
    ("loc", "loc_ans"),
    ("locality_prompt", "locality_ground_truth"),
    ("prompt", "answer"),
    ("question", "answer"),
)


def locality_pool(source: str | Path) -> tuple[Probe, ...]:
    """The locality pairs of a file: of records of edits, or records that are nothing else.

    A record without one is passed over. Raises: InvalidInput if the file has none.
    """
    path = located(source)
    found: dict[str, Probe] = {}
    for item in items(path):
        for raw in _flat(item.value):
            probe = _pair(raw)
            if probe is not None:
                found.setdefault(probe.prompt, probe)
    if not found:
        raise InvalidInput(
            f"{path} holds no locality pairs (loc and loc_ans, or prompt and answer)"
        )
    return tuple(found.values())


def drawn(pool: Sequence[Probe], count: int, seed: int) -> tuple[Probe, ...]:
    """So many probes of a pool, in its order.

    Raises: InvalidInput if it holds fewer.
    """
    if not 1 <= count <= len(pool):
        raise InvalidInput(f"{count} probes of a pool of {len(pool)}: take 1 to {len(pool)}")
    chosen = {p.prompt for p in sorted(pool, key=lambda p: lot(seed, p.prompt))[:count]}
    return tuple(probe for probe in pool if probe.prompt in chosen)


def _flat(value: Any) -> Iterator[Mapping[str, Any]]:
    """A record; of several languages, each."""
    if isinstance(value, Mapping):
        inner = [item for item in value.values() if isinstance(item, Mapping) and "loc" in item]
        yield from inner or [value]


def _pair(raw: Mapping[str, Any]) -> Probe | None:
    for prompt, answer in _PAIRS:
        if isinstance(raw.get(prompt), str) and raw.get(answer):
            try:
                return Probe(raw[prompt], answers(raw[answer])[0])
            except (EditorError, InvalidInput, IndexError):
                return None
    return None
