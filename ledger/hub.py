"""The Hub: the only module that talks to it.

Promise: an id or revision that cannot be one causes no request; a download is pinned to a commit;
a push is one commit on the parent that was looked at; no message holds a token.
Rules: the token comes from the environment or the Hub's own login, never from an argument.

    commit, folder = snapshot("gpt2", revision="main")
    head = repository("owner/name").commit
    made = commit_to("owner/name", Commit(parent=head, message="v3", add={"kel.json": path}))
    files_at("owner/name", made.commit)["kel.json"].size
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ledger.errors import Conflict, InvalidInput, RemoteFailure
from ledger.remote import Commit, Committed, RemoteFile
from ledger.waiting import bounded

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_REPO = re.compile(rf"{_NAME}(?:/{_NAME})?")
_REVISION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_./-]{0,199})")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TOKEN = re.compile(r"[\x21-\x7e]*")
_SECRET = re.compile(r"(hf_|[Bb]earer\s+)[^\s'\"]{6,}")
_MOVED = (409, 412)
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


def snapshot(repo: str, revision: str | None, patterns: Sequence[str] = FILES) -> tuple[str, Path]:
    """Commit hash and local folder of those files of a repository that match `patterns`.

    By default the safetensors checkpoint of a model. Raises: InvalidInput for a malformed id,
    RemoteFailure if the Hub cannot be reached, refuses, or has no such repository.
    """
    check_repo(repo)
    wanted = check_revision(revision) if revision is not None else None
    from huggingface_hub import snapshot_download

    advice = "check the name, the network and your access, or give a local folder"
    with _asking(f"cannot get {repo} from the Hub", advice):
        found = snapshot_download(repo, revision=wanted, allow_patterns=list(patterns))
    folder = Path(found)
    if not _COMMIT.fullmatch(folder.name):
        raise RemoteFailure(f"the Hub gave no commit for {repo}; repeat, or give a local folder")
    return folder.name, folder


def head_of(repo: str) -> str | None:
    """The newest commit of a repository's main branch; None if there is no such repository.

    Raises: InvalidInput, RemoteFailure.
    """
    check_repo(repo)
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    with _asking(f"cannot look at {repo} on the Hub"):
        try:
            info = HfApi().model_info(repo)
        except RepositoryNotFoundError as error:
            if error.response.status_code == 404:
                return None
            raise
    return _commit_of(repo, info.sha)


def make(repo: str) -> None:
    """Make a private repository. Raises: InvalidInput, RemoteFailure."""
    check_repo(repo)
    from huggingface_hub import HfApi

    with _asking(f"cannot make {repo} on the Hub"):
        HfApi().create_repo(repo, private=True)


def files_at(repo: str, commit: str) -> dict[str, RemoteFile]:
    """Every file of a commit. Raises: RemoteFailure."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    with _asking(f"cannot list {repo} on the Hub"):
        found = list(HfApi().list_repo_tree(repo, recursive=True, revision=commit))
    return {
        item.path: RemoteFile(
            size=item.size,
            blob=item.blob_id,
            sha256=item.lfs.sha256 if item.lfs else None,
            copyable=bool(item.lfs and item.xet_hash),
        )
        for item in found
        if isinstance(item, RepoFile)
    }


def content(repo: str, commit: str, name: str) -> bytes:
    """The bytes of one small file of a commit. Raises: RemoteFailure."""
    from huggingface_hub import hf_hub_download

    with _asking(f"cannot read {name} of {repo} on the Hub"):
        return Path(hf_hub_download(repo, name, revision=commit)).read_bytes()


def dataset_file(repo: str, name: str, revision: str | None) -> Path:
    """One file of a data set, on this machine; the newest of its main branch by default.

    Raises: InvalidInput for a malformed id or name, RemoteFailure.
    """
    check_repo(repo)
    if not _REVISION.fullmatch(name) or ".." in name:
        raise InvalidInput(f"{name!r} cannot be a file of a data set")
    at = check_revision(revision) if revision is not None else None
    from huggingface_hub import hf_hub_download

    with _asking(f"cannot get {name} of the data set {repo} from the Hub"):
        return Path(hf_hub_download(repo, name, repo_type="dataset", revision=at))


def commit_to(repo: str, commit: Commit) -> Committed:
    """Make one commit on `commit.parent`, or none.

    Raises: Conflict if the repository has moved on from the parent; RemoteFailure.
    """
    from huggingface_hub import HfApi

    advice = "push again: what is there already is not sent again"
    with _asking(f"cannot push to {repo}", advice):
        made = HfApi().create_commit(
            repo,
            _operations(commit),
            commit_message=commit.message,
            parent_commit=commit.parent,
            create_pr=commit.pull_request,
        )
    return Committed(_commit_of(repo, made.oid), str(made.pr_url or made.commit_url))


def _operations(commit: Commit) -> list[Any]:
    from huggingface_hub import (
        CommitOperationAdd,
        CommitOperationCopy,
        CommitOperationDelete,
    )

    source, revision = commit.source or (None, None)
    return [
        *(CommitOperationAdd(name, path) for name, path in commit.add.items()),
        *(
            CommitOperationCopy(
                src_path_in_repo=name,
                path_in_repo=name,
                src_repo_id=source,
                src_repo_type="model",
                src_revision=revision,
            )
            for name in commit.copy
        ),
        *(CommitOperationDelete(name, is_folder=False) for name in commit.delete),
    ]


def _commit_of(repo: str, commit: str | None) -> str:
    if commit is None or not _COMMIT.fullmatch(commit):
        raise RemoteFailure(f"the Hub gave no commit for {repo}; repeat")
    return commit


@contextmanager
def _asking(
    what: str, advice: str = "check the name, the network and your access"
) -> Iterator[None]:
    """Errors of the client as those of the ledger, in one line without a token."""
    from huggingface_hub import get_session
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    # What the HTTP library raises is known by the Hub's own error, which derives from its root.
    (http_error,) = (cls for cls in HfHubHTTPError.__mro__ if cls.__name__ == "HTTPError")
    try:
        _check_token()
        with _quiet(), bounded(get_session()):
            yield
    except HFValidationError as error:
        raise InvalidInput(f"{what}: no Hub id ({_reason(error)})") from error
    # The client wraps what goes wrong in a thread that uploads, and what it cannot make sense of.
    except (http_error, OSError, ValueError, RuntimeError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in _MOVED:
            raise Conflict(
                f"{what}: the repository was changed by somebody else meanwhile, and nothing of "
                "this push is in it; push again"
            ) from error
        raise RemoteFailure(f"{what} ({_reason(error)}); {advice}") from error


def configured() -> tuple[bool, bool]:
    """Whether there is a token, and whether HF_HUB_OFFLINE holds; nothing is asked of the Hub.

    Raises: InvalidInput for a token that cannot be sent.
    """
    from huggingface_hub import constants

    return _check_token(), bool(constants.HF_HUB_OFFLINE)


def _check_token() -> bool:
    """Refuse a token that cannot be sent; the error of the HTTP library would show it."""
    from huggingface_hub import get_token

    token = get_token() or ""
    if not _TOKEN.fullmatch(token):
        raise InvalidInput(
            "the token for the Hub (HF_TOKEN, or the file of `hf auth login`) holds characters "
            "that no token has; set it again"
        )
    return bool(token)


def _reason(error: BaseException) -> str:
    """The message on one line, at most 300 characters, without a token.

    Where the client says only that an upload failed, its cause tells why.
    """
    told = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
    text = " ".join(str(told).split()) or type(told).__name__
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
