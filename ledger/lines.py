"""Branches: names for lines of versions. Pure: no database, no clock.

Promise: which branch a version is on, and which version it came from, follow from the entries.

Rules: versions are numbered along the one history, whatever the branch. A version belongs to the
branch that was current when it was made; the first branch is `main`. The version before it is the
last one of its branch, or where the branch begins. A merge comes from two versions. A version that
restores another comes from that one alone, so that a merge that was taken back can be made again.
Versions in a row on one branch are kept as one run, so that there is little to keep.

    lines = journal.history().lines
    lines.current, lines.tips                 # 'main', {'main': 7, 'trial': 5}
    lines.before(7), lines.common(7, 5)       # 6, 4
    lines.resolve("HEAD~1", tags={})          # 6
"""

import difflib
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ledger.errors import Conflict, InvalidInput, UnknownRevision

MAIN = "main"
_REVISION = re.compile(r"(?P<name>[^~]{1,200})(?P<back>~[0-9]{0,9})?")
_NUMBER = re.compile(r"v?[0-9]{1,9}")
_NAME = re.compile(r"\w[\w./+-]{0,99}")


def check_tag_name(name: str, kind: str = "tag") -> str:
    """`name`, if it can name a version without being mistaken for a number or HEAD.

    Raises: InvalidInput.
    """
    reserved = name.casefold() in {"head", "base"} or _NUMBER.fullmatch(name)
    if reserved or not _NAME.fullmatch(name):
        raise InvalidInput(
            f"{name!r} cannot be a {kind}: use letters, digits and . _ / + - (at most 100), "
            "and neither a version number nor HEAD or base."
        )
    return name


