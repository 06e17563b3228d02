"""The rows of the ledger as frozen, validated values; what the other modules pass around.

Promise: a value that cannot be stored and read back unchanged cannot be constructed.

Rules: ids and `entry_seq` are 0 until the journal assigns them, `created_at` and hashes empty; text
holds no NUL and no lone surrogate (PostgreSQL and UTF-8 refuse them); numbers are finite; JSON
fields are canonical text in the database and plain values here.

    edit = EditRecord(subject="Rome", prompt="{} lies in", target_new="France", target_true="Italy")
    rows = Rows(objects=(ObjectRecord(oid=oid, kind="delta", size=9),), batch=batch, edits=(edit,))
    row = stored(edit)                        # column -> str, int, float or None
    assert loaded(EditRecord, row) == edit
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ledger.errors import InvalidInput
from ledger.fields import INT64, Record, plain, real, sha, text, whole
from ledger.lines import check_tag_name

OPS = (
    *("init", "apply", "revert", "reapply", "swap", "branch", "switch", "merge"),
    *("reject", "tag", "test", "stats", "analysis", "release", "user", "rebase"),
)
OBJECT_KINDS = ("delta", "moment", "factor", "analysis")


@dataclass(frozen=True, kw_only=True)
class ModelRecord(Record):
    """The base checkpoint; `config` holds its files with sha256 and size, seed and defaults."""

    table = "model"
    id: int = whole()
    base_id: str = text()
    revision: str | None = text(None)
    path: str = text()
    dtype: str = text()
    device: str | None = text(None)
    model_type: str = text()
    base_digest: str = sha()
    config: Mapping[str, Any] = plain()
    created_at: str = text()
    entry_seq: int = whole()


@dataclass(frozen=True, kw_only=True)
class BaseTensorRecord(Record):
    """The untouched tensor of a parameter that some edit changes."""

    table = "base_tensor"
    model_id: int = whole(1)
    parameter: str = text()
    checkpoint_key: str = text()
    dtype: str = text()
    shape: tuple[int, ...] = plain(tuple)
    sha256: str = sha()
    entry_seq: int = whole()


@dataclass(frozen=True, kw_only=True)
class ObjectRecord(Record):
    """A file of the object store that rows refer to."""

    table = "object"
    oid: str = sha()
    kind: str = text()
    size: int = whole()
    created_at: str = text()
    entry_seq: int = whole()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind not in OBJECT_KINDS:
            raise InvalidInput(f"object.kind must be one of {OBJECT_KINDS}, got {self.kind!r}.")


@dataclass(frozen=True, kw_only=True)
class BatchRecord(Record):
    """One call of an editor: its settings, and the object that holds its delta."""

    table = "batch"
    id: int = whole()
    model_id: int = whole(1)
    oid: str | None = sha(None)
    method: str = text()
    layers: tuple[int, ...] = plain(tuple)
    hparams: Mapping[str, Any] = plain()
    seed: int = whole(low=-INT64)
    environment: Mapping[str, Any] = plain()
    evidence: Mapping[str, Any] = plain()
    author: str = text()
    note: str = text()
    created_at: str = text()
    entry_seq: int = whole()


@dataclass(frozen=True, kw_only=True)
class EditRecord(Record):
    """One fact; `component` is its column in the batch's delta.

    `valid_from` and `valid_until` are days, `2026-01-31`, the last one included.
    """

    table = "edit"
    id: int = whole()
    batch_id: int = whole()
    component: int = whole()
    subject: str = text()
    prompt: str = text()
    target_new: str = text()
    target_true: str | None = text(None)
    probes: Mapping[str, Any] = plain()
    language: str | None = text(None)
    hash: str = sha()
    created_at: str = text()
    entry_seq: int = whole()
    valid_from: str | None = text(None)
    valid_until: str | None = text(None)
    source: str | None = text(None)


@dataclass(frozen=True, kw_only=True)
class EntryRecord(Record):
    """One line of history; `tensors` maps touched parameters to their sha256 at that version."""

    table = "entry"
    seq: int = whole()
    version: int = whole()
    op: str = text()
    edits: tuple[int, ...] = plain(tuple)
    payload: Mapping[str, Any] = plain()
    weights_digest: str = sha()
    tensors: Mapping[str, str] = plain()
    rows_digest: str = sha()
    author: str = text()
    note: str = text()
    created_at: str = text()
    prev_hash: str = sha()
    hash: str = sha()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.op not in OPS:
            raise InvalidInput(f"entry.op must be one of {OPS}, got {self.op!r}.")


@dataclass(frozen=True, kw_only=True)
class MeasurementRecord(Record):
    """One number. `version` None: that of the entry. `edit_id`: see `new_edit`."""

    table = "measurement"
    id: int = whole()
    entry_seq: int = whole()
    version: int | None = whole(None)
    edit_id: int | None = whole(None, low=-INT64)
    suite: str = text()
    metric: str = text()
    value: float = real(0.0)
    protocol: str = text()
    detail: Mapping[str, Any] = plain()


@dataclass(frozen=True, kw_only=True)
class PredictionRecord(Record):
    """What the unedited model says; the first one kept for (model, protocol, prompt) stays."""

    table = "prediction"
    id: int = whole()
    model_id: int = whole(1)
    protocol: str = text()
    prompt: str = text()
    answer: str = text()
    payload: Mapping[str, Any] = plain()
    entry_seq: int = whole()


@dataclass(frozen=True, kw_only=True)
class TagRecord(Record):
    """A name for a version; the last row of a name counts, version None removes it."""

    table = "tag"
    id: int = whole()
    name: str = text()
    version: int | None = whole(None)
    entry_seq: int = whole()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_tag_name(self.name)


@dataclass(frozen=True, kw_only=True)
class StatsRecord(Record):
    """Second-moment statistics of a layer's inputs over a corpus."""

    table = "stats"
    id: int = whole()
    base_digest: str = sha()
    parameter: str = text()
    corpus: str = text()
    corpus_sha256: str = sha()
    count: int = whole()
    moment_oid: str = sha()
    factor_oid: str | None = sha(None)
    jitter: float | None = real()
    entry_seq: int = whole()


