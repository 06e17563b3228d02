"""A deployed model fetched from the Hub for somebody who only named it.

Promise: a name is asked of the Hub and never of this machine's folders; nothing is downloaded that
is much larger than the base could become.

Rules: a copy in the widest dtype is four times as large as one in the narrowest.

    commit, folder = fetched(record, "owner/name", "main")
"""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from ledger.errors import InvalidInput
from ledger.hub import FILES, check_repo, check_revision, files_at, snapshot
from ledger.records import ModelRecord

MOST: Final = 4
_BESIDE: Final = 100_000_000  # a tokenizer and the like, which a base need not have


def fetched(record: ModelRecord, repo: str, revision: str | None) -> tuple[str, Path]:
    """Commit and folder of a repository with a model as large as the base at most can be.

    Raises: InvalidInput (no Hub id, too large), RemoteFailure.
    """
    at = check_revision(revision or "main")
    listed = files_at(check_repo(repo), at)
    wanted = [file.size for name, file in listed.items() if any(fnmatch(name, f) for f in FILES)]
    most = MOST * sum(int(file["size"]) for file in record.config["files"].values()) + _BESIDE
    if sum(wanted) > most:
        raise InvalidInput(
            f"{repo} has {sum(wanted):,} bytes to be read, and a model of this base at most "
            f"{most:,}: it is another model"
        )
    return snapshot(repo, at)
