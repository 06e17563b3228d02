"""The new ledger of a rebase: made whole or not at all, or found again where it was left.

Promise: a folder that holds anything but an unfinished or finished rebase of the same source with
the same options is refused, with the difference; nothing in it is changed then.

Rules: the first entry names the source and the options, in one commit with the base, so that a kill
at any moment leaves no folder or one that says what it is. Random probes, seed, device, dtype and
the use of a chat template are the source's.

    with line(Path("patched-on-new"), source, target, options, author) as made:
        made.workspace.at_head()
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.base import Located, locate
from ledger.corpus import SAMPLED, WORLD
from ledger.db import Database
from ledger.errors import Conflict
from ledger.journal import Journal
from ledger.layout import LedgerFolder
from ledger.rebasing.report import KEY, begun
from ledger.rebasing.source import Source
from ledger.rebasing.views import RebaseOptions
from ledger.setup import create
from ledger.workspace import Workspace
from store.canonical import canonical_json
from store.objects import ObjectStore
from store.staging import staging


@dataclass(frozen=True)
class Target:
    """The new base as it was named. `device`, `dtype`: None for the source's."""

    base: str
    revision: str | None = None
    device: str | None = None
    dtype: str | None = None


@dataclass(frozen=True)
class Line:
    """An open new ledger."""

    folder: LedgerFolder
    journal: Journal
    store: ObjectStore
    workspace: Workspace


@contextmanager
def line(
    place: Path, source: Source, target: Target, options: RebaseOptions, author: str
) -> Iterator[Line]:
    """Open the new ledger at `place`, made if it is not there.

    Raises: Conflict for another ledger, StoreWriteError for a folder of something else; as `init`.
    """
    folder = LedgerFolder(place.expanduser().absolute())
    found = locate(target.base, revision=target.revision)
    if folder.is_ledger:
        _check_same(folder, source, found, target, options)
    else:
        with staging(folder.root) as stage:
            make(stage.folder, source, target, options, author)
    with opened(folder, author) as made:
        yield made


@contextmanager
def opened(folder: LedgerFolder, author: str) -> Iterator[Line]:
    """A new ledger that is there."""
    database = Database.open(folder.database)
    try:
        store = ObjectStore(folder.objects_root)
        journal = Journal(database, store)
        workspace = Workspace(journal, store, folder.cache, author, folder.base_place())
        yield Line(folder, journal, store, workspace)
    finally:
        database.close()


def make(
    root: Path, source: Source, target: Target, options: RebaseOptions, author: str
) -> LedgerFolder:
    """Make the new ledger in a folder, with nothing but its first entry."""
    config = source.record.config
    return create(
        root,
        base=target.base,
        revision=target.revision,
        dtype=target.dtype or config["compute_dtype"],
        device=target.device or source.record.device or "cpu",
        probes=config["probes"],
        author=author,
        seed=int(config["seed"]),
        chat_template="chat" in config,
        payload={KEY: beginning(source, options)},
    )


def beginning(source: Source, options: RebaseOptions) -> dict[str, Any]:
    """What the first entry says: where the facts come from, how many, how they are carried over."""
    notes = []
    if source.left:
        left = ", ".join(map(str, source.left))
        notes.append(f"superseded by later edits of the same fact, so not carried over: {left}")
    files = sorted(source.corpora - {WORLD, SAMPLED})
    if files and options.corpus is None:
        notes.append(
            f"second moments of the old base were measured on {', '.join(files)}; those of the new "
            "one are measured on texts sampled from it, unless --corpus names a file"
        )
    return {
        "source": source.provenance(),
        "facts": len(source.facts),
        "options": options.to_json(),
        "notes": notes,
    }


def _check_same(
    folder: LedgerFolder, source: Source, found: Located, target: Target, options: RebaseOptions
) -> None:
    """Refuse a ledger that this rebase did not begin. Raises: Conflict."""
    database = Database.open(folder.database)
    try:
        journal = Journal(database, ObjectStore(folder.objects_root))
        told, record = begun(journal), journal.model()
    finally:
        database.close()
    if told is None:
        raise Conflict(
            f"{folder.root} is a ledger that no rebase made; name another folder with --into"
        )
    wanted = beginning(source, options)
    pairs = [
        ("source", told["source"]["entry"]["hash"], wanted["source"]["entry"]["hash"]),
        ("version", told["source"]["version"], wanted["source"]["version"]),
        ("base", record.base_id, found.id),
        ("revision", record.revision, found.revision),
        ("device", record.device, target.device or record.device),
        ("dtype", record.config["compute_dtype"], target.dtype or record.config["compute_dtype"]),
        *((name, told["options"].get(name), now) for name, now in wanted["options"].items()),
    ]
    # As JSON reads them back.
    differing = [f"{n} was {_text(a)}, now {_text(b)}" for n, a, b in pairs if _text(a) != _text(b)]
    if differing:
        raise Conflict(
            f"{folder.root} is a rebase begun otherwise: {'; '.join(differing)}. Give the same "
            "again to go on, or another folder with --into"
        )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else canonical_json(value).decode()
