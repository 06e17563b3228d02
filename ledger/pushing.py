"""Releases to the Hub and from it.

Promise: a push is one commit on the state that was looked at, and what the Hub holds afterwards was
read back and is equal; a pull makes a checked ledger, or nothing.
Rules: what is there already is not sent; a shard that no edit touched is copied by the Hub from the
base's repository; a repository that holds anything that no release of this ledger put there is left
alone. Repeating a push that failed goes on where it stopped.

    push(workspace, version=3, repo="owner/name", form="merged").commit
    pull("owner/name", Path("ledger"), revision=None, author="ada").head
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ledger import hub
from ledger.bundle import HISTORY, MOST_BYTES, OBJECTS
from ledger.errors import Conflict, InvalidInput, RemoteFailure
from ledger.export import export
from ledger.importing import import_bundle
from ledger.journal import Journal
from ledger.manifest import CARD, MANIFEST, parse_manifest, read_manifest, sha256_of
from ledger.records import ReleaseRecord, Rows
from ledger.released import ExportView, ImportView, PushView
from ledger.remote import Commit, Committed, RemoteFile
from ledger.workspace import Workspace
from store.errors import CanonicalError

_OURS = (".gitattributes", CARD)


@dataclass(frozen=True)
class _Plan:
    """What a push does with each file, by name."""

    same: list[str]
    copy: list[str]
    add: list[str]
    delete: list[str]

    @property
    def changes(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self.copy or self.add or self.delete)


@dataclass(frozen=True)
class _Release:
    """A release on disk: what it is, and size and sha256 of every file."""

    folder: Path
    view: ExportView
    files: Mapping[str, tuple[int, str]]

    def wrong(self, there: Mapping[str, RemoteFile]) -> list[str]:
        """Names of the files that are not on the Hub as they are here."""
        return sorted(
            name
            for name, known in self.files.items()
            if name not in there or not there[name].holds(*known, self.folder / name)
        )


def push(
    workspace: Workspace,
    version: int,
    repo: str,
    *,
    form: str = "merged",
    private: bool = False,
    compress: bool = False,
    pull_request: bool = False,
    author: str = "",
) -> PushView:
    """Give a version out as a release in a repository, which is made, private, if there is none.

    Raises: Conflict if the repository holds other things or was changed meanwhile; RemoteFailure;
    what `export` raises.
    """
    hub.check_repo(repo)
    workspace.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=workspace.cache, prefix="push-") as scratch:
        folder = Path(scratch) / "release"
        # Nothing writes into the release, so its untouched shards may be the base's own files.
        shared = form == "merged"
        view = export(
            workspace, version, folder, form=form, private=private, compress=compress, link=shared
        )
        release = _Release(folder, view, _hashes(folder))
        parent = _parent(repo)
        plan = _plan(workspace, repo, parent, release)
        if not plan.changes:
            return _view(repo, Committed(parent, ""), release, plan)
        made = hub.commit_to(repo, _commit(workspace, parent, release, plan, pull_request))
        _read_back(repo, made.commit, release)
        _record(workspace.journal, release, f"{repo}@{made.commit}", author)
        return _view(repo, made, release, plan)


def _parent(repo: str) -> str:
    """The commit to stand on; the repository is made if there is none."""
    parent = hub.head_of(repo)
    if parent is None:
        hub.make(repo)
        parent = hub.head_of(repo)
    if parent is None:
        raise RemoteFailure(f"the Hub made {repo} and does not know it yet; push again")
    return parent


def _commit(
    workspace: Workspace, parent: str, release: _Release, plan: _Plan, pull_request: bool
) -> Commit:
    record, view = workspace.record, release.view
    return Commit(
        parent=parent,
        message=f"Version {view.version} of a knowledge-edit ledger ({view.form})",
        add={name: release.folder / name for name in plan.add},
        copy=plan.copy,
        source=(record.base_id, record.revision or ""),
        delete=plan.delete,
        pull_request=pull_request,
    )


def _view(repo: str, made: Committed, release: _Release, plan: _Plan) -> PushView:
    view = release.view
    return PushView(
        repo=repo,
        commit=made.commit,
        url=made.url,
        form=view.form,
        version=view.version,
        weights_digest=view.weights_digest,
        merkle_root=view.merkle_root,
        uploaded=tuple(plan.add),
        copied=tuple(plan.copy),
        unchanged=tuple(plan.same),
        deleted=tuple(plan.delete),
        bytes=sum(release.files[name][0] for name in plan.add),
        notes=view.notes if view.form == "adapter" else (),
    )


def pull(
    repo: str,
    directory: Path,
    *,
    revision: str | None,
    author: str,
    base: str | None = None,
    replay: bool = True,
    anchor: tuple[int, str] | None = None,
) -> ImportView:
    """Make the new folder `directory` a ledger from the bundle in a repository.

    Raises: as `import_bundle`; RemoteFailure.
    """
    commit, folder = hub.snapshot(repo, revision, [MANIFEST])
    if not (folder / MANIFEST).exists():
        raise InvalidInput(f"{repo} holds no {MANIFEST}: it is no release of a ledger")
    manifest = read_manifest(folder)
    total = sum(entry["size"] for entry in manifest["files"].values())
    if manifest["form"] != "bundle" or total > MOST_BYTES:
        raise InvalidInput(
            f"{repo} is a release of the form {manifest['form']} with {total} bytes; only a bundle "
            f"of at most {MOST_BYTES} bytes can be pulled"
        )
    _, folder = hub.snapshot(repo, commit, [MANIFEST, CARD, HISTORY, f"{OBJECTS}/*"])
    view = import_bundle(
        folder, directory, author=author, base=base, replay=replay, anchor=anchor, links=True
    )
    return replace(view, repo=repo, commit=commit)


def _hashes(folder: Path) -> dict[str, tuple[int, str]]:
    """Size and sha256 of every file of a release, the manifest too."""
    path = folder / MANIFEST
    files = read_manifest(folder)["files"]
    listed = {name: (entry["size"], entry["sha256"]) for name, entry in files.items()}
    return listed | {MANIFEST: (path.stat().st_size, sha256_of(path))}


def _plan(workspace: Workspace, repo: str, parent: str, release: _Release) -> _Plan:
    """What is there, what the Hub can copy, what must be sent, what an earlier release left.

    Raises: Conflict for a repository of something else.
    """
    there = hub.files_at(repo, parent)
    earlier = _earlier(workspace.journal, repo, parent) if MANIFEST in there else set()
    if foreign := sorted(set(there) - earlier - set(_OURS)):
        raise Conflict(
            f"{repo} holds {foreign[0]!r:.200}, which no release put there; nothing was changed, "
            "use a repository of its own"
        )
    wanted = release.wrong(there)
    copy = _copyable(workspace, wanted, release)
    return _Plan(
        same=sorted(set(release.files) - set(wanted)),
        copy=copy,
        add=[name for name in wanted if name not in copy],
        delete=sorted(set(there) - set(release.files) - set(_OURS)),
    )


def _earlier(journal: Journal, repo: str, commit: str) -> set[str]:
    """The files of the release that is there. Raises: Conflict if it is not of this ledger."""
    try:
        manifest = parse_manifest(hub.content(repo, commit, MANIFEST))
    except (InvalidInput, CanonicalError) as error:
        raise Conflict(f"the {MANIFEST} of {repo} is no manifest of a release ({error})") from error
    entry = manifest["entry"]
    known = journal.entries(after=entry["seq"] - 1, limit=1)
    if not known or known[0].hash != entry["hash"]:
        raise Conflict(
            f"{repo} holds a release of another ledger (entry {entry['seq']}, "
            f"{entry['hash'][:12]}); nothing was changed, use a repository of its own"
        )
    return {*manifest["files"], MANIFEST}


def _copyable(workspace: Workspace, wanted: Sequence[str], release: _Release) -> list[str]:
    """Names of files that the base's repository holds with the same bytes, in its storage."""
    record = workspace.record
    if record.revision is None or not any(name.endswith(".safetensors") for name in wanted):
        return []
    base = hub.files_at(record.base_id, record.revision)
    other = set(release.wrong(base))
    return [name for name in wanted if name not in other and base[name].copyable]


def _read_back(repo: str, commit: str, release: _Release) -> None:
    """Every file is on the Hub with our bytes. Raises: RemoteFailure."""
    wrong = release.wrong(hub.files_at(repo, commit))
    manifest = (release.folder / MANIFEST).read_bytes()
    if not wrong and hub.content(repo, commit, MANIFEST) != manifest:
        wrong = [MANIFEST]
    if wrong:
        raise RemoteFailure(
            f"the Hub holds other bytes of {wrong[0]!r:.200} in {repo} at commit {commit} than "
            "were sent; do not use that commit, push again"
        )


def _record(journal: Journal, release: _Release, target: str, author: str) -> None:
    """Write down that the version was given out."""
    view = release.view
    row = ReleaseRecord(
        version=view.version,
        form=view.form,
        target=target,
        manifest={"sha256": release.files[MANIFEST][1]},
        merkle_root=view.merkle_root,
    )
    journal.append("release", rows=Rows(releases=(row,)), author=author)
