"""Second moments C of a ledger's base: found in the store, or computed and kept.

Promise: C belongs to the base it was measured on (by digest), to a parameter and to a corpus; an
edit names the objects it used. Nothing falls back to the identity by itself. A measurement that was
cut short goes on where it was, and ends with the bits it would have had.

Rules: statistics are measured on the base, never on an edited version; several layers in one pass.

    statistics = Statistics(journal, store, live, cache, author)
    statistics.second_moments([3, 4])[3].solve(keys)
    statistics.compute([3, 4], Wanted(corpus=Path("wiki.txt")), progress=None)
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from editors.covariance import SecondMoment, Sums, Watch, add_up
from editors.team import Team
from ledger.corpus import Corpus, corpus_of
from ledger.errors import IntegrityFailure, InvalidInput
from ledger.journal import Journal
from ledger.live import LiveModel
from ledger.records import ObjectRecord, Rows, StatsRecord
from ledger.sums import SumsFolder, Task, merged, stored_array
from ledger.views import Json, PartView, StatsView
from store.objects import ObjectStore
from store.tensors import decode
from store.tensors import encode as encode_object

SCHEMA = "kel.moment/1"
TOKENS_PER_WIDTH = 10  # FastMEMIT (arXiv 2506.04226): 10 x m tokens are enough
Progress = Callable[[str, float], None] | None
_PROBES = 32
_KEEP_SECONDS = 60.0  # writing the sums of a large model takes seconds


@dataclass(frozen=True)
class Wanted:
    """What to measure on: a text file or the default corpus, at most so many tokens of it.

    `tokens` None: ten for each unit of the MLP's width. `tolerance`: stop earlier, at a check where
    C⁻¹ k of the probe keys changed by no more. `world`: the embedded world's texts for any model.
    """

    corpus: Path | None = None
    tokens: int | None = None
    tolerance: float | None = None
    world: bool = False

    def __post_init__(self) -> None:
        if self.tokens is not None and self.tokens < 1:
            raise InvalidInput(f"tokens is {self.tokens}; it must be at least 1")
        if self.tolerance is not None and not 0 < self.tolerance < math.inf:
            raise InvalidInput(f"the tolerance is {self.tolerance}; it must be above 0")


class Statistics:
    """The second moments of one base."""

    def __init__(
        self, journal: Journal, store: ObjectStore, live: LiveModel, cache: Path, author: str
    ) -> None:
        self._journal, self._store, self._live = journal, store, live
        self._cache, self._author = cache, author
        self._record = journal.model()
        self._known: dict[int, SecondMoment] = {}

    def second_moments(
        self, layers: Iterable[int], progress: Progress = None
    ) -> dict[int, SecondMoment]:
        """C of some layers: the newest stored ones; what is missing is measured in one pass."""
        wanted = sorted(layers)
        missing = [n for n in wanted if n not in self._known and self._stored(n) is None]
        if missing:
            self.compute(missing, Wanted(), progress)
        for layer in wanted:
            if layer not in self._known:
                row = self._stored(layer)
                if row is None:
                    raise IntegrityFailure(f"the statistics of layer {layer} were not recorded")
                self._known[layer] = self._load(row)
        return {layer: self._known[layer] for layer in wanted}

    def recorded(self, parameter: str, factor: str) -> SecondMoment:
        """The second moment with this factor, which an edit names; of a kept batch of a rebase it
        is the old base's. Raises: IntegrityFailure."""
        for row in self._journal.stats(None, parameter):
            if row.factor_oid == factor:
                return self._load(row)
        raise IntegrityFailure(
            f"no statistics of {parameter} have the factor {factor[:12]}; run `kel verify`"
        )

    def used(self, layer: int) -> dict[str, Any]:
        """Which statistics an edit at this layer uses, for its record."""
        row = self._stored(layer)
        if row is None:
            return {}
        return {"corpus": row.corpus, "count": row.count, "factor": row.factor_oid}

    def compute(
        self, layers: Sequence[int], wanted: Wanted, progress: Progress, team: Team | None = None
    ) -> list[StatsView]:
        """Measure C of several layers in one pass over the base and record them.

        Of a team, the first process records; the others return nothing. Raises: InvalidInput for
        an unreadable or empty corpus, LayerOutOfRange.
        """
        team = team or Team()
        task, texts = self._task(layers, wanted, progress, team)
        kept = SumsFolder(self._cache / f"stats-{task.digest[:16]}")
        sums = self._summed(task, layers, texts, kept, wanted, progress, team)
        if not team.first:
            return []
        views = self._recorded(task, sums)
        kept.remove()
        return views

    def part(
        self,
        layers: Sequence[int],
        wanted: Wanted,
        number: int,
        parts: int,
        folder: Path,
        progress: Progress,
        team: Team | None = None,
    ) -> PartView | None:
        """Sum part `number` of `parts` of a measurement into `folder`; nothing is recorded.

        Of a team, the first process writes; the others return None.

        Raises: InvalidInput, Conflict (the folder holds something else), LayerOutOfRange.
        """
        if not 1 <= number <= parts:
            raise InvalidInput(f"there is no part {number} of {parts}")
        team = team or Team()
        whole, texts = self._task(layers, wanted, progress, team)
        tokens = whole.tokens // parts + (number <= whole.tokens % parts)
        task = replace(whole, tokens=tokens, part=number, parts=parts)
        kept = SumsFolder(folder)
        own = texts[number - 1 :: parts]
        sums = self._summed(task, layers, own, kept, None, progress, team)
        if not team.first:
            return None
        kept.keep(task, sums, done=True)
        return PartView(str(folder), number, parts, sums.count, sums.texts, task.parameters)

    def merge(self, folders: Sequence[Path]) -> list[StatsView]:
        """Record C of parts that were summed elsewhere: exactly their sum, in the parts' order.

        Raises: InvalidInput for parts that do not belong together or to this base, or are not all.
        """
        task, sums = merged(folders, self._live.model.layer_index)
        if task.base != self._record.base_digest:
            raise InvalidInput("these parts were measured on another base than this ledger's")
        return self._recorded(task, sums, parts=len(folders))

    def _task(
        self, layers: Sequence[int], wanted: Wanted, progress: Progress, team: Team
    ) -> tuple[Task, Sequence[str]]:
        """What is measured, and the texts; all processes of a team get those of the first."""
        model = self._live.model
        names = tuple(model.parameter_name(layer) for layer in layers)
        if len(set(names)) != len(names):
            raise InvalidInput("a layer is given twice")
        tokens = wanted.tokens or TOKENS_PER_WIDTH * model.d_mlp
        self._live.show({})
        own = None
        if team.first:
            file, world = wanted.corpus, wanted.world
            found = corpus_of(self._live, self._record, file, tokens, progress, world)
            own = [found.name, found.sha256, list(found.texts)]
        corpus = Corpus(*team.shared(own))
        base = self._record.base_digest
        return Task(base, names, corpus.name, corpus.sha256, tokens), corpus.texts

    def _summed(
        self,
        task: Task,
        layers: Sequence[int],
        texts: Sequence[str],
        kept: SumsFolder,
        wanted: Wanted | None,
        progress: Progress,
        team: Team,
    ) -> Sums:
        """The sums of a task, from those that were kept on; with checks unless `wanted` is None."""
        sums = (kept.continued(task, layers) if team.first else None) or Sums(tuple(layers))
        sums.texts, sums.count = team.shared([sums.texts, sums.count])
        last = time.monotonic()

        def keep(grown: Sums) -> None:
            nonlocal last
            if time.monotonic() - last >= _KEEP_SECONDS:
                kept.keep(task, grown)
                last = time.monotonic()

        watch = Watch(keep=keep)
        if wanted is not None:
            probes = [probe["prompt"] for probe in self._record.config["probes"][:_PROBES]]
            watch = Watch(probes, wanted.tolerance, keep)
        model = self._live.model
        return add_up(model, sums, texts, task.tokens, team=team, watch=watch, progress=progress)

    def _recorded(self, task: Task, sums: Sums, parts: int | None = None) -> list[StatsView]:
        moments = sums.moments()
        checks = {
            name: [{"count": c.count, "change": c.changes[layer]} for c in sums.checks]
            for layer, name in zip(sums.layers, task.parameters, strict=True)
        }
        stats, objects = [], []
        for layer, name in zip(sums.layers, task.parameters, strict=True):
            self._known.pop(layer, None)
            row, puts = self._put(moments[layer], name, task.corpus, task.corpus_sha256)
            stats.append(row)
            objects += puts
        payload: dict[str, Any] = {"checks": checks} | ({"parts": parts} if parts else {})
        rows = Rows(objects=tuple(objects), stats=tuple(stats))
        self._journal.append("stats", rows=rows, payload=payload, author=self._author)
        return [
            _view(layer, row, checks[row.parameter])
            for layer, row in zip(sums.layers, stats, strict=True)
        ]

    def _put(
        self, moment: SecondMoment, parameter: str, corpus: str, sha: str
    ) -> tuple[StatsRecord, list[ObjectRecord]]:
        meta = {
            "schema": SCHEMA,
            "base": self._record.base_digest,
            "parameter": parameter,
            "corpus": corpus,
            "corpus_sha256": sha,
            "count": moment.count,
            "jitter": moment.jitter,
        }
        oids, objects = [], []
        for kind, matrix in (("moment", moment.moment), ("factor", moment.factor)):
            data = encode_object({kind: stored_array(matrix)}, meta)
            oids.append(self._store.put(data))
            objects.append(ObjectRecord(oid=oids[-1], kind=kind, size=len(data)))
        row = StatsRecord(
            base_digest=self._record.base_digest,
            parameter=parameter,
            corpus=corpus,
            corpus_sha256=sha,
            count=moment.count,
            moment_oid=oids[0],
            factor_oid=oids[1],
            jitter=moment.jitter,
        )
        return row, objects

    def _stored(self, layer: int) -> StatsRecord | None:
        parameter = self._live.model.parameter_name(layer)
        rows = self._journal.stats(self._record.base_digest, parameter)
        return rows[0] if rows else None

    def _load(self, row: StatsRecord) -> SecondMoment:
        moment = _matrix(self._store.get(row.moment_oid), "moment")
        factor = _matrix(self._store.get(row.factor_oid or row.moment_oid), "factor")
        return SecondMoment(moment, row.count, factor, row.jitter or 0.0)


def _view(layer: int, row: StatsRecord, checks: Sequence[Json]) -> StatsView:
    return StatsView(
        layer=layer,
        parameter=row.parameter,
        corpus=row.corpus,
        count=row.count,
        jitter=row.jitter or 0.0,
        moment=row.moment_oid,
        factor=row.factor_oid or "",
        checks=tuple(checks),
    )


def _matrix(data: bytes, name: str) -> Tensor:
    decoded = decode(data)
    if (decoded.meta or {}).get("schema") != SCHEMA or name not in decoded.tensors:
        raise IntegrityFailure(f"the object is no {name} of schema {SCHEMA}")
    return torch.from_numpy(np.array(decoded.tensors[name], dtype=np.float64))
