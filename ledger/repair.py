"""Putting back what a ledger lost: objects from a copy of the store, and where its base lies.

Promise: an object is only put back with the very bytes that are recorded, a base only named after
every byte of it was compared; nothing is removed, no row is written, what is whole is left alone.

Rules: a copy is any folder that holds `objects/`: a backup, another copy of the ledger, a bundle.
What verification does not miss is not read from the copy.

    put_back(journal, store, Path("backups"))          # (put back, lost there too)
    place_base(folder, journal.model(), Path("models/llama"))
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.base import EMBEDDED, check
from ledger.errors import InvalidInput
from ledger.layout import LedgerFolder
from ledger.reader import Reader
from ledger.records import ModelRecord
from ledger.verify import verify_structure
from store.atomic import write_file
from store.canonical import canonical_json
from store.errors import ObjectCorrupt, ObjectMissing
from store.objects import ObjectStore

_DAMAGED: Final = frozenset({"object.missing", "object.corrupt"})


@dataclass(frozen=True)
class RepairView:
    """Objects that were put back, those that the copy does not hold whole, the base's new place."""

    repaired: tuple[str, ...]
    lost: tuple[str, ...]
    base: str | None


def put_back(
    journal: Reader, store: ObjectStore, copy: Path
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Take every recorded object that is missing or damaged from a copy.

    Returns: the names of those put back, and of those that are lost there too.
    Raises: InvalidInput if it is no copy of a store, StoreReadError, StoreWriteError.
    """
    source = ObjectStore(Path(copy))
    if not source.layout.objects.is_dir():
        raise InvalidInput(f"{copy} holds no folder objects/; give the folder that it lies in")
    findings = verify_structure(journal, store)
    damaged = [finding.subject for finding in findings if finding.code in _DAMAGED]
    lost = [oid for oid in damaged if not _taken(oid, source, store)]
    return tuple(oid for oid in damaged if oid not in lost), tuple(lost)


def place_base(folder: LedgerFolder, record: ModelRecord, base: Path) -> str:
    """Note where the base lies on this machine, after all of it was read and compared.

    Raises: InvalidInput for a base that comes with the program, BaseMismatch, CheckpointError.
    """
    if record.base_id in EMBEDDED:
        raise InvalidInput(f"the base {record.base_id} comes with the program; it has no place")
    place = Path(base).expanduser().resolve()
    check(record.config["files"], place, cache=folder.cache / "base.json", trust_dates=False)
    write_file(folder.place, canonical_json({"path": str(place)}))
    return str(place)


def _taken(oid: str, source: ObjectStore, store: ObjectStore) -> bool:
    """Whether the copy has the object, which then is in the store."""
    try:
        data = source.get(oid)
    except (ObjectMissing, ObjectCorrupt):
        return False
    store.put(data)
    return True
