"""Which version a deployed checkpoint is: bit for bit, or by the edits it carries.

Promise: a version is named `by digest` only if every tensor of the base is there, every tensor that
the version does not touch has the base's bytes, and every other one has the recorded digest.

    likeness = compare(workspace, deployed)
    likeness.versions, likeness.proven("model.layers.3.mlp.down_proj.weight")
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from ledger.auditing.deployed import Deployed
from ledger.auditing.matrices import Stored, digest, same
from ledger.auditing.verdicts import ERRORS, NEAR
from ledger.auditing.views import IdentityView
from ledger.weights import NAMES
from ledger.workspace import Workspace


@dataclass(frozen=True)
class Likeness:
    """Tensors of the base that are there bit for bit; parameter -> versions with its very bits;
    the versions that the whole checkpoint is."""

    alike: frozenset[str]
    matching: Mapping[str, tuple[int, ...]]
    versions: tuple[int, ...]


@dataclass(frozen=True)
class Joint:
    """What nearly collinear changes hold together, and its standard error.

    members: the edits of each change and what it is in units of the first.
    """

    members: tuple[tuple[tuple[int, ...], float], ...]
    total: float
    error: float

    def fits(self, active: Set[int]) -> bool:
        """Whether a version with these edits would hold as much."""
        wanted = sum(unit for edits, unit in self.members if active & {*edits})
        return abs(self.total - wanted) <= max(NEAR, ERRORS * self.error)


def compare(workspace: Workspace, deployed: Deployed) -> Likeness:
    """Walk all tensors of the base once, in blocks of rows."""
    versions = workspace.versions
    parameters = {versions.key(p): p for p in workspace.journal.base_tensors()}
    recorded = _recorded(workspace, list(parameters.values()))
    alike, matching = set[str](), dict[str, tuple[int, ...]]()
    whole = set(range(workspace.journal.history().head + 1)) if not deployed.extra else set[int]()
    for name in versions.checkpoint.names():
        found = deployed.tensor(name)
        if found is not None and same(found, Stored.of(versions.checkpoint, name)):
            alike.add(name)
        if name in parameters:
            sha = digest(found) if found is not None and found.dtype in NAMES else ""
            matching[parameters[name]] = recorded[parameters[name]].get(sha, ())
            whole &= set(matching[parameters[name]])
        elif name not in alike:
            whole = set()
    return Likeness(frozenset(alike), matching, tuple(sorted(whole)))


def _recorded(workspace: Workspace, parameters: list[str]) -> dict[str, dict[str, tuple[int, ...]]]:
    """Parameter -> digest -> the versions that have it."""
    journal = workspace.journal
    untouched = {name: row.sha256 for name, row in journal.base_tensors().items()}
    found: dict[str, dict[str, list[int]]] = {name: {} for name in parameters}
    entries = {entry.version: entry for entry in reversed(journal.entries())}
    for version, entry in sorted(entries.items()):
        for name in parameters:
            sha = entry.tensors.get(name, untouched[name])
            found[name].setdefault(sha, []).append(version)
    return {p: {sha: tuple(v) for sha, v in shas.items()} for p, shas in found.items()}


def identify(
    workspace: Workspace,
    checkpoint: str,
    likeness: Likeness,
    present: Iterable[int] = (),
    unclear: Iterable[int] = (),
    joint: Sequence[Joint] = (),
    verdict: str = "clean",
) -> IdentityView:
    """The versions by digest, else those with exactly these edits, else the nearest.

    Of the edits that are `unclear` one by one, those of a `joint` sum count by that.
    """
    history = workspace.journal.history()
    names = {version: name for name, version in workspace.journal.tags().items()}
    if likeness.versions:
        tags = tuple(names[v] for v in likeness.versions if v in names)
        return IdentityView(checkpoint, "digest", likeness.versions, tags)
    doubt, carried = set(unclear), set(present)
    sets = {v: set(history.active(v)) for v in range(history.head + 1)}
    away = {
        v: len((active - doubt) ^ carried) + sum(not sums.fits(active) for sums in joint)
        for v, active in sets.items()
    }
    least = min(away.values())
    nearest = tuple(v for v, distance in away.items() if distance == least)
    chosen = nearest if least == 0 else nearest[-1:]
    active = sets[chosen[-1]] - doubt
    return IdentityView(
        checkpoint=checkpoint,
        by="regression" if least == 0 else "nearest",
        versions=chosen,
        tags=tuple(names[v] for v in chosen if v in names),
        more=tuple(sorted(carried - active)),
        less=tuple(sorted(active - carried)),
        unclear=tuple(sorted(doubt)),
        verdict=verdict,
    )
