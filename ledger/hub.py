"""The Hub: the only module that talks to it.

Promise: an id or revision that cannot be one causes no request; a download is pinned to a commit;
no message holds a token.

    commit, folder = snapshot("gpt2", revision="main")
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ledger.errors import InvalidInput, RemoteFailure

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_REPO = re.compile(rf"{_NAME}(?:/{_NAME})?")
_REVISION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_./-]{0,199})")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TOKEN = re.compile(r"[\x21-\x7e]*")
_SECRET = re.compile(r"(hf_|[Bb]earer\s+)[^\s'\"]{6,}")
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
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    # What the HTTP library raises is known by the Hub's own error, which derives from its root.
    (http_error,) = (cls for cls in HfHubHTTPError.__mro__ if cls.__name__ == "HTTPError")
    try:
        _check_token()
        with _quiet():
            found = snapshot_download(repo, revision=wanted, allow_patterns=list(FILES))
    except HFValidationError as error:
        raise InvalidInput(f"{repo!r} is not a Hub id: {error}") from error
    except (http_error, OSError) as error:
        raise RemoteFailure(
            f"cannot get {repo} from the Hub ({_reason(error)}); check the name, the network and "
            "your access, or give a local folder"
        ) from error
    folder = Path(found)
    if not _COMMIT.fullmatch(folder.name):
        raise RemoteFailure(f"the Hub gave no commit for {repo}; repeat, or give a local folder")
    return folder.name, folder


def _check_token() -> None:
    """Refuse a token that cannot be sent; the error of the HTTP library would show it."""
    from huggingface_hub import get_token

    if not _TOKEN.fullmatch(get_token() or ""):
        raise InvalidInput(
            "the token for the Hub (HF_TOKEN, or the file of `hf auth login`) holds characters "
            "that no token has; set it again"
        )


def _reason(error: BaseException) -> str:
    """The message on one line, at most 300 characters, without a token."""
    text = " ".join(str(error).split()) or type(error).__name__
    return _SECRET.sub(r"\1***", text)[:300]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the client's warnings, whose cause the error tells; a bar only where it is seen."""
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
        logging,
    )

    level, hidden = logging.get_verbosity(), are_progress_bars_disabled()
    unseen = not hidden and not os.isatty(2)
    logging.set_verbosity_error()
    if unseen:
        disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if unseen:
            enable_progress_bars()
