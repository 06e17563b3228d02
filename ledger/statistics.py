"""Second moments C of a ledger's base: found in the store, or computed and kept.

Promise: C belongs to the base it was measured on (by digest), to a parameter and to a corpus; an
edit names the objects it used. Nothing falls back to the identity by itself.

Rules: statistics are measured on the base, never on an edited version. Without a corpus file, the
embedded model's C comes from its world's texts, any other model's from texts sampled from the model
itself (top-k 50); the row says which.

    statistics = Statistics(journal, store, live, author)
    statistics.second_moment(3).solve(keys)
    statistics.compute([3, 4], corpus=Path("wiki.txt"), tokens=None, progress=None)
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from editors.covariance import SecondMoment, accumulate
from editors.generation import continue_rows, top_k_sampler
from editors.prompts import LEAD_INS, encode
from ledger.base import DEMO
from ledger.errors import IntegrityFailure, InvalidInput
from ledger.journal import Journal
from ledger.live import LiveModel
from ledger.records import ObjectRecord, Rows, StatsRecord
from ledger.views import StatsView
from store.objects import ObjectStore
from store.tensors import LIMITS, decode
from store.tensors import encode as encode_object

SCHEMA = "kel.moment/1"
TOKENS_PER_WIDTH = 10  # FastMEMIT (arXiv 2506.04226): 10 x m tokens are enough
Progress = Callable[[str, float], None] | None
_SAMPLED_ROW = 128


class Statistics:
    """The second moments of one base."""

    def __init__(self, journal: Journal, store: ObjectStore, live: LiveModel, author: str) -> None:
        self._journal, self._store, self._live = journal, store, live
        self._author = author
        self._record = journal.model()
        self._known: dict[int, SecondMoment] = {}

    def second_moment(self, layer: int, progress: Progress = None) -> SecondMoment:
        """C of a layer: the newest stored one, else computed by default settings and stored."""
        if layer not in self._known:
            row = self._stored(layer)
            if row is None:
                self.compute([layer], corpus=None, tokens=None, progress=progress)
                row = self._stored(layer)
            if row is None:
                raise IntegrityFailure(f"the statistics of layer {layer} were not recorded")
            self._known[layer] = self._load(row)
        return self._known[layer]

    def recorded(self, parameter: str, factor: str) -> SecondMoment:
        """The second moment with this factor, which an edit names. Raises: IntegrityFailure."""
        for row in self._journal.stats(self._record.base_digest, parameter):
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
        self,
        layers: Sequence[int],
        *,
        corpus: Path | None,
        tokens: int | None,
        progress: Progress,
    ) -> list[StatsView]:
        """Measure C of several layers in one pass over the base and record them.

        Raises: InvalidInput for an unreadable or empty corpus, LayerOutOfRange.
        """
        model = self._live.model
        names = [model.parameter_name(layer) for layer in layers]
        wanted = tokens or TOKENS_PER_WIDTH * model.d_mlp
        self._live.show({})
        name, sha, lines = self._texts(corpus, wanted, progress)
        found = accumulate(model, layers, lines, max_tokens=wanted, progress=progress)
        stats, objects = [], []
        for layer, parameter in zip(layers, names, strict=True):
            self._known.pop(layer, None)
            row, puts = self._put(found[layer], parameter, name, sha)
            stats.append(row)
            objects += puts
        rows = Rows(objects=tuple(objects), stats=tuple(stats))
        self._journal.append("stats", rows=rows, author=self._author)
        return [_view(layer, row) for layer, row in zip(layers, stats, strict=True)]

    def _texts(
        self, corpus: Path | None, tokens: int, progress: Progress
    ) -> tuple[str, str, Iterable[str]]:
        """Name, sha256 and lines of the corpus."""
        if corpus is not None:
            lines = _lines(corpus)
            return corpus.name, _sha(lines), lines
        if self._record.base_id == DEMO:
            from ledger.demo.corpus import texts
            from ledger.demo.world import build_world

            # A text has more than ten tokens, so these are always enough.
            told = list(islice(texts(build_world(), 2), tokens // 10 + 1))
            return "demo world", _sha(told), told
        sampled = list(_sampled(self._live, tokens, int(self._record.config["seed"]), progress))
        return "sampled from the model, top-k 50", _sha(sampled), sampled

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
            data = encode_object({kind: _array(matrix)}, meta)
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


def _view(layer: int, row: StatsRecord) -> StatsView:
    return StatsView(
        layer=layer,
        parameter=row.parameter,
        corpus=row.corpus,
        count=row.count,
        jitter=row.jitter or 0.0,
        moment=row.moment_oid,
        factor=row.factor_oid or "",
    )


def _lines(corpus: Path) -> list[str]:
    try:
        text = corpus.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read the corpus {corpus}: {error}") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise InvalidInput(f"the corpus {corpus} holds no text")
    return lines


def _sha(texts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def _sampled(live: LiveModel, tokens: int, seed: int, progress: Progress) -> Iterator[str]:
    """Texts written by the model itself, `tokens` tokens in all (about)."""
    model = live.model
    longest = int(getattr(model.model.config, "max_position_embeddings", 0) or 1024)
    length = max(8, min(_SAMPLED_ROW, longest - 8))
    choose = top_k_sampler(50, torch.Generator().manual_seed(seed))
    rows = [encode(model, word).ids for word in LEAD_INS for _ in range(8)]
    done = 0
    while done < tokens:
        with model.evaluating():
            tails = continue_rows(model, rows, length, choose=choose)
        for row, tail in zip(rows, tails, strict=True):
            done += len(row) + len(tail)
            yield model.decode((*row, *tail))
        if progress is not None:
            progress("sampling a corpus", min(1.0, done / tokens))


def _array(matrix: Tensor) -> np.ndarray[Any, Any]:
    """float64 where an object can hold it, else float32."""
    fits = matrix.numel() * 8 < LIMITS.file_bytes - LIMITS.header_bytes
    return matrix.numpy() if fits else matrix.float().numpy()


def _matrix(data: bytes, name: str) -> Tensor:
    decoded = decode(data)
    if (decoded.meta or {}).get("schema") != SCHEMA or name not in decoded.tensors:
        raise IntegrityFailure(f"the object is no {name} of schema {SCHEMA}")
    return torch.from_numpy(np.array(decoded.tensors[name], dtype=np.float64))
