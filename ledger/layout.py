"""Where a ledger keeps its things, and how it is found from a sub-folder.

Promise: pure paths; nothing is created by looking.

Rules: a folder is a ledger if it holds `ledger.db`, or `ledger.url`, one line with the address of a
schema on a PostgreSQL server; objects lie in `objects/`, what can be made
again in `cache/`. The search goes from the current folder upwards, as git's does.

    LedgerFolder.find(None).root
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ledger.address import is_server
from ledger.errors import InvalidInput, NoLedger
from store.canonical import strict_json
from store.errors import CanonicalError

DATABASE = "ledger.db"
ADDRESS = "ledger.url"
PLACE = "base.json"
VARIABLE = "KEL_LEDGER"


@dataclass(frozen=True)
class LedgerFolder:
    """The folder of one ledger."""

    root: Path

    @property
    def database(self) -> Path | str:
        """The database file, or the address of the schema on a server.

        Raises: InvalidInput if the address cannot be read.
        """
        if not self.address.exists():
            return self.file
        try:
            url = self.address.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"cannot read {self.address}: {error}") from error
        if not is_server(url):
            raise InvalidInput(f"{self.address} does not hold an address postgresql://...")
        return url

    @property
    def file(self) -> Path:
        """The database file of a ledger that keeps one."""
        return self.root / DATABASE

    @property
    def address(self) -> Path:
        """Where the address of a database on a server is written."""
        return self.root / ADDRESS

    @property
    def is_ledger(self) -> bool:
        """Whether there is a ledger in this folder."""
        return self.file.is_file() or self.address.is_file()

    @property
    def objects_root(self) -> Path:
        """The folder the object store lives in."""
        return self.root

    @property
    def cache(self) -> Path:
        """What can be deleted at any time."""
        return self.root / "cache"

    @property
    def place(self) -> Path:
        """Where the base lies on this machine, if the ledger was made on another one."""
        return self.root / PLACE

    def base_place(self) -> Path | None:
        """What `place` says. Raises: InvalidInput if it cannot be read."""
        if not self.place.exists():
            return None
        try:
            return Path(strict_json(self.place.read_bytes())["path"])
        except (OSError, CanonicalError, LookupError, TypeError) as error:
            raise InvalidInput(f"{self.place} does not say where the base is ({error})") from error

    @classmethod
    def find(cls, directory: Path | None) -> Self:
        """The ledger at `directory`, else at KEL_LEDGER, else in or above the current folder.

        Raises: NoLedger.
        """
        named = directory or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
        if named is not None:
            if cls(named).is_ledger:
                return cls(named.resolve())
            raise NoLedger(f"{named} is not a ledger; create one with `kel init {named}`")
        here = Path.cwd()
        for folder in (here, *here.parents):
            if cls(folder).is_ledger:
                return cls(folder)
        raise NoLedger(f"no ledger in {here} or above; create one with `kel init`")
