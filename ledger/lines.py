"""Branches: names for lines of versions. Pure: no database, no clock.

Promise: which branch a version is on, and which version it came from, follow from the entries.

Rules: versions are numbered along the one history, whatever the branch. A version belongs to the
branch that was current when it was made; the first branch is `main`. The version before it is the
last one of its branch, or where the branch begins. A merge comes from two versions. A version that
restores another comes from that one alone, so that a merge that was taken back can be made again.

    lines = journal.history().lines
    lines.current, lines.tips                 # 'main', {'main': 7, 'trial': 5}
    lines.before(7), lines.common(7, 5)       # 6, 4
"""

import difflib
import re
from collections.abc import Mapping
from typing import Any

from ledger.errors import Conflict, InvalidInput, UnknownRevision

MAIN = "main"
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


class Lines:
    """The branches after some entries: `tips` is the last version of each, `current` one name."""

    def __init__(self) -> None:
        self.current = MAIN
        self.tips: dict[str, int] = {MAIN: 0}
        self._active: dict[str, frozenset[int]] = {MAIN: frozenset()}
        self._branch = [MAIN]
        self._before = [0]
        self._from: dict[int, tuple[int, ...]] = {0: ()}
        self._single = True

    def copy(self) -> "Lines":
        """The same, to go on with."""
        other = Lines()
        other.current, other.tips, other._active = self.current, dict(self.tips), dict(self._active)
        other._branch, other._before = [*self._branch], [*self._before]
        other._from, other._single = dict(self._from), self._single
        return other

    def branch_of(self, version: int) -> str:
        """The branch that a version was made on."""
        return self._branch[version]

    def before(self, version: int) -> int:
        """The version before on the same line. Raises: UnknownRevision for the base."""
        if version == 0:
            raise UnknownRevision("version 0 is the base and has no parent.")
        return self._before[version]

    def line(self, version: int) -> tuple[int, ...]:
        """The versions from the base to this one, each with the one before it on its line."""
        found = [version]
        while found[-1]:
            found.append(self._before[found[-1]])
        return tuple(reversed(found))

    def ancestors(self, version: int) -> frozenset[int]:
        """All versions that a version came from, and itself."""
        found: set[int] = set()
        waiting = [version]
        while waiting:
            number = waiting.pop()
            if number not in found:
                found.add(number)
                waiting.extend(self._from.get(number, (self._before[number],)))
        return frozenset(found)

    def came(self, version: int, other: int) -> bool:
        """Whether `version` came from `other`."""
        return other <= version and (self._single or other in self.ancestors(version))

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

    def active(self, name: str) -> frozenset[int]:
        """The edits of a branch's last version. Raises: UnknownRevision."""
        self.tip(name)
        return self._active[name]

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
            if not 0 <= version < len(self._branch):
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
        if version is None or not 0 <= version < len(self._branch):
            raise UnknownRevision(f"{op} {name}: there is no version {version}.")
        here = self.tips[self.current]
        if op == "switch":
            if name == self.current:
                raise Conflict(f"{name} is the current branch already.")
            if version != self.tip(name):
                raise Conflict(f"the last version of {name} is {self.tip(name)}, not {version}.")
        elif "undo" in payload:
            if version not in self.line(here):
                raise Conflict(f"version {version} is not on the line of {self.current}.")
        elif version in self.ancestors(here):
            raise Conflict(f"{self.current} came from version {version} of {name} already.")

    def opened(self, name: str, version: int, active: frozenset[int]) -> None:
        """A branch begins at a version."""
        self.tips[name], self._active[name] = version, active
        self._single = False

    def closed(self, name: str) -> None:
        """A branch has no name any more; its versions stay."""
        del self.tips[name], self._active[name]

    def grown(
        self, op: str, version: int, active: frozenset[int], payload: Mapping[str, Any]
    ) -> None:
        """A version was made."""
        if op == "switch":
            self.current = str(payload["name"])
        before = self.tips[self.current]
        if op == "merge":
            other = int(payload["version"])
            self._from[version] = (other,) if "undo" in payload else (before, other)
        self._branch.append(self.current)
        self._before.append(before)
        self.tips[self.current], self._active[self.current] = version, active


def named(payload: Mapping[str, Any]) -> tuple[str, int | None]:
    """Name and version of a payload about a branch. Raises: InvalidInput."""
    name, version = payload.get("name"), payload.get("version")
    if not isinstance(name, str) or not (version is None or type(version) is int):
        raise InvalidInput(f"{payload!r:.200} has not the name and the version of a branch.")
    return name, version
