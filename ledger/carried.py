"""The changes of a history and the edits it carries, so that one more costs what the first did.

Promise: a value that was grown from another leaves it as it was, and shares with it all but the
last few changes.

Rules: an edit has a place from its first change on, and every change turns its edits to the other
side: those that are carried go, the others come. What was added lately is kept beside what is
settled, and settled with it when it is `MANY` changes.

    carried = Carried()
    carried.add(Change(2, 1, "apply", (1, 2)))
    longer = carried.copy()                  # to be added to
    longer.edits, longer.changes             # frozenset({1, 2}), (Change(...),)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple

MANY: Final = 512
_UNDOES: Final = MappingProxyType(
    {"apply": "revert", "revert": "reapply", "reapply": "revert", "swap": "swap"}
)


class Change(NamedTuple):
    """An entry that made a version; the payload is known of those about branches (`BRANCHING`)."""

    seq: int
    version: int
    op: str
    edits: tuple[int, ...]
    payload: Mapping[str, Any] = MappingProxyType({})

    @property
    def undone_by(self) -> str:
        """The operation that takes this change back, to be done with the same edits."""
        return _UNDOES[self.op]


@dataclass(frozen=True)
class _Settled:
    """What is shared and never changed again; `place`: in which order the edits first came."""

    changes: tuple[Change, ...] = ()
    place: Mapping[int, int] = field(default_factory=dict)
    edits: frozenset[int] = frozenset()


class Carried:
    """Changes in order, and the edits carried after them."""

    def __init__(self, settled: _Settled | None = None) -> None:
        self._settled = settled or _Settled()
        self._late: list[Change] = []
        self._place: dict[int, int] = {}
        self._turned: set[int] = set()

    def copy(self) -> Carried:
        """The same, to go on with."""
        other = Carried(self._settled)
        other._late, other._place = [*self._late], dict(self._place)
        other._turned = set(self._turned)
        return other

    def add(self, change: Change) -> None:
        """One change more: its edits turn to the other side."""
        known, place, turned = self._settled.place, self._place, self._turned
        for edit in change.edits:
            if edit not in known and edit not in place:
                place[edit] = len(known) + len(place)
            if edit in turned:
                turned.remove(edit)
            else:
                turned.add(edit)
        self._late.append(change)

    def settle(self) -> None:
        """Take the late changes in, if they are many."""
        if len(self._late) < MANY:
            return
        place = {**self._settled.place, **self._place}
        self._settled = _Settled(self.changes, place, self.edits)
        self._late, self._place, self._turned = [], {}, set()

    @property
    def changes(self) -> tuple[Change, ...]:
        """All changes."""
        return (*self._settled.changes, *self._late) if self._late else self._settled.changes

    @property
    def count(self) -> int:
        """How many changes there are."""
        return len(self._settled.changes) + len(self._late)

    @property
    def edits(self) -> frozenset[int]:
        """The edits that are carried."""
        return self._settled.edits ^ self._turned if self._turned else self._settled.edits

    def holds(self, edit: int) -> bool:
        """Whether an edit is carried."""
        return (edit in self._settled.edits) != (edit in self._turned)

    def met(self, edit: int) -> bool:
        """Whether an edit was ever carried."""
        return edit in self._settled.place or edit in self._place

    def ordered(self, edits: Iterable[int]) -> tuple[int, ...]:
        """Edits by the change that first brought them."""
        old, new = self._settled.place, self._place
        return tuple(sorted(edits, key=lambda edit: old[edit] if edit in old else new[edit]))

    def after(self, count: int) -> frozenset[int]:
        """The edits that were carried after the first `count` changes; the shorter way there."""
        changes = self.changes
        ahead = 2 * count > len(changes)
        found = set(self.edits) if ahead else set[int]()
        for change in changes[count:] if ahead else changes[:count]:
            found.symmetric_difference_update(change.edits)
        return frozenset(found)


def without(edits: Iterable[int], others: Iterable[int]) -> tuple[int, ...]:
    """The edits that are not among the others, in their order."""
    left_out = set(others)
    return tuple(edit for edit in edits if edit not in left_out)
