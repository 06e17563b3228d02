"""The facts of a run: a data set as requests with the names of their records.

Promise: the same specification and seed give the same facts in the same order.

Rules: a record that cannot be edited as one fact is told, not passed over in silence.

    found, skipped = facts(DataSpec("en", "demo:en", limit=10), seed=0)
    found[0].name, skipped              # 'demo:en:4', []
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from editors.requests import EditRequest
from ledger.errors import InvalidInput
from ledger.evaluation.datasets import Record, drawn, locality_pool, read_records
from ledger.runs.config import DataSpec

_WORLD: Final = ("demo", "demo:en", "demo:zh")


@dataclass(frozen=True)
class Named:
    """A fact to edit, and how its record is called."""

    name: str
    request: EditRequest


def facts(data: DataSpec, seed: int) -> tuple[list[Named], list[str]]:
    """The facts of a data set, and what is wrong with records that are none.

    Raises: InvalidInput for a source that cannot be read or holds no fact.
    """
    if data.source.startswith("demo"):
        return list(islice(_world(data.source, seed), data.limit)), []
    found: list[Named] = []
    skipped: list[str] = []
    chosen = seed if data.sample else None
    for record in read_records(data.source, seed=chosen, limit=data.limit):
        if not isinstance(record, Record):
            skipped.append(str(record))
        elif len(record.requests) != 1:
            skipped.append(f"{data.source}, {record.place}: several facts in one record")
        else:
            found.append(Named(record.id, record.request))
    if not found:
        told = f" ({skipped[0]})" if skipped else ""
        raise InvalidInput(f"{data.source} holds no fact that can be edited{told}")
    return found, skipped


def _world(source: str, seed: int) -> Iterator[Named]:
    """Facts of the embedded world in random order, each changed to another value.

    Those that are asked as random probes after every edit are left out.
    """
    from ledger.demo.cases import cases
    from ledger.demo.world import build_world
    from ledger.setup import world_probes

    if source not in _WORLD:
        raise InvalidInput(f"{source!r} is no data set; the embedded world has {', '.join(_WORLD)}")
    world, language = build_world(), source.partition(":")[2]
    asked = {fact.text for fact in world_probes(seed)}
    for number, case in enumerate(cases(world, count=len(world.facts), seed=seed)):
        if language in ("", case.fact.language) and case.fact.text not in asked:
            yield Named(f"{source}:{number}", case.request)


def write_probes(data: DataSpec, seed: int, path: Path) -> Path | None:
    """A file of the data set's random probes, for `kel init`; None for those it takes itself.

    Raises: InvalidInput where the pool has too few.
    """
    if data.probes is None:
        return None
    if data.probes != "pool":
        return Path(data.probes)
    chosen = drawn(locality_pool(data.source), data.probe_count, seed)
    lines = ({"prompt": probe.prompt, "answer": probe.answer} for probe in chosen)
    path.write_text("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines), "utf-8")
    return path