class Step(Protocol):
    """What the branches need to know of an entry about them."""

    @property
    def op(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def payload(self) -> Mapping[str, Any]: ...


class Lines:
    """The branches after some entries: `tips` is the last version of each, `current` one name."""

    def __init__(self) -> None:
        self.current = MAIN
        self.tips: dict[str, int] = {MAIN: 0}
        self._runs = [_Run(0, MAIN, 0)]
        self._from: dict[int, tuple[int, ...]] = {0: ()}
        self._single = True

    @classmethod
    def of(cls, steps: Iterable[Step], head: int) -> "Lines":
        """The branches at version `head`, from the entries about branches alone, in order."""
        lines = cls()
        for step in steps:
            if step.op == "branch":
                lines.tips[lines.current] = step.version
                lines.named(step.payload)
            else:
                lines.tips[lines.current] = step.version - 1
                lines.grown(step.op, step.version, step.payload)
        lines.tips[lines.current] = head
        return lines

    def copy(self) -> "Lines":
        """The same, to go on with."""
        other = Lines()
        other.current, other.tips, other._single = self.current, dict(self.tips), self._single
        other._runs, other._from = [*self._runs], dict(self._from)
        return other

    def branch_of(self, version: int) -> str:
        """The branch that a version was made on."""
        return self._run(version).branch

    def before(self, version: int) -> int:
        """The version before on the same line. Raises: UnknownRevision for the base."""
        if version == 0:
            raise UnknownRevision("version 0 is the base and has no parent.")
        run = self._run(version)
        return version - 1 if version > run.first else run.before

    def line(self, version: int) -> tuple[int, ...]:
        """The versions from the base to this one, each with the one before it on its line."""
        found: list[range] = []
        while True:
            run = self._run(version)
            found.append(range(run.first, version + 1))
            if run.first == 0:
                return tuple(number for part in reversed(found) for number in part)
            version = run.before

    def ancestors(self, version: int) -> frozenset[int]:
        """All versions that a version came from, and itself."""
        return frozenset().union(*self._way(version))

    def way(self, version: int) -> Callable[[int], bool]:
        """Of any version, whether `version` came from it."""
        parts = [range(version + 1)] if self._single else self._way(version)
        return parts[0].__contains__ if len(parts) == 1 else lambda v: any(v in p for p in parts)

    def came(self, version: int, other: int) -> bool:
        """Whether `version` came from `other`."""
        return other <= version and (self._single or self.way(version)(other))

    def common(self, one: int, other: int) -> int:
        """The newest version that both came from."""
        return max(self.ancestors(one) & self.ancestors(other))

    def tip(self, name: str) -> int:
        """The last version of a branch. Raises: UnknownRevision, with near matches."""
        if name not in self.tips:
            near = difflib.get_close_matches(name[:200], self.tips, n=3)
            raise UnknownRevision(
                f"there is no branch {name[:200]!r}; `kel branch` lists them.", near
            )
        return self.tips[name]

    @property
    def head(self) -> int:
        """The current version."""
        return self.tips[self.current]

    def resolve(self, spec: str | int, tags: Mapping[str, int]) -> int:
        """The version that `v3`, `3`, `HEAD`, `HEAD~2`, `base`, a tag or a branch (`tag~1`) names.

        Raises: UnknownRevision, with near matches.
        """
        match = _REVISION.fullmatch(str(spec).strip())
        if match is None:
            raise self._unknown(spec, tags)
        back = match["back"]
        steps = int(back[1:] or 1) if back else 0
        version = self._named(match["name"], tags)
        if not 0 <= version <= self.head:
            raise self._unknown(spec, tags)
        line = self.line(version) if steps else (version,)
        if steps >= len(line):
            raise self._unknown(spec, tags)
        return line[-1 - steps]

    def _named(self, name: str, tags: Mapping[str, int]) -> int:
        known = {**self.tips, "base": 0, "HEAD": self.head, "@": self.head, **tags}
        if name in known:
            return known[name]
        if not _NUMBER.fullmatch(name):
            raise self._unknown(name, tags)
        return int(name.removeprefix("v"))

    def _unknown(self, spec: str | int, tags: Mapping[str, int]) -> UnknownRevision:
        late = (f"v{n}" for n in range(max(0, self.head - 99), self.head))
        near = difflib.get_close_matches(
            str(spec)[:200], [*tags, *self.tips, "HEAD", "base", *late], n=3
        )
        return UnknownRevision(
            f"{str(spec)[:200]!r} names no version; the head is version {self.head}.", near
        )

    def _run(self, version: int) -> "_Run":
        return self._runs[bisect_right(self._runs, version, key=lambda run: run.first) - 1]

    def _way(self, version: int) -> list[range]:
        """The versions that a version came from, in pieces that may overlap."""
        found: list[range] = []
        waiting = [version]
        while waiting:
            last = waiting.pop()
            if any(last in part for part in found):
                continue
            run = self._run(last)
            joints = [joint for joint in self._from if run.first <= joint <= last]
            first = max(joints, default=run.first)
            found.append(range(first, last + 1))
            waiting.extend(self._from.get(first, (run.before,)))
        return found

    # --- growing ----------------------------------------------------------------------------------

    def check_branch(self, payload: Mapping[str, Any]) -> None:
        """Whether a branch may be opened, or closed (version None).

        Raises: Conflict, UnknownRevision, InvalidInput.
        """
        name, version = named(payload)
        if version is not None:
            check_tag_name(name, "branch")
            if name in self.tips:
                raise Conflict(f"there is a branch {name} already; `kel switch {name}` goes there.")
            if not 0 <= version <= self.tips[self.current]:
                raise UnknownRevision(f"there is no version {version} to begin a branch at.")
        elif name == self.current:
            raise Conflict(f"{name} is the current branch; switch to another one to close it.")
        else:
            self.tip(name)

    def check_move(self, op: str, payload: Mapping[str, Any]) -> None:
        """Whether one may switch to, or merge, what a payload names.

        Raises: Conflict, UnknownRevision, InvalidInput.
        """
        name, version = named(payload)
        if version is None or not 0 <= version <= self.tips[self.current]:
            raise UnknownRevision(f"{op} {name}: there is no version {version}.")
        here = self.head
        if op == "switch":
            if name == self.current:
                raise Conflict(f"{name} is the current branch already.")
            if version != self.tip(name):
                raise Conflict(f"the last version of {name} is {self.tip(name)}, not {version}.")
        elif "undo" in payload:
            if version not in self.line(here):
                raise Conflict(f"version {version} is not on the line of {self.current}.")
        elif self.came(here, version):
            raise Conflict(f"{self.current} came from version {version} of {name} already.")

    def named(self, payload: Mapping[str, Any]) -> None:
        """A branch begins at a version, or has no name any more (None); its versions stay."""
        name, version = named(payload)
        if version is None:
            del self.tips[name]
        else:
            self.tips[name], self._single = version, False

    def grown(self, op: str, version: int, payload: Mapping[str, Any]) -> None:
        """A version was made; a switch makes it on another branch than the one before."""
        if op == "switch":
            self.current = str(payload["name"])
            self._runs.append(_Run(version, self.current, self.tips[self.current]))
        elif op == "merge":
            before, other = self.tips[self.current], int(payload["version"])
            self._from[version] = (other,) if "undo" in payload else (before, other)
        self.tips[self.current] = version


@dataclass(frozen=True)
class _Run:
    """Versions from `first` on, on one branch; `before` is where the branch was until then."""

    first: int
    branch: str
    before: int


def named(payload: Mapping[str, Any]) -> tuple[str, int | None]:
    """Name and version of a payload about a branch. Raises: InvalidInput."""
    name, version = payload.get("name"), payload.get("version")
    if not isinstance(name, str) or not (version is None or type(version) is int):
        raise InvalidInput(f"{payload!r:.200} has not the name and the version of a branch.")
    return name, version
