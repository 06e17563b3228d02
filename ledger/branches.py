"""What the verbs about branches return: branches, switches, merges.

Promise: plain data, as in `ledger.views`; importing this module imports no torch.

    for branch in ledger.branches():
        branch.name, branch.version, branch.ahead
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ledger.shares import Share
from ledger.views import ChangeOutcome, TestRow


@dataclass(frozen=True)
class BranchView:
    """A branch and its last version, beside the current one.

    `common` is the newest version that both came from; `ahead` are the edits that are active on
    this branch only, `behind` those that are active on the current one only.
    """

    name: str
    version: int
    current: bool
    active: tuple[int, ...]
    common: int
    ahead: tuple[int, ...]
    behind: tuple[int, ...]


@dataclass(frozen=True)
class SwitchView:
    """A switch: `version` is new and carries the edits of `like`, the branch's last version."""

    branch: str
    left: str
    version: int
    like: int
    added: tuple[int, ...]
    removed: tuple[int, ...]
    weights_digest: str


@dataclass(frozen=True)
class Contradiction:
    """A fact that both sides changed since their common version, to different ends.

    `ours` and `theirs` are the edits that state it (None: taken out), `chosen` the side that was
    decided for, or None.
    """

    subject: str
    prompt: str
    ours: int | None
    ours_object: str | None
    theirs: int | None
    theirs_object: str | None
    before: str | None
    chosen: str | None


@dataclass(frozen=True)
class Moved:
    """An edit that the other side's edits move, in units of what it did itself, and the most by."""

    edit: int
    fact: str
    drift: float
    by: tuple[Share, ...]


@dataclass(frozen=True)
class MergeView:
    """What became of a merge of `branch` into `into`.

    outcome: 'merged', 'dry-run', 'rejected' (gate), 'conflict' (something is to be decided), 'up to
    date' (there is nothing to merge). `version` is the head afterwards, `common` the newest version
    that both came from, `theirs` the last one of the branch. `added` and `removed` are the edits
    that come and go; `left_out` those of the branch that a decision, or the same statement here,
    keeps out. `conflicts` are facts, `moved` the edits whose value moves by more than `threshold`.
    `rows` are the edits that come, measured again; `broken` held on their side and do not now.
    `resolved` is what the re-solve did, batch by batch.
    """

    outcome: str
    branch: str
    into: str
    version: int
    common: int
    theirs: int
    weights_digest: str
    added: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()
    left_out: tuple[int, ...] = ()
    conflicts: tuple[Contradiction, ...] = ()
    moved: tuple[Moved, ...] = ()
    threshold: float = 0.0
    reasons: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    broken: tuple[int, ...] = ()
    rows: tuple[TestRow, ...] = ()
    resolved: tuple[ChangeOutcome, ...] = ()
    notes: tuple[str, ...] = ()
