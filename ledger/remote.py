"""What is on the Hub, and what is to go there. Pure values; `ledger.hub` talks.

file = files_at("owner/name", commit)["kel.json"]
file.holds(2_000, sha256, Path("kel.json"))
Commit(parent=commit, message="v3", add={"kel.json": Path("out/kel.json")})
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class RemoteFile:
    """A file of a commit: its size, the name git has for it, its sha256 if it is a large one.

    `copyable`: it lies in the storage from which the Hub copies to other repositories by itself.
    """

    size: int
    blob: str
    sha256: str | None
    copyable: bool

    def holds(self, size: int, sha256: str, path: Path) -> bool:
        """Whether it has these bytes; `path` is read for a file that is not large."""
        if self.size != size:
            return False
        return self.sha256 == sha256 if self.sha256 else self.blob == _blob(path.read_bytes())


@dataclass(frozen=True)
class Commit:
    """What is to be committed. `copy` names files of `source` (repository, commit) as they are."""

    parent: str
    message: str
    add: Mapping[str, Path]
    copy: Sequence[str] = ()
    source: tuple[str, str] | None = None
    delete: Sequence[str] = field(default=())
    pull_request: bool = False


@dataclass(frozen=True)
class Committed:
    """What was committed, and where people see it."""

    commit: str
    url: str


def _blob(data: bytes) -> str:
    """The name git has for a file of these bytes."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
