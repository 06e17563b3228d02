"""An open ledger and its reading verbs; the base class of `ledger.Ledger`.

Promise: opening and reading change nothing, and import neither torch nor numpy nor SQLAlchemy.

    with Ledger.open() as ledger:
        ledger.status().active
"""

from __future__ import annotations

import getpass
import os
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ledger import inspection
from ledger.db import Database
from ledger.facts import FactView, KnownView, expired, facts, known_facts, today
from ledger.journal import Journal
from ledger.layout import LedgerFolder
from ledger.logbook import log
from ledger.proofs import EditRow, ProofView, edit_rows, proof
from ledger.rebasing.views import RebaseView
from ledger.records import EditRecord
from ledger.released import ImportView
from ledger.views import DiffView, EditView, LogView, StatusView
from store.objects import ObjectStore

if TYPE_CHECKING:
    from ledger.access import Access
    from ledger.workspace import Workspace


def default_author() -> str:
    """`KEL_AUTHOR`, else the name of the operating system's user."""
    try:
        return os.environ.get("KEL_AUTHOR") or getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


class OpenedLedger:
    """A ledger folder that is open: its database, its store, its views."""

    def __init__(self, folder: LedgerFolder, *, author: str | None = None) -> None:
        self.folder = folder
        self.author = author or default_author()
        self._database = Database.open(folder.database)
        self.store = ObjectStore(folder.objects_root)
        self.journal = Journal(self._database, self.store)

    # --- opening --------------------------------------------------------------------------------

    @classmethod
    def init(
        cls,
        directory: Path,
        *,
        base: str,
        revision: str | None = None,
        dtype: str | None = None,
        device: str = "cpu",
        probes: Path | None = None,
        author: str | None = None,
        seed: int = 0,
        chat_template: bool = False,
        database: str | None = None,
    ) -> Self:
        """Start a ledger on a base: `demo`, a Hub id (with `revision`) or a folder.

        `dtype` is what the model computes in (default: float32 on the CPU, else as stored); the
        weights keep the checkpoint's own dtype. `probes` is a file of prompts for the random
        locality test. With `chat_template` every prompt of the ledger is asked through the chat
        template of the base. `database` is the address of a PostgreSQL server (`postgresql://...`)
        that keeps the tables in place of a file. Raises: InvalidInput, Conflict (there is a ledger
        already), UnsupportedModel, RemoteFailure.
        """
        from ledger.setup import create

        folder = create(
            directory,
            base=base,
            revision=revision,
            dtype=dtype,
            device=device,
            probes=probes,
            author=author or default_author(),
            seed=seed,
            chat_template=chat_template,
            database=database,
        )
        return cls(folder, author=author)

    @classmethod
    def import_bundle(
        cls,
        bundle: Path,
        directory: Path,
        *,
        base: str | None = None,
        replay: bool = True,
        anchor: Path | None = None,
        author: str | None = None,
    ) -> ImportView:
        """Make the new folder `directory` a ledger from a bundle, after full verification.

        `base` says where the base lies here; with `replay` the head is folded from it and compared.
        `anchor` is another release, whose entry the bundle must hold: an older bundle is refused.
        Raises: InvalidInput, IntegrityFailure, BaseMismatch, StoreWriteError.
        """
        from ledger.importing import import_bundle
        from ledger.manifest import anchor_of

        return import_bundle(
            Path(bundle),
            Path(directory),
            author=author or default_author(),
            base=base,
            replay=replay,
            anchor=None if anchor is None else anchor_of(anchor),
        )

    @classmethod
    def pull(
        cls,
        repo: str,
        directory: Path,
        *,
        revision: str | None = None,
        base: str | None = None,
        replay: bool = True,
        anchor: Path | None = None,
        author: str | None = None,
    ) -> ImportView:
        """As `import_bundle`, of the bundle in a repository. Raises: RemoteFailure, too."""
        from ledger.manifest import anchor_of
        from ledger.pushing import pull

        return pull(
            repo,
            Path(directory),
            revision=revision,
            author=author or default_author(),
            base=base,
            replay=replay,
            anchor=None if anchor is None else anchor_of(anchor),
        )

    @classmethod
    def open(cls, directory: Path | None = None, *, author: str | None = None) -> Self:
        """Open the ledger at `directory`, else KEL_LEDGER, else the nearest one upwards.

        Raises: NoLedger, SchemaError, IntegrityFailure.
        """
        return cls(LedgerFolder.find(directory), author=author)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @cached_property
    def workspace(self) -> Workspace:
        """The opened base and the live model; made when a verb needs it."""
        from ledger.workspace import Workspace

        place = self.folder.base_place()
        return Workspace(self.journal, self.store, self.folder.cache, self.author, place)

    @cached_property
    def access(self) -> Access:
        """Accounts, sessions, tokens and proposals of the application."""
        from ledger.access import Access

        return Access(self.journal)

    # --- reading --------------------------------------------------------------------------------

    def status(self) -> StatusView:
        """Where the ledger stands."""
        view, place = inspection.status(self.journal, self.folder.root), self.folder.base_place()
        view = replace(view, expired=expired(self.journal, today()))
        return view if place is None else replace(view, base=replace(view.base, path=str(place)))

    def tips(self) -> dict[str, int]:
        """The branches: name -> last version."""
        return dict(self.journal.lines().tips)

    def log(
        self, limit: int | None = None, branch: str | None = None, before: int = 0
    ) -> list[LogView]:
        """The history, newest first; with `branch`, what was recorded on it; with `before`, from
        the entry under that number on."""
        return log(self.journal, limit, branch, before)

    def show(self, ref: str) -> EditView:
        """One edit by number or hash prefix. Raises: UnknownRevision."""
        return inspection.show(self.journal, self.store, ref)

    def edits(self, after: int = 0, limit: int = 100) -> list[EditRow]:
        """The edits with numbers above `after`, rejected ones too, by number."""
        return edit_rows(self.journal, after, limit)

    def stating(self, subject: str, prompt: str) -> EditRecord | None:
        """The edit that states a fact at the head, if one does."""
        return inspection.stating(self.journal, subject, prompt)

    def proof(self, ref: str, at: str = "HEAD") -> ProofView:
        """That a version carries an edit, as a Merkle path. Raises: UnknownRevision, NotActive."""
        return proof(self.journal, ref, self.resolve(at))

    def diff(self, old: str, new: str) -> DiffView:
        """What changed between two versions. Raises: UnknownRevision."""
        return inspection.diff(self.journal, old, new)

    def facts(
        self,
        at: str = "HEAD",
        search: str | None = None,
        *,
        only: str | None = None,
        on: str | None = None,
    ) -> list[FactView]:
        """What a version carries, as facts; `only` what is `current` or `expired` on the day `on`.

        Raises: UnknownRevision, InvalidInput, InvalidRequest (a day that is none).
        """
        return facts(self.journal, self.resolve(at), search, only=only, on=on)

    def known_facts(self, at: str = "HEAD", search: str | None = None) -> list[KnownView]:
        """What the base states itself of the facts it was rebased for, and no edit carries."""
        return known_facts(self.journal, self.resolve(at), search)

    def rebase_place(self, onto: str, revision: str | None = None) -> Path:
        """The folder of a rebase that none was named for: beside this one."""
        from ledger.rebasing.place import default_place

        return default_place(self.folder.root, onto, revision)

    def rebase_report(self) -> RebaseView:
        """What became of the facts of the ledger that this one was rebased from.

        Raises: InvalidInput if no rebase made this ledger.
        """
        from ledger.rebasing.report import report

        return report(self.journal, self.folder.root)

    def tags(self) -> dict[str, int]:
        """Tag name -> version."""
        return self.journal.tags()

    def resolve(self, spec: str) -> int:
        """The version that `v3`, `3`, `HEAD~1`, `base`, a tag or a branch names.

        Raises: UnknownRevision.
        """
        return self.journal.lines().resolve(spec, self.journal.tags())
