"""What the verbs about releases return: on disk, taken in, on the Hub.

Promise: as of `ledger.views`: plain data, no torch.

    view = ledger.export(Path("release"), form="adapter")
    view.merkle_root, view.notes
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.verify import Finding
from ledger.views import Json


@dataclass(frozen=True)
class ExportView:
    """A release on disk. `notes` are for whoever serves it; `adapter` is of that form only."""

    directory: str
    version: int
    rewritten: tuple[str, ...]
    weights_digest: str
    bytes: int
    form: str = "merged"
    notes: tuple[str, ...] = ()
    merkle_root: str = ""
    adapter: Json | None = None  # rank, ranks, exact, errors


@dataclass(frozen=True)
class ImportView:
    """A ledger that was made from a bundle; `replayed`: its head was folded from the base.

    `repo` and `commit` tell where it was pulled from.
    """

    directory: str
    version: int
    entries: int
    active: tuple[int, ...]
    weights_digest: str
    head: str  # hash of the last entry
    replayed: bool
    repo: str | None = None
    commit: str | None = None


@dataclass(frozen=True)
class PushView:
    """A release on the Hub; `bytes` are those of the files that were sent."""

    repo: str
    commit: str
    url: str
    form: str
    version: int
    weights_digest: str
    merkle_root: str
    uploaded: tuple[str, ...]
    copied: tuple[str, ...]
    unchanged: tuple[str, ...]
    deleted: tuple[str, ...]
    bytes: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReleaseCheck:
    """What a check of a release found; `base` is the digest of the base it was compared with."""

    release: str
    form: str
    version: int
    weights_digest: str
    base: str | None
    findings: tuple[Finding, ...]
