"""The shapes of what the ledger's API is asked and answers; the OpenAPI document is made of them.

Promise: names are those of the documents of `kel --json`; a page of a list says what to ask for
the next one, None at the end; nothing names a file or a folder of the server.

    FactPage(version=3, facts=(...), next=100)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Final, Literal

from ledger.ageing import VersionAge
from ledger.facts import FactView
from ledger.proofs import EditRow
from ledger.shares import Share
from ledger.verify import Finding
from ledger.views import ChangeOutcome, EditOutcome, EditView, LogView

State = Literal["waiting", "running", "done", "failed"]
_EXACT: Final = {"extra": "forbid"}


@dataclass(frozen=True)
class Base:
    """The pinned base."""

    id: str
    revision: str | None
    dtype: str
    digest: str
    model_type: str
    chat: bool


@dataclass(frozen=True)
class Status:
    """Where the ledger stands."""

    version: int
    active: tuple[int, ...]
    reverted: tuple[int, ...]
    rejected: tuple[int, ...]
    expired: tuple[int, ...]
    weights_digest: str
    head: str
    base: Base
    tags: Mapping[str, int]
    entries: int
    branch: str
    branches: Mapping[str, int]
    four_eyes: bool


@dataclass(frozen=True)
class FactPage:
    """What a version was taught, in ledger order; ask the next page of the same version."""

    version: int
    facts: tuple[FactView, ...]
    next: int | None


@dataclass(frozen=True)
class EditPage:
    """Edits by number."""

    edits: tuple[EditRow, ...]
    next: int | None


@dataclass(frozen=True)
class Delta:
    """An edit's delta: the sha256 of its object, bytes, rank, parameters; `error` if unreadable."""

    oid: str | None
    size: int | None
    rank: int | None
    parameters: tuple[str, ...]
    error: str | None = None


@dataclass(frozen=True)
class Edit:
    """One edit, whole."""

    id: int
    hash: str
    active: bool
    rejected: bool
    elsewhere: bool
    branch: str
    fact: Mapping[str, str | None]
    method: str
    layers: tuple[int, ...]
    hparams: Mapping[str, Any]
    metrics: Mapping[str, float]
    details: Mapping[str, Any]
    probes: Mapping[str, Any]
    delta: Delta
    batch: int
    created_at: str
    author: str
    note: str
    supersedes: tuple[int, ...]
    superseded_by: int | None


def delta_of(view: EditView) -> Delta:
    """An edit's delta without the place of its file."""
    found = view.delta
    return Delta(
        oid=found["oid"],
        size=found["size"],
        rank=found["rank"],
        parameters=tuple(found["parameters"]),
        error="the object cannot be read; `kel verify` says more" if "error" in found else None,
    )


def shown(view: EditView) -> EditView:
    """An edit as pages and their documents show it."""
    delta = asdict(delta_of(view))
    return replace(view, delta={k: v for k, v in delta.items() if v is not None or k != "error"})


@dataclass(frozen=True)
class VersionPage:
    """Versions from the base on, with what was measured on them."""

    versions: tuple[VersionAge, ...]
    next: int | None


@dataclass(frozen=True)
class LogPage:
    """Entries, newest first; `next` is the `before` of the next page."""

    entries: tuple[LogView, ...]
    next: int | None


@dataclass(frozen=True)
class Verified:
    """Whether history, records and objects are as recorded."""

    ok: bool
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Preview:
    """What a proposal would do: of an edit `edit` and `foreseen`, else `change`."""

    state: State
    failure: str | None = None
    edit: EditOutcome | None = None
    foreseen: tuple[Share, ...] | None = None
    change: ChangeOutcome | None = None


@dataclass(frozen=True)
class Proposal:
    """A change that waits to be confirmed, by its digest; times in seconds since 1970."""

    id: str
    kind: Literal["edit", "revert", "reapply"]
    body: Mapping[str, Any]
    digest: str
    proposer: str
    created_at: int
    expires_at: int
    state: Literal["open", "used", "withdrawn"]
    preview: Preview | None = None


@dataclass(frozen=True)
class ProposalPage:
    """Proposals that wait, oldest first."""

    proposals: tuple[Proposal, ...]
    next: int | None


@dataclass(frozen=True)
class Change:
    """A confirmed change: how far it is, and what became of it; later the `entry` it led to."""

    id: str
    state: State
    failure: str | None = None
    edit: EditOutcome | None = None
    change: ChangeOutcome | None = None
    entry: LogView | None = None


@dataclass(frozen=True)
class ErrorDetail:
    """What went wrong: `code` is the class of the error, or null."""

    message: str
    type: str
    code: str | None
    param: str | None


@dataclass(frozen=True)
class Error:
    """Every error of the API."""

    error: ErrorDetail


# --- what is asked --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Probe:
    """A prompt, and its answer if it is known."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _EXACT
    prompt: str
    answer: str | None = None


@dataclass(frozen=True)
class EditBody:
    """A fact to be taught, and the probes that test it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _EXACT
    subject: str
    prompt: str
    target_new: str
    target_true: str | None = None
    paraphrases: list[str] = field(default_factory=list)
    neighbourhood: list[Probe] = field(default_factory=list)
    same_subject: list[Probe] = field(default_factory=list)
    portability: list[Probe] = field(default_factory=list)
    valid_from: str | None = None
    valid_until: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class Confirmation:
    """The digest of the proposal that was looked at."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _EXACT
    digest: str
