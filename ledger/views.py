"""What the ledger's verbs return: frozen values, ready to be shown or written as JSON.

Promise: plain data (no rows, no tensors); importing this module imports no torch.

    status = Ledger.open().status()
    status.version, status.active           # 3, (1, 3)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ledger.shares import Share

Json = Mapping[str, Any]


@dataclass(frozen=True)
class BaseView:
    """The pinned base: how it is called, which commit, where it lies, its dtype, its digest.

    `assumed`: of a model type that no table has, what was taken for what; else empty. `chat`:
    prompts go through the chat template.
    """

    id: str
    revision: str | None
    path: str
    dtype: str
    digest: str
    model_type: str
    assumed: str = ""
    chat: bool = False


@dataclass(frozen=True)
class StatusView:
    """Where the ledger stands. `reverted` are edits that the current branch had once, `elsewhere`
    those that only other branches have or had; `branches` are the last versions of each."""

    ledger: str
    version: int
    active: tuple[int, ...]
    reverted: tuple[int, ...]
    rejected: tuple[int, ...]
    weights_digest: str
    head: str  # hash of the last entry
    base: BaseView
    tags: Mapping[str, int]
    entries: int
    expired: tuple[int, ...] = ()  # facts of the head whose last valid day is over
    branch: str = "main"
    branches: Mapping[str, int] = field(default_factory=dict)
    elsewhere: tuple[int, ...] = ()


@dataclass(frozen=True)
class LogView:
    """One line of history with the facts it is about."""

    seq: int
    version: int
    op: str
    edits: tuple[int, ...]
    facts: tuple[str, ...]  # 'prompt with subject -> target', one per edit
    payload: Json
    weights_digest: str
    author: str
    note: str
    created_at: str
    hash: str
    tags: tuple[str, ...] = ()
    branch: str = "main"


@dataclass(frozen=True)
class EditView:
    """One edit, whole. `metrics` are those measured right after it was made, on `branch`; an edit
    that is `elsewhere` only other branches than the current one have or had."""

    id: int
    hash: str
    active: bool
    rejected: bool
    fact: Mapping[str, str | None]  # subject, prompt, target_new, target_true, validity, source
    method: str
    layers: tuple[int, ...]
    hparams: Json
    metrics: Mapping[str, float]
    details: Json  # texts: before, after, probes and predictions, gate reasons, loss per step
    delta: Json  # oid, path, rank, parameters
    created_at: str
    author: str
    note: str
    batch: int
    probes: Json
    supersedes: tuple[int, ...] = ()  # earlier active edits of the same subject and prompt
    superseded_by: int | None = None
    branch: str = "main"
    elsewhere: bool = False


@dataclass(frozen=True)
class EditOutcome:
    """What became of one request.

    outcome: 'applied', 'rejected' (gate), 'no-op' (the model already says so), 'dry-run',
    'skipped' (an identical request is in the ledger already).
    """

    outcome: str
    request: Json
    version: int
    edit: int | None = None
    reasons: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    before: str = ""
    after: str = ""
    broken: tuple[int, ...] = ()
    method: str = ""
    layer: int | None = None
    assumed: str = ""  # what was taken for what in a model type that no table has
    disturbs: tuple[Share, ...] = ()  # what its batch does to earlier edits, above the threshold


@dataclass(frozen=True)
class BatchOutcome:
    """What became of a batch of requests, in `edits` one by one, in their order.

    outcome: 'applied', 'rejected', 'dry-run', or 'no-op' (the model says all of it already).
    `metrics` are means over its facts, and what they share: random probes, size of the update.
    """

    outcome: str
    version: int
    batch: int | None
    edits: tuple[EditOutcome, ...]
    reasons: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    broken: tuple[int, ...] = ()
    method: str = ""
    layers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Answer:
    """A greedy answer of one version."""

    version: int
    prompt: str
    text: str


@dataclass(frozen=True)
class DiffView:
    """The difference between two versions."""

    old: int
    new: int
    added: tuple[int, ...]
    removed: tuple[int, ...]
    facts: Mapping[int, str]
    parameters: Mapping[str, Mapping[str, str | None]]  # parameter -> {'old': sha, 'new': sha}


@dataclass(frozen=True)
class ReplayView:
    """A version rebuilt from the base; `matches` tells whether every digest is the recorded one."""

    version: int
    matches: bool
    weights_digest: str
    recorded_digest: str
    tensors: Mapping[str, str]
    out: str | None


@dataclass(frozen=True)
class TestRow:
    """An edit tested again, beside what was measured first; a superseded one need not hold."""

    edit: int
    fact: str
    metrics: Mapping[str, float]
    at_edit: Mapping[str, float]
    answer: str
    holds: bool
    superseded_by: int | None = None


@dataclass(frozen=True)
class TestView:
    """A test of a version: its edits, the ledger's random probes, and drift to the last run."""

    version: int
    rows: tuple[TestRow, ...]
    metrics: Mapping[str, float]  # means over the edits, and locality_random
    drift: Mapping[str, float]  # change of each mean since the last test of an earlier run
    previous_version: int | None


@dataclass(frozen=True)
class ChangeOutcome:
    """A revert, a reapply or an undo: what was done to which edits, and where it led.

    Of a swap, `back` are the edits that were put back, the others were taken out.
    Where a fact was taken out of a batch: `notes` say what that means for the facts that stay,
    `retest` is their test, and `resolved` the batch that replaces them if they were solved again.
    Of a revert `disturbs` are the edits that were computed with those in place and move without
    them; with `dry_run` nothing was done. `branch`: of the undo of a switch, a merge or a branch,
    the branch that it is about.
    """

    op: str
    edits: tuple[int, ...]
    version: int
    weights_digest: str
    tag: str | None = None
    notes: tuple[str, ...] = ()
    retest: TestView | None = None
    resolved: BatchOutcome | None = None
    disturbs: tuple[Share, ...] = ()
    dry_run: bool = False
    back: tuple[int, ...] = ()
    branch: str | None = None


@dataclass(frozen=True)
class StatsView:
    """The second moment of one layer's keys, as measured and stored.

    `checks`: `count` tokens, and `change`: how far C⁻¹ k of the probe keys moved since the check
    before, relative; None where there is nothing to compare.
    """

    layer: int
    parameter: str
    corpus: str
    count: int
    jitter: float
    moment: str
    factor: str
    checks: tuple[Json, ...] = ()


@dataclass(frozen=True)
class PartView:
    """A part of a measurement of second moments, summed into a folder."""

    folder: str
    part: int
    parts: int
    count: int
    texts: int
    parameters: tuple[str, ...]


@dataclass(frozen=True)
class GcView:
    """What a collection removed, or would remove."""

    objects: tuple[str, ...]
    temps: tuple[str, ...]
    bytes: int
    dry_run: bool


@dataclass(frozen=True)
class MethodView:
    """An editing method: where it comes from, what it stores, what can be taken out again.

    `defaults` are its hyper-parameters for one model, as `source` gives them; without a model only
    those that hold for any.
    """

    name: str
    paper: str
    stores: str
    removal: str
    defaults: Json
    source: str


@dataclass(frozen=True)
class AnalysisView:
    """What an analysis found. `entry` and `object`: where it is kept, None for a dry run.

    `kind` is trace, lens, activations or layers; `content` is the kind's own.
    """

    kind: str
    versions: tuple[int, ...]
    settings: Json
    metrics: Mapping[str, float]
    content: Json
    entry: int | None = None
    object: str | None = None
