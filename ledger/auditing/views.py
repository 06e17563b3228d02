"""What an audit returns: frozen values, ready to be shown or written as JSON.

Promise: plain data; importing this module imports no torch.

    view = ledger.audit("merged/")
    view.verdict, view.versions, view.edits[0].verdict          # 'clean', (3,), 'present'
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """How much of a change is there: its coefficient and the ends of the 95 % interval.

    verdict: `present` (1), `absent` (0), `partial`, or `ambiguous` where nothing can be told.
    """

    coefficient: float
    low: float | None  # None: nothing bounds it
    high: float | None
    verdict: str


@dataclass(frozen=True)
class EditShare:
    """One edit of the ledger in the deployed weights; `state` is what it is at the ledger's head.

    `parameters` are its shares one by one; the others are all of them taken together.
    """

    edit: int
    fact: str
    state: str
    coefficient: float
    low: float | None
    high: float | None
    verdict: str
    parameters: Mapping[str, Share]


@dataclass(frozen=True)
class Group:
    """Edits that change a parameter so nearly alike that only what they do together is known."""

    parameter: str
    edits: tuple[int, ...]
    coefficient: float  # in units of the first
    low: float | None
    high: float | None


@dataclass(frozen=True)
class TensorView:
    """A tensor that is not the base's, beside what the ledger's edits explain of it.

    state: `exact`, `rounding`, `structured` (low rank, unledgered), `lattice` (quantised), `noise`,
    `shape` (another one) or `missing`. norm is of the unexplained residual, relative beside the
    base's; effective_rank = norm^2 / s_1^2; gap = s_j / s_(j+1) after the `rank` directions that
    are structure; levels: different sizes in a stretch of a row, where they are few.
    """

    name: str
    edits: int
    state: str
    dtype: str | None
    norm: float = 0.0
    relative: float = 0.0
    effective_rank: float = 0.0
    gap: float = 0.0
    rank: int = 0
    levels: int | None = None


@dataclass(frozen=True)
class Reading:
    """What an unledgered change may be about, with scores; never a certainty.

    subjects: (subject, score 0..1) by how well the row space fits its key. objects: (prompt,
    answer, by how much the change raises the log-probability of a token of it); head: tokens that
    the column space itself points at, with their z-scores.
    """

    parameter: str
    subjects: tuple[tuple[str, float], ...]
    objects: tuple[tuple[str, str, float], ...]
    head: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Said:
    """Whether the deployed model still says a fact: all tokens of the target, and freely."""

    edit: int
    fact: str
    verdict: str
    reliability: float
    probability: float
    answer: str


@dataclass(frozen=True)
class IdentityView:
    """Which version a checkpoint is. by: `digest` (bit for bit), `regression` (it carries the edits
    of these versions), or `nearest` (none; the nearest, and the edits it has more or less)."""

    checkpoint: str
    by: str
    versions: tuple[int, ...]
    tags: tuple[str, ...] = ()
    more: tuple[int, ...] = ()
    less: tuple[int, ...] = ()
    unclear: tuple[int, ...] = ()
    verdict: str = "clean"


@dataclass(frozen=True)
class AuditView:
    """A deployed checkpoint beside the ledger.

    verdict: `clean`, `unledgered change`, `different base` or `quantised`. `tensors` are those that
    differ from the base; `identity` tells the version.
    """

    checkpoint: str
    kind: str
    verdict: str
    reasons: tuple[str, ...]
    identity: IdentityView
    counts: Mapping[str, int]
    edits: tuple[EditShare, ...]
    groups: tuple[Group, ...]
    tensors: tuple[TensorView, ...]
    readings: tuple[Reading, ...] = ()
    said: tuple[Said, ...] = ()
