"""Large ledgers, made by the journal's own appends, all in one transaction.

Promise: what is made is a ledger that `kel verify --weights` accepts: numbers, hashes, objects and
the digests of every version are what the commands would have recorded.

Rules: of a hundred edits two are taken out again, two are taken out and put back, one is refused;
every fiftieth states an earlier fact anew, every hundredth version has a tag. Deltas are of rank
one; `objects` of them are shared by all edits, so that making many edits does not mean making many
files. `spread` is the number of matrices that the edits go to in turns.

    folder = made(Path("large"), 100_000, base=pico(Path("base")))
    python -m bench.ledgers large 100000 [--db URL]
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from bench.given import update
from editors.delta import Delta, LowRank
from ledger import Ledger
from ledger.chain import weights_digest
from ledger.db import Database, Writing
from ledger.deltas import encode_delta
from ledger.journal import Journal
from ledger.records import (
    BaseTensorRecord,
    BatchRecord,
    EditRecord,
    EntryRecord,
    MeasurementRecord,
    ObjectRecord,
    Rows,
    TagRecord,
    new_edit,
)
from ledger.versions import Versions
from ledger.weights import NAMES, Accumulator, digest
from tests.property.delta_ledger import plain_base

WIDTH, INNER, LAYERS = 16, 24, 8
RELATIONS = ("{} was born in", "{} lives in", "{} works in", "{} speaks", "{} plays")
AUTHOR = "bench"


def pico(folder: Path) -> Path:
    """A base as far as folding goes: eight matrices of 16 x 24, no model."""
    random = torch.Generator().manual_seed(1)
    names = [parameter(layer) for layer in range(LAYERS)]
    tensors = {name: torch.randn(WIDTH, INNER, generator=random) for name in names}
    return plain_base(folder, tensors, "llama")


def parameter(layer: int) -> str:
    """The edited matrix of a layer."""
    return f"model.layers.{layer}.mlp.down_proj.weight"


def made(
    folder: Path,
    edits: int,
    *,
    base: Path,
    database: str | None = None,
    objects: int = 64,
    spread: int = 4,
) -> Path:
    """A new ledger with so many edits in `folder`, its tables there or on a server."""
    with Ledger.init(folder, base=str(base), author=AUTHOR, database=database) as ledger:
        grow(ledger, edits, objects=objects, spread=spread)
    return folder


def grow(
    ledger: Ledger,
    edits: int,
    *,
    objects: int = 64,
    spread: int = 4,
    told: Callable[[int], object] = int,
) -> None:
    """Add edits to a ledger that has none; `told` is given the number of each."""
    sums = [_Sum.of(ledger.workspace.versions, parameter(layer)) for layer in range(spread)]
    deltas = [
        _Stored.of(ledger, sums[number % spread], number) for number in range(min(objects, edits))
    ]
    with ledger.journal.database.write() as writing:
        journal = Journal(_Held(writing), ledger.store)
        grower = _Grower(journal, ledger.workspace.record.base_digest, deltas)
        for number in range(edits):
            told(number)
            grower.edit(number)


def again(ledger: Ledger) -> Callable[[], EntryRecord]:
    """Appends an edit whose weights nobody looks at: what an append itself costs."""
    versions, last = ledger.workspace.versions, ledger.journal.last_entry()
    delta = _Stored.of(ledger, _Sum.of(versions, parameter(0)), 0)
    numbers = itertools.count(10**6)

    def append() -> EntryRecord:
        number = next(numbers)
        return ledger.journal.append(
            "apply",
            expected_head=ledger.journal.history().head,
            rows=_rows(number, delta),
            weights_digest=last.weights_digest,
            tensors=last.tensors,
            payload=_payload(number),
            author=AUTHOR,
        )

    return append


class _Held(Database):
    """A database under a write lock that is held: every append is a part of one transaction."""

    def __init__(self, writing: Writing) -> None:
        self._writing = writing

    @contextmanager
    def read(self) -> Iterator[Writing]:  # type: ignore[override]
        """The state so far."""
        yield self._writing

    @contextmanager
    def write(self) -> Iterator[Writing]:
        """The lock that is held already."""
        yield self._writing


@dataclass
class _Sum:
    """One matrix: its untouched tensor, the fold so far, and the fold without the last edit."""

    record: BaseTensorRecord
    whole: Accumulator
    shorter: Accumulator
    last: LowRank | None = None
    count: int = 0

    @classmethod
    def of(cls, versions: Versions, name: str) -> _Sum:
        """Of an untouched matrix."""
        base, key = versions.base(name), versions.key(name)
        record = BaseTensorRecord(
            parameter=name,
            checkpoint_key=key,
            dtype=NAMES[base.dtype],
            shape=tuple(base.shape),
            sha256=versions.checkpoint.digest(key),
        )
        sums = (Accumulator(base, transposed=versions.transposed) for _ in range(2))
        return cls(record, *sums)

    def add(self, change: LowRank) -> str:
        """One edit more; the digest."""
        if self.last is not None:
            self.shorter.add(self.last)
        self.whole.add(change)
        self.last, self.count = change, self.count + 1
        return digest(self.whole.weights())

    def without(self) -> str | None:
        """The digest without the last edit; None if there is no other."""
        return digest(self.shorter.weights()) if self.count > 1 else None

    def drop(self) -> None:
        """The last edit is gone for ever."""
        self.whole, self.last = copy.deepcopy(self.shorter), None
        self.count -= 1


@dataclass(frozen=True)
class _Stored:
    """A delta of one matrix, in the store."""

    record: ObjectRecord
    change: LowRank
    sum: _Sum

    @classmethod
    def of(cls, ledger: Ledger, total: _Sum, number: int) -> _Stored:
        """The delta of this number."""
        name, change = total.record.parameter, update((WIDTH, INNER), number)
        delta = Delta({name: change}, {name: change.v.T.contiguous()}, {name: change.u})
        base = ledger.workspace.record.base_digest
        data = encode_delta(delta, method="rome", base_digest=base)
        record = ObjectRecord(oid=ledger.store.put(data), kind="delta", size=len(data))
        return cls(record, change, total)


@dataclass
class _Grower:
    """Appends edits one after the other, and what happens to them."""

    journal: Journal
    base: str
    deltas: Sequence[_Stored]
    tensors: dict[str, str] = field(default_factory=dict)

    def edit(self, number: int) -> None:
        """The edit of this number, counted from zero."""
        delta, place = self.deltas[number % len(self.deltas)], number % 100
        rows = _rows(number, delta)
        if place == 99:
            self.journal.append("reject", rows=rows, payload=_payload(number), author=AUTHOR)
            return
        made = self._changed("apply", delta.sum, delta.sum.add(delta.change), rows, number)
        if place in (25, 33, 66, 75):
            self._changed("revert", delta.sum, delta.sum.without(), edits=made)
        if place in (25, 75):
            self._changed("reapply", delta.sum, digest(delta.sum.whole.weights()), edits=made)
        if place in (33, 66):
            delta.sum.drop()
        if place == 50:
            tag = TagRecord(name=f"day-{number // 100}", version=self.journal.history().head)
            self.journal.append("tag", rows=Rows(tags=(tag,)), author=AUTHOR)

    def _changed(
        self,
        op: str,
        total: _Sum,
        found: str | None,
        rows: Rows | None = None,
        number: int | None = None,
        edits: tuple[int, ...] = (),
    ) -> tuple[int, ...]:
        name = total.record.parameter
        self.tensors.pop(name, None)
        self.tensors |= {} if found is None else {name: found}
        entry = self.journal.append(
            op,
            expected_head=self.journal.history().head,
            rows=rows,
            edits=edits,
            weights_digest=weights_digest(self.base, self.tensors),
            tensors=self.tensors,
            payload={} if number is None else _payload(number),
            author=AUTHOR,
        )
        return entry.edits


def _rows(number: int, delta: _Stored) -> Rows:
    """What an edit writes: a fact with its probes, its batch, and two measurements."""
    stated = number - number % 50 if number % 50 == 49 else number
    subject, prompt = f"Person {stated // 5}", RELATIONS[stated % 5]
    probes = {"paraphrases": [prompt.replace("{}", f"It is known that {subject}")]}
    probe = {"prompt": subject, "answer": "", "after": "", "score": 1.0, "free_score": 1.0}
    measured = [
        MeasurementRecord(
            edit_id=new_edit(0),
            suite="edit",
            metric=metric,
            value=1.0 - number % 7 / 100,
            protocol="bench",
            detail={"probes": [probe], "protocol": "bench"},
        )
        for metric in ("reliability", "locality")
    ]
    return Rows(
        base_tensors=(delta.sum.record,),
        objects=(delta.record,),
        batch=BatchRecord(
            oid=delta.record.oid,
            method="rome",
            layers=(0,),
            hparams={"v_lr": 0.5, "v_num_grad_steps": 20, "layer": 0},
            environment={"torch": torch.__version__},
            evidence={"loss": [2.5, 1.25, 0.5, 0.125]},
            author=AUTHOR,
        ),
        edits=(
            EditRecord(
                subject=subject, prompt=prompt, target_new=f"City {number % 997}", probes=probes
            ),
        ),
        measurements=tuple(measured),
    )


def _payload(number: int) -> dict[str, object]:
    """What an entry tells of its edit."""
    name = hashlib.sha256(str(number).encode()).hexdigest()
    return {"fingerprint": name, "before": "Town", "after": f"City {number % 997}", "gate": None}


def main() -> None:
    """Make a ledger at a path."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("edits", type=int)
    parser.add_argument("--db", default=None)
    parser.add_argument("--objects", type=int, default=64)
    parser.add_argument("--spread", type=int, default=4)
    given = parser.parse_args()
    base = pico(given.folder.with_name(given.folder.name + "-base"))
    options = {"objects": given.objects, "spread": given.spread}
    made(given.folder, given.edits, base=base, database=given.db, **options)


if __name__ == "__main__":
    main()
