"""Taking in a bundle: every byte is checked before a ledger stands there.

Promise: afterwards there is a ledger with the bundle's history, objects and digests, or nothing;
a bundle in which one byte, file, name or line was changed, added, left out or moved is refused.
Rules: files are read in the order of the manifest, bounded by the sizes it declares; links are not
followed; the ledger is made beside its place, verified, its bundle made again and compared, its
head folded from the base, and only then it gets its name.

    import_bundle(Path("bundle"), Path("ledger"), author="ada").weights_digest
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.base import EMBEDDED, locate
from ledger.bundle import HISTORY, MOST_BYTES, OBJECTS, expected
from ledger.db import Database
from ledger.errors import BaseMismatch, IntegrityFailure, InvalidInput
from ledger.journal import Journal
from ledger.layout import LedgerFolder
from ledger.manifest import BESIDE, CARD, MANIFEST, Json, names, read_manifest, write_manifest
from ledger.released import ImportView
from ledger.transfer import MOST_LINE, restore
from ledger.verify import verify_structure
from store.atomic import write_file
from store.canonical import canonical_json
from store.objects import ObjectStore
from store.staging import staging

if TYPE_CHECKING:
    from io import BufferedReader

_CHUNK = 1 << 20


def import_bundle(
    bundle: Path,
    directory: Path,
    *,
    author: str,
    base: str | None = None,
    replay: bool = True,
    anchor: tuple[int, str] | None = None,
    links: bool = False,
) -> ImportView:
    """Make the new folder `directory` a ledger with the content of a bundle.

    `base` is where the base lies here, if its recorded name does not lead there; `anchor` the
    number and hash of an entry that its history must hold; `links` follows links, as a Hub cache
    consists of them.
    Raises: InvalidInput if it is no bundle; IntegrityFailure for one that is not what its manifest
    says; BaseMismatch if there is nothing to fold on; StoreWriteError for an occupied folder.
    """
    source = _Source(Path(bundle), read_manifest(bundle), links)
    source.check()
    with staging(Path(directory).expanduser()) as stage:
        folder = LedgerFolder(stage.folder)
        database = Database.create(folder.file)
        try:
            store = ObjectStore(folder.objects_root)
            journal = Journal(database, store)
            source.fill(database, store)
            _verify(source, journal, store, anchor)
            if base is not None:
                _place(folder, journal, base)
            if replay:
                _replay(folder, journal, store, author)
            view = _view(directory, journal, replay)
        finally:
            database.close()
    return view


def _view(directory: Path, journal: Journal, replayed: bool) -> ImportView:
    last = journal.last_entry()
    return ImportView(
        directory=str(directory),
        version=last.version,
        entries=last.seq,
        active=journal.history().active(),
        weights_digest=last.weights_digest,
        head=last.hash,
        replayed=replayed,
    )


@dataclass(frozen=True)
class _Source:
    """The folder of a bundle, its manifest, and whether links in it are followed."""

    folder: Path
    manifest: Json
    links: bool

    @property
    def files(self) -> Json:
        """Name -> size and sha256."""
        return dict(self.manifest["files"])

    def check(self) -> None:
        """It is a bundle, of what is listed, with the listed bytes; within the limits."""
        if self.manifest["form"] != "bundle":
            form = self.manifest["form"]
            raise InvalidInput(f"{self.folder} is a release of the form {form}, no bundle")
        total = sum(entry["size"] for entry in self.files.values())
        if total > MOST_BYTES:
            raise InvalidInput(
                f"{self.folder} declares {total} bytes, at most {MOST_BYTES} are taken in"
            )
        self._check_names()
        with self._opened(MANIFEST):
            pass  # no link, unless links are followed
        for name, entry in self.files.items():
            self._check_file(name, entry)

    def fill(self, database: Database, store: ObjectStore) -> None:
        """Take history and objects in."""
        with self._opened(HISTORY) as file:
            restore(database, iter(lambda: file.readline(MOST_LINE), b""))
        for name, entry in self.files.items():
            if name.startswith(f"{OBJECTS}/"):
                with self._opened(name) as file:
                    store.put(file.read(entry["size"]))

    def _check_names(self) -> None:
        """The folder holds what is listed and nothing else."""
        present = {name for name in names(self.folder) if name.split("/")[0] not in BESIDE}
        listed = set(self.files) | {MANIFEST}
        # Of a Hub cache only what is listed was asked for; other commands put files there too.
        if extra := () if self.links else sorted(present - listed):
            raise IntegrityFailure(
                f"{self.folder} holds {extra[0]!r:.200}, which its manifest does not list"
            )
        if missing := sorted((listed | {CARD, HISTORY}) - present):
            raise IntegrityFailure(f"{self.folder} lacks {missing[0]!r:.200}; get it again")
        for name in self.files:
            if name not in (CARD, HISTORY) and not name.startswith(f"{OBJECTS}/"):
                raise IntegrityFailure(f"{name!r:.200} is no part of a bundle")

    def _check_file(self, name: str, entry: Json) -> None:
        """A file has the listed size and sha256; hardly a byte more than that is read."""
        hasher, size = hashlib.sha256(), 0
        with self._opened(name) as file:
            while size <= entry["size"] and (chunk := file.read(_CHUNK)):
                size += len(chunk)
                hasher.update(chunk)
        if (size, hasher.hexdigest()) != (entry["size"], entry["sha256"]):
            raise IntegrityFailure(
                f"{name} of {self.folder} is not the file that the manifest lists: get it again"
            )

    @contextmanager
    def _opened(self, name: str) -> Iterator[BufferedReader]:
        """A regular file of the bundle. Raises: IntegrityFailure."""
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if self.links else os.O_NOFOLLOW)
        try:
            fd = os.open(self.folder / name, flags)
        except OSError as error:
            raise IntegrityFailure(
                f"cannot read {name} of {self.folder}: {error.strerror}"
            ) from error
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise IntegrityFailure(f"{name} of {self.folder} is not a regular file")
            yield file


def _verify(
    source: _Source, journal: Journal, store: ObjectStore, anchor: tuple[int, str] | None
) -> None:
    """The ledger verifies, and its bundle is this one, to the byte."""
    for finding in verify_structure(journal, store, anchor=anchor):
        raise IntegrityFailure(
            f"the bundle makes no sound ledger: {finding.code}, {finding.subject}: {finding.text}"
        )
    if expected(journal) != write_manifest(source.manifest):
        raise IntegrityFailure(
            f"{source.folder / MANIFEST} is not what the history in the bundle gives: get it again"
        )


def _place(folder: LedgerFolder, journal: Journal, base: str) -> None:
    """Note where the base lies here; that it is the base is checked when it is used."""
    found = locate(base, revision=journal.model().revision if not Path(base).exists() else None)
    if found.id not in EMBEDDED:
        write_file(folder.place, canonical_json({"path": str(found.folder)}))


def _replay(folder: LedgerFolder, journal: Journal, store: ObjectStore, author: str) -> None:
    """Fold the head from the base and compare every digest."""
    from ledger.running import replay
    from ledger.workspace import Workspace

    workspace = Workspace(journal, store, folder.cache, author, folder.base_place())
    try:
        view = replay(workspace, journal.history().head, None)
    except BaseMismatch as error:
        raise BaseMismatch(
            f"{error}. Give the base of this bundle with --base, or take it in with --no-replay"
        ) from error
    if not view.matches:
        raise IntegrityFailure("the bundle's head does not fold to its recorded digests")
