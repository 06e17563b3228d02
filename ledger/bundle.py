"""A bundle: the ledger itself as a release. Its history, its objects, its manifest; not the base.

Promise: everything in it follows from the rows of the ledger, so a ledger made from a bundle gives
the same bundle again, and whatever was changed, added, left out or moved is refused.
Rules: always the whole history, so always the head; of the store only the recorded objects.

    export_bundle(journal, store, Path("bundle"))
    expected(journal) == (bundle / "kel.json").read_bytes()      # of a ledger made from it
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ledger.cards import model_card
from ledger.errors import Conflict, InvalidInput
from ledger.journal import Journal
from ledger.manifest import CARD, MANIFEST, Json, write_manifest
from ledger.release import describe
from ledger.released import ExportView
from ledger.transfer import lines
from store.objects import ObjectStore
from store.staging import Stage, staging

HISTORY: Final = "ledger.jsonl"
OBJECTS: Final = "objects"
MOST_BYTES: Final = 10_000_000_000


def object_name(oid: str) -> str:
    """The name of an object in a bundle."""
    return f"{OBJECTS}/{oid[:2]}/{oid[2:]}"


def export_bundle(journal: Journal, store: ObjectStore, version: int, target: Path) -> ExportView:
    """Write the whole ledger into the new folder `target`.

    Raises: InvalidInput for a version that is not the head, or a ledger with accounts;
    ObjectError for an object that is not as recorded; StoreWriteError.
    """
    head = journal.history().head
    if version != head:
        raise InvalidInput(
            f"a bundle is the whole ledger, so its version is the head, {head}, and not {version}"
        )
    manifest = _manifest(journal)
    card = model_card(manifest).encode()
    with staging(target) as stage:
        stage.write(CARD, card)
        files = {CARD: _entry(card), HISTORY: _write_history(journal, stage)}
        for oid in sorted(journal.reachable()):
            data = store.get(oid)
            stage.write(object_name(oid), data)
            files[object_name(oid)] = {"size": len(data), "sha256": oid}
        data = write_manifest(manifest | {"files": files})
        stage.write(MANIFEST, data)
        if expected(journal) != data:
            raise Conflict("the ledger changed while its bundle was written; export it again")
    return ExportView(
        directory=str(target),
        version=head,
        rewritten=(),
        weights_digest=manifest["weights_digest"],
        bytes=len(data) + sum(entry["size"] for entry in files.values()),
        form="bundle",
        merkle_root=manifest["merkle_root"],
    )


def expected(journal: Journal) -> bytes:
    """The `kel.json` of the bundle of a ledger, from its rows alone."""
    manifest = _manifest(journal)
    files = {CARD: _entry(model_card(manifest).encode()), HISTORY: _history_entry(journal)}
    with journal.database.read() as snapshot:
        for row in snapshot.stream("SELECT oid, size FROM object ORDER BY oid"):
            files[object_name(row["oid"])] = {"size": row["size"], "sha256": row["oid"]}
    return write_manifest(manifest | {"files": files})


def _manifest(journal: Journal) -> Json:
    last = journal.last_entry()
    manifest = describe(journal, journal.history().head, form="bundle")
    return manifest | {"bundle": {"head": {"seq": last.seq, "hash": last.hash}}}


def _entry(data: bytes) -> Json:
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _history_entry(journal: Journal) -> Json:
    size, hasher = 0, hashlib.sha256()
    for line in _lines(journal):
        hasher.update(line)
        size += len(line)
    return {"size": size, "sha256": hasher.hexdigest()}


def _write_history(journal: Journal, stage: Stage) -> Json:
    """Write the history; what is listed of it is computed from what is written."""
    data = b"".join(_lines(journal))
    stage.write(HISTORY, data)
    return _entry(data)


def _lines(journal: Journal) -> Iterator[bytes]:
    with journal.database.read() as snapshot:
        yield from lines(snapshot)
