"""The interference of 1,000 edits on one matrix of a Llama 7B, beside reading their factors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import torch

from bench.clock import in_turns
from bench.given import LARGE, update
from bench.table import Row
from editors.delta import Delta
from ledger.deltas import decode_delta, encode_delta
from ledger.history import History
from ledger.interference import everything
from ledger.versions import Part
from store.objects import ObjectStore

EDITS = 1000
LIMIT = 1.0  # seconds


class Stored:
    """Edits whose deltas lie in a store, one object each; stands in for `Versions`."""

    def __init__(self, store: ObjectStore, oids: Sequence[str]) -> None:
        self._store, self._oids = store, oids
        self._parts: dict[int, Part] = {}

    def load(self) -> None:
        """Read, check and decode every object."""
        for edit, oid in enumerate(self._oids, start=1):
            delta = decode_delta(self._store.get(oid))
            self._parts[edit] = Part(edit, (edit,), delta.parameters, delta.keys, delta.values)

    def parts(self, active: Sequence[int]) -> list[Part]:
        """The edits' parts, read before."""
        return [self._parts[edit] for edit in active]


def measure(folder: Path) -> list[Row]:
    """All pairs and the drift of every edit, the factors being in memory."""
    name, shape = next(iter(LARGE.edited.items()))
    store = ObjectStore(folder)
    stored = Stored(store, [store.put(_object(name, shape, seed)) for seed in range(EDITS)])
    applied = [
        SimpleNamespace(seq=edit + 1, version=edit, op="apply", edits=(edit,))
        for edit in range(1, EDITS + 1)
    ]
    history = History([SimpleNamespace(seq=1, version=0, op="init", edits=()), *applied])
    load, taken = in_turns(
        [stored.load, lambda: everything(stored, history)],  # type: ignore[arg-type]
        repeats=3,
    )
    what = f"{EDITS} edits of a {shape[0]} x {shape[1]} matrix, all pairs and drift"
    return [Row("interference", what, taken, "s", "reading their factors", load, limit=LIMIT)]


def _object(name: str, shape: tuple[int, int], seed: int) -> bytes:
    change = update(shape, seed)
    key = torch.randn(shape[1], 1, generator=torch.Generator().manual_seed(seed))
    delta = Delta({name: change}, {name: key}, {name: change.u})
    return encode_delta(delta, method="given", base_digest="0" * 64)
