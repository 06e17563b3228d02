"""Which edits a version carries, folded from the entries. Pure: no database, no clock.

Promise: `active(v)` is a function of the entries up to version v and of nothing else.

Rules: version 0 is the base; `apply`, `revert`, `reapply`, `swap`, `switch` and `merge` make the
next version, every other entry leaves it. The edits of a swap, a switch or a merge change sides:
those that are active go, the others come. Edits stand in the order in which they were first
applied; an edit that comes back takes its old place, because the weights are a left fold and the
order decides the last bit. `~n` goes back along the line of a branch (`ledger.lines`).

    history = History(journal.entries())
    history.active(history.head)           # (1, 2, 5)
    history.lines.resolve("HEAD~1", tags={})         # 6
    history.after(new_entries).head        # 8
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from ledger.carried import Carried, Change
from ledger.errors import (
    AlreadyActive,
    ChainBroken,
    Conflict,
    InvalidInput,
    NoLedger,
    NotActive,
    UnknownRevision,
)
from ledger.lines import Lines, named

MOVING = ("switch", "merge")
TURNING = ("swap", *MOVING)
BRANCHING = ("branch", *MOVING)
CHANGING = ("apply", "revert", "reapply", *TURNING)


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
    @property
    def payload(self) -> Mapping[str, Any]: ...


class History:
    """The versions of a model, from its entries in order."""

    def __init__(self, entries: Iterable[Logged] = ()) -> None:
        self._carried = Carried()
        self._lines = Lines()
        self._parted: dict[str, frozenset[int]] = {}  # of the branches that are not current
        self._seq = 0
        self._extend(entries)

    def after(self, entries: Iterable[Logged]) -> "History":
        """This history with more entries; this one stays as it is."""
        longer = History()
        longer._carried, longer._lines = self._carried.copy(), self._lines.copy()
        longer._seq, longer._parted = self._seq, dict(self._parted)
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
        return self._carried.count

    @property
    def changes(self) -> tuple[Change, ...]:
        """The entries that made versions 1, 2, ... in order."""
        return self._carried.changes

    @property
    def lines(self) -> Lines:
        """The branches."""
        return self._lines

    def active(self, version: int | None = None) -> tuple[int, ...]:
        """Edit ids of `version` (default: the head) in ledger order. Raises: UnknownRevision."""
        if version is None or version == self.head:
            return self.ordered(self._carried.edits)
        return self.ordered(self._carried.after(self.checked(version)))

    def tip(self, name: str) -> frozenset[int]:
        """The edits of a branch's last version. Raises: UnknownRevision."""
        self._lines.tip(name)
        return self._carried.edits if name == self._lines.current else self._parted[name]

    def parent(self, version: int) -> int:
        """The version before on its branch. Raises: UnknownRevision for the base."""
        return self._lines.before(self.checked(version))

    def across(self, active: Iterable[int]) -> tuple[int, ...]:
        """The edits that change sides between the head and a set of active edits."""
        return self.ordered(self._carried.edits ^ frozenset(active))

    def last_change(self) -> Change:
        """The change that made the head, for undo. Raises: UnknownRevision on the base."""
        if not self.changes:
            raise UnknownRevision("nothing to undo: the head is the base.")
        return self.changes[-1]

    def checked(self, version: int) -> int:
        """`version`, if it exists. Raises: UnknownRevision."""
        if not 0 <= version <= self.head:
            raise UnknownRevision(f"there is no version {version}; the head is {self.head}.")
        return version

    def check(
        self, op: str, edits: tuple[int, ...], payload: Mapping[str, Any] | None = None
    ) -> None:
        """Whether `op` may be done with `edits` on the head; `payload`: of one about a branch.

        Raises: InvalidInput, NotActive, AlreadyActive, Conflict, UnknownRevision.
        """
        moving = op in MOVING
        if not (edits or moving) or len(set(edits)) != len(edits):
            raise InvalidInput(f"{op} needs one or more different edits, got {list(edits)}.")
        for edit in edits:
            self._check_one(op, edit)
        if moving:
            self._check_move(op, edits, payload or {})

    def _check_move(self, op: str, edits: tuple[int, ...], payload: Mapping[str, Any]) -> None:
        """A switch leads to its branch, a merge that is taken back to where it began."""
        self._lines.check_move(op, payload)
        wanted = None
        if op == "switch":
            wanted = self.tip(str(payload["name"]))
        elif "undo" in payload:
            wanted = frozenset(self.active(payload["version"]))
        if wanted is not None and wanted != self._carried.edits ^ frozenset(edits):
            raise Conflict(f"{op} {payload['name']} of {list(edits)} does not lead to its edits.")

    def ordered(self, edits: Iterable[int]) -> tuple[int, ...]:
        """Edit ids in ledger order: by the entry that first applied them."""
        return self._carried.ordered(edits)

    def _check_one(self, op: str, edit: int) -> None:
        carried = self._carried
        if op == "apply" and carried.met(edit):
            raise AlreadyActive(f"edit {edit} was applied before; reapply it if it was reverted.")
        if op == "revert" and not carried.holds(edit):
            raise NotActive(f"edit {edit} is not active in version {self.head}: nothing to revert.")
        if op == "reapply" and carried.holds(edit):
            raise AlreadyActive(f"edit {edit} is active in version {self.head} already.")
        if op in ("reapply", *TURNING) and not carried.met(edit):
            raise Conflict(f"edit {edit} was never applied, so it cannot come back.")

    def _extend(self, entries: Iterable[Logged]) -> None:
        for entry in entries:
            self._accept(entry)
            if entry.op in CHANGING:
                self._fold(entry)
            elif entry.op == "branch":
                self._name(entry)
            self._seq = entry.seq
        self._carried.settle()

    def _accept(self, entry: Logged) -> None:
        head, first = self._carried.count, not self._seq
        if (
            entry.seq <= self._seq
            or entry.version != head + (entry.op in CHANGING)
            or first != (entry.op == "init")
        ):
            raise ChainBroken(
                f"entry {entry.seq} ({entry.op}, version {entry.version}) cannot follow entry "
                f"{self._seq} (version {head}); run verify."
            )

    def _fold(self, entry: Logged) -> None:
        edits = tuple(entry.edits)
        payload = entry.payload if entry.op in MOVING else {}
        try:
            self.check(entry.op, edits, payload)
        except (Conflict, InvalidInput, UnknownRevision) as error:
            raise ChainBroken(
                f"entry {entry.seq} cannot {entry.op} edits {list(edits)}; run verify."
            ) from error
        if entry.op == "switch":
            self._parted[self._lines.current] = self._carried.edits
            del self._parted[str(payload["name"])]
        self._lines.grown(entry.op, entry.version, payload)
        if not isinstance(entry, Change):
            entry = Change(entry.seq, entry.version, entry.op, edits, payload)
        self._carried.add(entry)

    def _name(self, entry: Logged) -> None:
        """A branch is opened or closed."""
        try:
            self._lines.check_branch(entry.payload)
        except (Conflict, InvalidInput, UnknownRevision) as error:
            raise ChainBroken(f"entry {entry.seq} names no branch; run verify.") from error
        self._lines.named(entry.payload)
        name, version = named(entry.payload)
        if version is None:
            del self._parted[name]
        else:
            self._parted[name] = self._carried.after(version)


def step(active: frozenset[int], op: str, edits: Iterable[int]) -> frozenset[int]:
    """What is active after `op`."""
    if op in TURNING:
        return active ^ frozenset(edits)
    return active - frozenset(edits) if op == "revert" else active | frozenset(edits)
