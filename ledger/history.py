"""Which edits a version carries, folded from the entries. Pure: no database, no clock.

Promise: `active(v)` is a function of the entries up to version v and of nothing else.

Rules: version 0 is the base; `apply`, `revert`, `reapply` and `swap` make the next version, every
other entry leaves it. The edits of a swap change sides: the active ones go, the others come. Edits
stand in the order in which they were first applied; an edit that comes back takes its old place,
because the weights are a left fold and the order decides the last bit.

    history = History(journal.entries())
    history.active(history.head)           # (1, 2, 5)
    history.resolve("HEAD~1", tags={})     # 6
    history.after(new_entries).head        # 8
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from ledger.errors import (
    AlreadyActive,
    ChainBroken,
    Conflict,
    InvalidInput,
    NoLedger,
    NotActive,
    UnknownRevision,
)

CHANGING = ("apply", "revert", "reapply", "swap")
_UNDOES = {"apply": "revert", "revert": "reapply", "reapply": "revert", "swap": "swap"}
_REVISION = re.compile(r"(?P<name>[^~]{1,200})(?P<back>~[0-9]{0,9})?")
_NUMBER = re.compile(r"v?[0-9]{1,9}")
_TAG = re.compile(r"\w[\w./+-]{0,99}")


class Logged(Protocol):
    """What the fold needs to know of an entry."""

    @property
    def seq(self) -> int: ...
    @property
    def version(self) -> int: ...
    @property
    def op(self) -> str: ...
    @property
    def edits(self) -> tuple[int, ...]: ...


@dataclass(frozen=True)
class Change:
    """An entry that made a version."""

    seq: int
    version: int
    op: str
    edits: tuple[int, ...]

    @property
    def undone_by(self) -> str:
        """The operation that takes this change back, to be done with the same edits."""
        return _UNDOES[self.op]


def check_tag_name(name: str) -> str:
    """`name`, if it can name a version without being mistaken for a number or HEAD.

    Raises: InvalidInput.
    """
    reserved = name.casefold() in {"head", "base"} or _NUMBER.fullmatch(name)
    if reserved or not _TAG.fullmatch(name):
        raise InvalidInput(
            f"{name!r} cannot be a tag: use letters, digits and . _ / + - (at most 100), "
            "and neither a version number nor HEAD or base."
        )
    return name


class History:
    """The versions of a model, from its entries in order."""

    def __init__(self, entries: Iterable[Logged] = ()) -> None:
        self._changes: tuple[Change, ...] = ()
        self._place: dict[int, int] = {}
        self._active: frozenset[int] = frozenset()
        self._seq = 0
        self._extend(entries)

    def after(self, entries: Iterable[Logged]) -> "History":
        """This history with more entries; this one stays as it is."""
        longer = History()
        longer._changes, longer._place = self._changes, dict(self._place)
        longer._active, longer._seq = self._active, self._seq
        longer._extend(entries)
        return longer

    @property
    def seq(self) -> int:
        """Number of the last entry seen; 0 before the first."""
        return self._seq

    @property
    def head(self) -> int:
        """The current version. Raises: NoLedger before the first entry."""
        if not self._seq:
            raise NoLedger("the ledger has no entries yet; initialise it first.")
        return self._changes[-1].version if self._changes else 0

    @property
    def changes(self) -> tuple[Change, ...]:
        """The entries that made versions 1, 2, ... in order."""
        return self._changes

    def active(self, version: int | None = None) -> tuple[int, ...]:
        """Edit ids of `version` (default: the head) in ledger order. Raises: UnknownRevision."""
        if version is None or version == self.head:
            return self.ordered(self._active)
        active: frozenset[int] = frozenset()
        for change in self._changes[: self.checked(version)]:
            active = step(active, change.op, change.edits)
        return self.ordered(active)

    def parent(self, version: int) -> int:
        """The version before. Raises: UnknownRevision for the base."""
        if self.checked(version) == 0:
            raise UnknownRevision("version 0 is the base and has no parent.")
        return version - 1

    def last_change(self) -> Change:
        """The change that made the head, for undo. Raises: UnknownRevision on the base."""
        if not self._changes:
            raise UnknownRevision("nothing to undo: the head is the base.")
        return self._changes[-1]

    def checked(self, version: int) -> int:
        """`version`, if it exists. Raises: UnknownRevision."""
        if not 0 <= version <= self.head:
            raise UnknownRevision(f"there is no version {version}; the head is {self.head}.")
        return version

    def check(self, op: str, edits: tuple[int, ...]) -> None:
        """Whether `op` may be done with `edits` on the head.

        Raises: InvalidInput, NotActive, AlreadyActive, Conflict.
        """
        if not edits or len(set(edits)) != len(edits):
            raise InvalidInput(f"{op} needs one or more different edits, got {list(edits)}.")
        for edit in edits:
            self._check_one(op, edit)

    def resolve(self, spec: str | int, tags: Mapping[str, int]) -> int:
        """The version that `v3`, `3`, `HEAD`, `HEAD~2`, `base` or a tag (`tag~1`) names.

        Raises: UnknownRevision, with near matches.
        """
        match = _REVISION.fullmatch(str(spec).strip())
        if match is None:
            raise self._unknown(spec, tags)
        back = match["back"]
        steps = int(back[1:] or 1) if back else 0
        version = self._named(match["name"], tags) - steps
        if not 0 <= version <= self.head:
            raise self._unknown(spec, tags)
        return version

    def _named(self, name: str, tags: Mapping[str, int]) -> int:
        if name in tags:
            return tags[name]
        if name in {"HEAD", "@"}:
            return self.head
        if name == "base":
            return 0
        if not _NUMBER.fullmatch(name):
            raise self._unknown(name, tags)
        return int(name.removeprefix("v"))

    def _unknown(self, spec: str | int, tags: Mapping[str, int]) -> UnknownRevision:
        names = [
            *tags,
            "HEAD",
            "base",
            *(f"v{n}" for n in range(max(0, self.head - 99), self.head)),
        ]
        near = difflib.get_close_matches(str(spec)[:200], names, n=3)
        return UnknownRevision(
            f"{str(spec)[:200]!r} names no version; the head is version {self.head}.", near
        )

    def ordered(self, edits: Iterable[int]) -> tuple[int, ...]:
        """Edit ids in ledger order: by the entry that first applied them."""
        return tuple(sorted(edits, key=self._place.__getitem__))

    def _check_one(self, op: str, edit: int) -> None:
        if op == "apply" and edit in self._place:
            raise AlreadyActive(f"edit {edit} was applied before; reapply it if it was reverted.")
        if op == "revert" and edit not in self._active:
            raise NotActive(f"edit {edit} is not active in version {self.head}: nothing to revert.")
        if op == "reapply" and edit in self._active:
            raise AlreadyActive(f"edit {edit} is active in version {self.head} already.")
        if op in ("reapply", "swap") and edit not in self._place:
            raise Conflict(f"edit {edit} was never applied, so it cannot come back.")

    def _extend(self, entries: Iterable[Logged]) -> None:
        fresh: list[Change] = []
        for entry in entries:
            self._accept(entry, len(self._changes) + len(fresh))
            if entry.op in CHANGING:
                fresh.append(Change(entry.seq, entry.version, entry.op, tuple(entry.edits)))
        self._changes += tuple(fresh)

    def _accept(self, entry: Logged, head: int) -> None:
        changing = entry.op in CHANGING
        first = not self._seq
        if (
            entry.seq <= self._seq
            or entry.version != head + changing
            or first != (entry.op == "init")
        ):
            raise ChainBroken(
                f"entry {entry.seq} ({entry.op}, version {entry.version}) cannot follow entry "
                f"{self._seq} (version {head}); run verify."
            )
        if changing:
            self._fold(entry)
        self._seq = entry.seq

    def _fold(self, entry: Logged) -> None:
        try:
            self.check(entry.op, tuple(entry.edits))
        except (Conflict, InvalidInput) as error:
            raise ChainBroken(
                f"entry {entry.seq} cannot {entry.op} edits {list(entry.edits)}; run verify."
            ) from error
        for edit in entry.edits:
            self._place.setdefault(edit, len(self._place))
        self._active = step(self._active, entry.op, entry.edits)


def step(active: frozenset[int], op: str, edits: Iterable[int]) -> frozenset[int]:
    """What is active after `op`."""
    if op == "swap":
        return active ^ frozenset(edits)
    return active - frozenset(edits) if op == "revert" else active | frozenset(edits)
