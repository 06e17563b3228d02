"""Which edits a merge carries: three ways, fact by fact. Pure: no database, no model.

Promise: what only one side changed since the common version is taken from that side, be it a new
edit, a newer one or a revert; what both changed to the same end is taken once, from here; what both
changed to different ends is asked.

Rules: a fact is a subject with a prompt, and all its edits go with it: an edit that supersedes
another was computed with the other in place, so the two are never torn apart. Its object is what
its last active edit states.

    united = unite(records, base=(1, 2), ours=(1, 2, 3), theirs=(2, 4), decisions=Decisions())
    united.edits, united.undecided          # frozenset({2, 3, 4}), ()
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ledger.branches import Contradiction
from ledger.errors import InvalidInput
from ledger.facts import fact_key
from ledger.records import EditRecord

Key = tuple[str, str]
Records = Mapping[int, EditRecord]
OURS, THEIRS = "ours", "theirs"


@dataclass(frozen=True)
class Decisions:
    """Who is right where both sides changed a fact: the edits in `take`, and else a side."""

    take: frozenset[int] = frozenset()
    rest: str | None = None


@dataclass(frozen=True)
class United:
    """The edits of both sides together; facts that are undecided are those of this side."""

    edits: frozenset[int]
    contradictions: tuple[Contradiction, ...]

    @property
    def undecided(self) -> tuple[Contradiction, ...]:
        """What nobody decided."""
        return tuple(item for item in self.contradictions if item.chosen is None)


@dataclass(frozen=True)
class _Fact:
    """The edits of one fact at the common version and on both sides, in ledger order."""

    key: Key
    base: tuple[int, ...]
    ours: tuple[int, ...]
    theirs: tuple[int, ...]


def unite(
    records: Records,
    *,
    base: Iterable[int],
    ours: Iterable[int],
    theirs: Iterable[int],
    decisions: Decisions,
) -> United:
    """The active edits of a merge; sets of active edits are given in ledger order.

    Raises: InvalidInput for a decision about what is not in question, or for both sides.
    """
    edits: set[int] = set()
    found: list[Contradiction] = []
    for fact in _facts(records, base, ours, theirs):
        side = _side(records, fact)
        if side is None:
            contradiction = _asked(records, fact, decisions)
            found.append(contradiction)
            side = contradiction.chosen or OURS
        edits.update(fact.ours if side == OURS else fact.theirs)
    asked = {edit for item in found for edit in (item.ours, item.theirs)}
    if unasked := sorted(decisions.take - asked):
        raise InvalidInput(f"edit {unasked[0]} is in no conflict of this merge: nothing to decide")
    return United(frozenset(edits), tuple(found))


def _facts(
    records: Records, base: Iterable[int], ours: Iterable[int], theirs: Iterable[int]
) -> list[_Fact]:
    sides = [_grouped(records, edits) for edits in (base, ours, theirs)]
    keys = dict.fromkeys(key for side in sides for key in side)
    return [_Fact(key, *(side.get(key, ()) for side in sides)) for key in keys]


def _grouped(records: Records, edits: Iterable[int]) -> dict[Key, tuple[int, ...]]:
    found: dict[Key, tuple[int, ...]] = {}
    for edit in edits:
        key = fact_key(records[edit])
        found[key] = (*found.get(key, ()), edit)
    return found


def _side(records: Records, fact: _Fact) -> str | None:
    """The side whose edits stand, or None if both changed the fact to different ends."""
    if fact.ours == fact.base:
        return THEIRS
    if fact.theirs in (fact.base, fact.ours):
        return OURS
    base, ours, theirs = (_object(records, e) for e in (fact.base, fact.ours, fact.theirs))
    if theirs in (base, ours):
        return OURS
    return THEIRS if ours == base else None


def _object(records: Records, edits: tuple[int, ...]) -> str | None:
    return records[edits[-1]].target_new if edits else None


def _asked(records: Records, fact: _Fact, decisions: Decisions) -> Contradiction:
    ours, theirs = (edits[-1] if edits else None for edits in (fact.ours, fact.theirs))
    taken = [side for side, edit in ((OURS, ours), (THEIRS, theirs)) if edit in decisions.take]
    if len(taken) > 1:
        raise InvalidInput(f"edits {ours} and {theirs} state the same fact: take one of them")
    return Contradiction(
        subject=fact.key[0],
        prompt=fact.key[1],
        ours=ours,
        ours_object=_object(records, fact.ours),
        theirs=theirs,
        theirs_object=_object(records, fact.theirs),
        before=_object(records, fact.base),
        chosen=taken[0] if taken else decisions.rest,
    )
