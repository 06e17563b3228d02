"""Edits by the page, and the proof that a version carries one.

Promise: read from the database alone; a proof needs nothing but sha256 to be checked, and leads to
the `merkle_root` that every release of the version names.

    rows = edit_rows(journal, after=0, limit=100)
    found = proof(journal, "3", version=7)
    merkle.climbed(found.hash, found.place, found.count, list(found.path)) == found.root
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ledger import merkle, queries
from ledger.errors import NotActive
from ledger.journal import Journal

State = Literal["active", "reverted", "rejected", "elsewhere"]


@dataclass(frozen=True)
class EditRow:
    """An edit in a list; how it stands on the current branch."""

    id: int
    hash: str
    state: State
    subject: str
    prompt: str
    target_new: str
    target_true: str | None
    batch: int
    created_at: str


@dataclass(frozen=True)
class ProofView:
    """The way from an edit's hash to the Merkle root of a version (RFC 6962, section 2.1).

    `hash` is leaf number `place` of `count`; `path` are the hashes beside the way, from the leaf
    upwards; `entry` is the hash of the entry that made the version, which covers all before it.
    """

    edit: int
    hash: str
    version: int
    place: int
    count: int
    path: tuple[str, ...]
    root: str
    entry: str


def edit_rows(journal: Journal, after: int, limit: int) -> list[EditRow]:
    """The edits with numbers above `after`, at most `limit`; they are numbered without a gap."""
    with journal.database.read() as reading:
        last = queries.next_id(reading, "edit") - 1
        edits = queries.edits(reading, range(after + 1, min(after + limit, last) + 1))
    standing, rejected = journal.standing(edit.id for edit in edits), set(journal.rejected())
    return [
        EditRow(
            id=edit.id,
            hash=edit.hash,
            state="rejected" if edit.id in rejected else standing.state(edit.id),
            subject=edit.subject,
            prompt=edit.prompt,
            target_new=edit.target_new,
            target_true=edit.target_true,
            batch=edit.batch_id,
            created_at=edit.created_at,
        )
        for edit in edits
    ]


def proof(journal: Journal, ref: str, version: int) -> ProofView:
    """That a version carries an edit. Raises: UnknownRevision, NotActive."""
    edit, carried = journal.edit(ref), journal.history().active(version)
    if edit.id not in carried:
        raise NotActive(f"edit {edit.id} is not active in version {version}: nothing to prove.")
    leaves, place = [found.hash for found in journal.edits(carried)], carried.index(edit.id)
    return ProofView(
        edit=edit.id,
        hash=edit.hash,
        version=version,
        place=place,
        count=len(leaves),
        path=tuple(merkle.path(leaves, place)),
        root=merkle.root(leaves),
        entry=journal.entry_of(version).hash,
    )
