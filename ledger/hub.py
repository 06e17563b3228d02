"""The Hub: the only module that talks to it.

Promise: an id or revision that cannot be one causes no request; a download is pinned to a commit.

    commit, folder = snapshot("gpt2", revision="main")
"""

from __future__ import annotations

import re
from pathlib import Path

from ledger.errors import InvalidInput, RemoteFailure

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_REPO = re.compile(rf"{_NAME}(?:/{_NAME})?")
_REVISION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_./-]{0,199})")
_COMMIT = re.compile(r"[0-9a-f]{40}")
FILES = ("*.safetensors", "*.json", "*.model", "*.txt", "*.jinja", "LICENSE*", "NOTICE*")


def check_repo(repo: str) -> str:
    """`repo`, if it can be a Hub id (`name` or `owner/name`). Raises: InvalidInput."""
    if not _REPO.fullmatch(repo) or "--" in repo or ".." in repo or repo.endswith(".git"):
        raise InvalidInput(f"{repo!r} is neither a folder here nor a Hub id (owner/name)")
    return repo


def check_revision(revision: str) -> str:
    """`revision`, if it can be a branch, tag or commit. Raises: InvalidInput."""
    if not _REVISION.fullmatch(revision) or ".." in revision or "//" in revision:
        raise InvalidInput(f"{revision!r} cannot be a branch, tag or commit of the Hub")
    return revision


def snapshot(repo: str, revision: str | None) -> tuple[str, Path]:
    """Commit hash and local folder of a model's safetensors checkpoint.

    Raises: InvalidInput for a malformed id, RemoteFailure if the Hub cannot be reached, refuses,
    or has no such model.
    """
    check_repo(repo)
    wanted = check_revision(revision) if revision is not None else None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    refusals = (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError)
    try:
        folder = Path(snapshot_download(repo, revision=wanted, allow_patterns=list(FILES)))
    except HFValidationError as error:
        raise InvalidInput(f"{repo!r} is not a Hub id: {error}") from error
    except refusals as error:
        reason = str(error).strip().splitlines()[0][:300] if str(error).strip() else repr(error)
        raise RemoteFailure(
            f"cannot get {repo} from the Hub ({reason}); check the name, the network and your "
            "access, or give a local folder"
        ) from error
    if not _COMMIT.fullmatch(folder.name):
        raise RemoteFailure(f"the Hub gave no commit for {repo}; repeat, or give a local folder")
    return folder.name, folder
