"""Where objects lie on disk.

Promise: a path is made only from a checked object id, so no name can leave the store.
Rules: objects at `objects/ab/cdef...` (the id is 64 lower-case hex digits), unfinished writes in
`tmp/`. Nothing here touches the disk.

    layout = Layout(Path("ledger"))
    layout.path(oid)        # ledger/objects/ab/cdef...
"""

import re
import secrets
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from store.errors import ObjectRejected

FANOUT: Final = re.compile(r"[0-9a-f]{2}")
_OID: Final = re.compile(r"[0-9a-f]{64}")


def is_oid(text: str) -> bool:
    """Whether `text` has the form of an object id."""
    return _OID.fullmatch(text) is not None


def check_oid(oid: str) -> str:
    """Return `oid` unchanged when it is 64 lower-case hex digits.

    Raises: ObjectRejected (code "oid") for anything else, whatever its type.
    """
    if isinstance(oid, str) and is_oid(oid):
        return oid
    shown = repr(oid)[:80]
    raise ObjectRejected(
        f"{shown} is not an object id: expected 64 lower-case hex digits", code="oid"
    )


@dataclass(frozen=True)
class Layout:
    """The folders of one store below `root`."""

    root: Path

    @cached_property
    def objects(self) -> Path:
        """Folder of finished objects."""
        return self.root / "objects"

    @cached_property
    def tmp(self) -> Path:
        """Folder of unfinished writes; whatever lies here may be thrown away after a grace time."""
        return self.root / "tmp"

    @staticmethod
    def parts(oid: str) -> tuple[str, str]:
        """The folder below `objects` that holds `oid`, its file there. Raises: ObjectRejected."""
        return check_oid(oid)[:2], oid[2:]

    def fanout(self, oid: str) -> Path:
        """The folder that holds `oid`. Raises: ObjectRejected."""
        return self.objects / self.parts(oid)[0]

    def path(self, oid: str) -> Path:
        """The file of `oid`. Raises: ObjectRejected."""
        return self.objects.joinpath(*self.parts(oid))

    def new_temp(self) -> Path:
        """A path in `tmp` that nobody else uses."""
        return self.tmp / f"{secrets.token_hex(16)}.tmp"
