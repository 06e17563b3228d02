"""What a rebase is told, and what it returns.

Promise: plain data; importing this module imports no torch.

    view = ledger.rebase("models/new", options=RebaseOptions(keep_known=True))
    view.counts["recomputed"], view.survived
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from ledger.errors import InvalidInput
from ledger.evaluation.gates import Gate
from ledger.options import BATCH_LIMIT
from ledger.views import Json

KNOWN, KEPT, RECOMPUTED, FAILED = OUTCOMES = ("known", "kept", "recomputed", "failed")
DONE: Final = "done"


@dataclass(frozen=True)
class RebaseOptions:
    """How facts are carried over; what is left out is the source's own.

    method: for all facts, `batch` at a time; layer, overrides: as of an edit; gate: limits, None
    for none; keep_known: edit also what the new base states already; corpus: texts to measure
    second moments on, where some are needed (None: those of the source, where they can be made).
    """

    method: str | None = None
    batch: int = 1
    layer: int | str | None = None
    overrides: Mapping[str, object] = field(default_factory=dict)
    gate: Gate | None = field(default_factory=Gate)
    keep_known: bool = False
    corpus: Path | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= BATCH_LIMIT:
            raise InvalidInput(f"a batch of {self.batch} facts; take 1 to {BATCH_LIMIT}")
        if self.batch > 1 and self.method is None:
            raise InvalidInput("batch goes with a method: without one, batches are the source's")

    @property
    def own(self) -> bool:
        """Whether every batch is carried over as it was made."""
        return self.method is None and self.layer is None and not self.overrides

    def to_json(self) -> dict[str, Any]:
        """What decides the result, as it is recorded."""
        return {
            "method": self.method,
            "batch": self.batch,
            "layer": self.layer,
            "overrides": dict(self.overrides),
            "gate": None if self.gate is None else asdict(self.gate),
            "keep_known": self.keep_known,
            "corpus": None if self.corpus is None else self.corpus.name,
        }


@dataclass(frozen=True)
class RebaseRow:
    """What became of one fact.

    outcome: 'known' (the new base states it: nothing was edited), 'kept' (its stored delta fits),
    'recomputed', 'failed' (refused by the gate, or by the method). `source` is its edit in the old
    ledger, `edit` in the new one; `said` what the unedited new base answers; `holds` whether it
    held when all was done, None before.
    """

    source: int
    outcome: str
    request: Json
    edit: int | None = None
    method: str = ""
    layers: tuple[int, ...] = ()
    said: str = ""
    reasons: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    holds: bool | None = None


@dataclass(frozen=True)
class Dispute:
    """A conflict, for people: the fact is carried over all the same.

    kind: 'premise' (the base answers neither the old nor the new target) or 'contradiction' (two
    facts answer one question differently).
    """

    kind: str
    sources: tuple[int, ...]
    text: str


@dataclass(frozen=True)
class RebaseView:
    """A rebase, done or as far as it came. `source` and `options` are as they are recorded.

    `counts`: facts by outcome, and `lost`: carried over, and not holding at the end; `facts`: how
    many were to be carried over. With `dry_run` the rows say what would be tried.
    """

    directory: str
    source: Json
    options: Json
    base: Json
    version: int
    facts: int
    rows: tuple[RebaseRow, ...]
    counts: Mapping[str, int]
    conflicts: tuple[Dispute, ...]
    notes: tuple[str, ...]
    done: bool
    dry_run: bool = False

    @property
    def survived(self) -> bool:
        """Whether every fact is in the new model."""
        return self.done and not self.counts[FAILED] and not self.counts["lost"]
