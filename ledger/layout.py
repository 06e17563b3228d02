"""Where a ledger keeps its things, and how it is found from a sub-folder.

Promise: pure paths; nothing is created by looking.

Rules: a folder is a ledger if it holds `ledger.db`; objects lie in `objects/`, what can be made
again in `cache/`. The search goes from the current folder upwards, as git's does.

    LedgerFolder.find(None).root
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ledger.errors import InvalidInput, NoLedger
from store.canonical import strict_json
from store.errors import CanonicalError

DATABASE = "ledger.db"
PLACE = "base.json"
VARIABLE = "KEL_LEDGER"


@dataclass(frozen=True)
class LedgerFolder:
    """The folder of one ledger."""

    root: Path

    @property
    def database(self) -> Path:
        """The database file."""
        return self.root / DATABASE

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
            if (named / DATABASE).is_file():
                return cls(named.resolve())
            raise NoLedger(f"{named} is not a ledger; create one with `kel init {named}`")
        here = Path.cwd()
        for folder in (here, *here.parents):
            if (folder / DATABASE).is_file():
                return cls(folder)
        raise NoLedger(f"no ledger in {here} or above; create one with `kel init`")
