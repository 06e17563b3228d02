"""What must be true of a ledger of given deltas, whatever was done to it: a model of fifty lines.

Promise: every version's active edits and digests, from what was given alone; nothing is read.

model = Model({name: hand.bits_of(tensor) for name, tensor in base.items()})
model.applied(drawn(seed=7, facts=2, both=False), facts=2)     # (1, 2)
model.changed(going=[1])
model.head.active, model.head.tensors
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from editors.delta import LowRank
from tests.property import fold_by_hand as hand
from tests.property.delta_ledger import column


class Version(NamedTuple):
    """What a version must be: its edits in ledger order, the digests of what they add to."""

    active: tuple[int, ...]
    tensors: Mapping[str, str]


class Batch(NamedTuple):
    """The edits of a batch, and what was given."""

    edits: tuple[int, ...]
    given: Mapping[str, LowRank]


class Model:
    """What must be true: each batch's edits in ledger order, and which of all are active."""

    def __init__(self, base: Mapping[str, hand.Bits]) -> None:
        self.base = base
        self.batches: list[Batch] = []
        self.added: dict[int, Mapping[str, LowRank]] = {}
        self.active: set[int] = set()
        self.versions = [Version((), {})]

    @property
    def head(self) -> Version:
        return self.versions[-1]

    @property
    def resting(self) -> list[int]:
        return [edit for edit in self.added if edit not in self.active]

    def changed(self, coming: Iterable[int] = (), going: Iterable[int] = ()) -> None:
        self.active = self.active.union(coming).difference(going)
        state = tuple(edit for edit in self.added if edit in self.active)
        self.versions.append(Version(state, dict(self.tensors(state))))

    def applied(self, given: Mapping[str, LowRank], facts: int) -> tuple[int, ...]:
        first = len(self.added) + 1
        batch = Batch(tuple(range(first, first + facts)), given)
        for place, edit in enumerate(batch.edits):
            self.added[edit] = {name: column(change, place) for name, change in given.items()}
        self.batches.append(batch)
        self.changed(coming=batch.edits)
        return batch.edits

    def taken_back(self) -> None:
        """The last batch was never applied."""
        for edit in self.batches.pop().edits:
            del self.added[edit]
            self.active.remove(edit)
        self.versions.pop()

    def tensors(self, state: tuple[int, ...]) -> Iterator[tuple[str, str]]:
        """The fold by hand, of every matrix that an active edit adds to."""
        for name, bits in self.base.items():
            updates = [self.added[edit][name] for edit in state if name in self.added[edit]]
            if updates:
                yield name, hand.digest(hand.fold(bits, "F32", updates, transposed=False), "F32")