@dataclass(frozen=True, kw_only=True)
class ReleaseRecord(Record):
    """A version that was given out, in which form and where to."""

    table = "release"
    id: int = whole()
    version: int = whole()
    form: str = text()
    target: str = text()
    manifest: Mapping[str, Any] = plain()
    merkle_root: str = sha()
    created_at: str = text()
    entry_seq: int = whole()


@dataclass(frozen=True, kw_only=True)
class UserRecord(Record):
    """Who may do what on the web page; the last row of a name counts."""

    table = "user"
    id: int = whole()
    name: str = text()
    role: str = text()
    password_hash: str = text(shown=False)
    created_at: str = text()
    entry_seq: int = whole()


@dataclass(frozen=True, kw_only=True)
class Rows:
    """All rows that one entry writes, before they have numbers. Edits belong to `batch`."""

    model: ModelRecord | None = None
    base_tensors: tuple[BaseTensorRecord, ...] = ()
    objects: tuple[ObjectRecord, ...] = ()
    batch: BatchRecord | None = None
    edits: tuple[EditRecord, ...] = ()
    measurements: tuple[MeasurementRecord, ...] = ()
    predictions: tuple[PredictionRecord, ...] = ()
    tags: tuple[TagRecord, ...] = ()
    stats: tuple[StatsRecord, ...] = ()
    releases: tuple[ReleaseRecord, ...] = ()
    users: tuple[UserRecord, ...] = ()

    def __post_init__(self) -> None:
        if self.edits and self.batch is None:
            raise InvalidInput("edits need the batch they were computed in.")


def new_edit(position: int) -> int:
    """Stands for the id of `Rows.edits[position]` until the journal knows it: -1, -2, ..."""
    return -1 - position
