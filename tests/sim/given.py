"""A ledger of given deltas on two small matrices: all verbs that need no model, in milliseconds.

Rules: nothing is optimised and nothing measured; a delta follows from its number, so that a
history is repeated from the numbers of its steps.

    world = Given.made(tmp_path)
    world.apply(seed=7, facts=2)
    world.ledger.revert(["1"], retest=False)
    world.check()
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import torch

from editors.delta import LowRank
from ledger import Ledger
from tests.property import fold_by_hand as hand
from tests.property.delta_ledger import apply, plain_base, random_update, start, wanted

SHAPE = (5, 6)
NAMES = ("model.layers.0.mlp.down_proj.weight", "model.layers.1.mlp.down_proj.weight")


class Given:
    """An open ledger, its base, and what its head must be."""

    def __init__(self, base: Path, folder: Path, ledger: Ledger | None = None) -> None:
        self.base, self.folder = base, folder
        self.ledger = ledger or Ledger.open(folder, author="ann")

    @classmethod
    def made(cls, place: Path, database: str | None = None) -> Given:
        """A new ledger in `place`/ledger on a base in `place`/base."""
        place.mkdir(parents=True, exist_ok=True)
        generator = torch.Generator().manual_seed(0)
        tensors = {name: torch.randn(SHAPE, generator=generator) for name in NAMES}
        base = plain_base(place / "base", tensors, "llama")
        return cls(base, place / "ledger", start(place / "ledger", base, database=database))

    def apply(
        self,
        seed: int,
        facts: int = 1,
        both: bool = False,
        tensors: Mapping[str, str] | None = None,
    ) -> tuple[int, ...]:
        """A batch on one matrix, or on both; `tensors` as for `delta_ledger.apply`."""
        return apply(self.ledger, drawn(seed, facts, both), facts, tensors=tensors)

    def reopen(self) -> None:
        """What another process would see."""
        self.ledger.close()
        self.ledger = Ledger.open(self.folder, author="ann")

    def sound(self) -> None:
        """It verifies."""
        assert [found for found in self.ledger.verify() if found.severity != "info"] == []

    def check(self) -> None:
        """It verifies, and the head has the digests of the fold by hand."""
        self.sound()
        journal = self.ledger.journal
        active, head = journal.history().active(), journal.last_entry()
        for name, sha in head.tensors.items():
            assert hand.digest(wanted(self.ledger, name, active), "F32") == sha


def drawn(seed: int, facts: int, both: bool) -> dict[str, LowRank]:
    """The changes that a number stands for, of one matrix or of both; at most eight facts.

    They are large, and every other one of a matrix takes back what the one before it added: where
    large terms cancel, the last bits of the sum tell in which order it was made.
    """
    names = NAMES if both else (NAMES[seed % len(NAMES)],)
    pair, back = divmod(seed // len(NAMES), 2)
    found = {}
    for name in names:
        whole = random_update(pair * len(NAMES) + NAMES.index(name), SHAPE, rank=8, scale=1e10)
        u = whole.u[:, :facts] * (1 - 2 * back)
        found[name] = LowRank(u.contiguous(), whole.v[:facts].contiguous())
    return found


@contextmanager
def quick_disk() -> Iterator[None]:
    """What a sync is worth is proved by the model of power cuts; elsewhere it only costs time."""
    with mock.patch.object(os, "fsync", os.fstat):
        yield
