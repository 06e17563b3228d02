"""File systems for tests: one that fails on demand, one that records, and a model of power cuts.

Promise: `FaultyFs` raises at the k-th call (once, from then on, or after the effect); `RecordingFs`
lists every effect; `crash_states` lists what a disk may hold if power fails after each effect.
Rules of the model: file data is durable after fsync of the file, a name after fsync of its folder;
before that each effect may be there or not, in any combination, and data may be torn.

    fs = RecordingFs()
    ObjectStore(root, fs).put(b"x")
    for disk in crash_states(fs.effects): ...      # {path: bytes}
"""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from store.filesystem import Filesystem

OPERATIONS = (
    "mkdir", "open_excl", "write", "pwrite", "copy", "link", "fsync", "rename", "fsync_dir",
    "unlink", "rmdir", "touch",
)  # fmt: skip


class FaultyFs(Filesystem):
    """Raises `fault` at call number `at` (from 1).

    mode: "once", "forever" (that call and all later ones) or "after" (the effect takes place, then
    the error is raised; a created file is the exception, since its descriptor would be lost).
    """

    def __init__(self, at: int = 0, fault: BaseException | None = None, mode: str = "once") -> None:
        self.at, self.fault, self.mode = at, fault, mode
        self.calls: list[str] = []

    def __getattribute__(self, name: str):
        method = super().__getattribute__(name)
        if name not in OPERATIONS:
            return method
        return lambda *args: self._call(name, method, args)

    def _call(self, name: str, method: Callable, args: tuple):
        self.calls.append(name)
        count = len(self.calls)
        due = self.fault is not None and (
            count == self.at or (self.mode == "forever" and count > self.at > 0)
        )
        if due and self.mode == "after" and name != "open_excl":
            method(*args)
        if due:
            raise self.fault
        return method(*args)

    @property
    def fired(self) -> bool:
        """Whether the fault has been raised."""
        return self.fault is not None and 0 < self.at <= len(self.calls)


@dataclass(frozen=True)
class Effect:
    """One recorded call; `data` is the whole content of the file after it."""

    kind: str
    path: Path
    other: Path | None = None
    data: bytes = b""


class RecordingFs(Filesystem):
    """Does everything and writes it down; `skip(kind, path)` drops a sync like a bug would."""

    def __init__(self, skip: Callable[[str, Path], bool] = lambda kind, path: False) -> None:
        self.effects: list[Effect] = []
        self.skip = skip
        self._paths: dict[int, Path] = {}

    def _note(self, kind: str, path: Path, other: Path | None = None, data: bytes = b"") -> None:
        if not self.skip(kind, path):
            self.effects.append(Effect(kind, path, other, data))

    def commit(self, *paths: Path) -> None:
        """The database's COMMIT of rows that need these files."""
        for path in paths:
            self._note("commit", path)

    def mkdir(self, path):
        new = not path.exists()
        super().mkdir(path)
        if new:
            self._note("mkdir", path)

    def open_excl(self, path, mode):
        fd = super().open_excl(path, mode)
        self._paths[fd] = path
        self._note("create", path)
        return fd

    def write(self, fd, data):
        taken = super().write(fd, data)
        return self._written(fd, taken)

    def pwrite(self, fd, data, offset):
        taken = super().pwrite(fd, data, offset)
        return self._written(fd, taken)

    def copy(self, source, fd):
        taken = super().copy(source, fd)
        return self._written(fd, taken)

    def _written(self, fd: int, taken: int) -> int:
        self._note("data", self._paths[fd], data=self._paths[fd].read_bytes())
        return taken

    def fsync(self, fd):
        super().fsync(fd)
        self._note("fsync", self._paths[fd])

    def rename(self, source, target):
        super().rename(source, target)
        self._note("rename", source, target)

    def fsync_dir(self, path):
        super().fsync_dir(path)
        self._note("fsync_dir", path)

    def unlink(self, path):
        super().unlink(path)
        self._note("unlink", path)

    def rmdir(self, path):
        super().rmdir(path)
        self._note("unlink", path)


@dataclass
class _Node:
    """A file's contents since its last sync (first = durable), or a folder (contents None)."""

    contents: list[bytes] | None


@dataclass
class _Disk:
    """Names as seen by programs, and the changes of names that are not durable yet."""

    live: dict[Path, _Node] = field(default_factory=dict)
    durable: dict[Path, _Node] = field(default_factory=dict)
    pending: list[tuple[Path, _Node | None]] = field(default_factory=list)
    committed: list[Path] = field(default_factory=list)

    def apply(self, effect: Effect) -> None:
        getattr(self, "_" + effect.kind)(effect)

    def _set(self, path: Path, node: _Node | None) -> None:
        if node is None:
            self.live.pop(path, None)
        else:
            self.live[path] = node
        self.pending.append((path, node))

    def _mkdir(self, effect: Effect) -> None:
        self._set(effect.path, _Node(None))

    def _create(self, effect: Effect) -> None:
        self._set(effect.path, _Node([b""]))

    def _data(self, effect: Effect) -> None:
        self.live[effect.path].contents.append(effect.data)

    def _fsync(self, effect: Effect) -> None:
        node = self.live[effect.path]
        node.contents = node.contents[-1:]

    def _rename(self, effect: Effect) -> None:
        moved = {effect.path: effect.other}
        moved |= {
            p: effect.other / p.relative_to(effect.path)
            for p in self.live
            if effect.path in p.parents
        }
        # What lies below a renamed folder moves with it, whether its names are durable or not.
        below = {p: q for p, q in moved.items() if p != effect.path}
        self.live.update({q: self.live.pop(p) for p, q in below.items()})
        self.durable = {below.get(p, p): n for p, n in self.durable.items()}
        self.pending = [(below.get(p, p), n) for p, n in self.pending]
        node = self.live[effect.path]
        self._set(effect.path, None)
        self._set(effect.other, node)

    def _fsync_dir(self, effect: Effect) -> None:
        rest = []
        for path, node in self.pending:
            if path.parent != effect.path:
                rest.append((path, node))
            elif node is None:
                self.durable.pop(path, None)
            else:
                self.durable[path] = node
        self.pending = rest

    def _unlink(self, effect: Effect) -> None:
        self._set(effect.path, None)

    def _commit(self, effect: Effect) -> None:
        self.committed.append(effect.path)


@dataclass(frozen=True)
class CrashState:
    """What is found after power returns: files by path, and the files that committed rows need."""

    files: dict[Path, bytes]
    committed: tuple[Path, ...]


def crash_states(
    effects: Iterable[Effect], roots: tuple[Path, ...], ignore: Callable[[Path], bool]
) -> Iterator[CrashState]:
    """Every state after every prefix: all subsets of unsynced names, all versions of unsynced data.

    `roots` exist from the beginning; names for which `ignore` holds are left out of the choice.
    """
    disk = _Disk()
    yield from _states_now(disk, roots, ignore)
    for effect in effects:
        disk.apply(effect)
        yield from _states_now(disk, roots, ignore)


def _states_now(
    disk: _Disk, roots: tuple[Path, ...], ignore: Callable[[Path], bool]
) -> Iterator[CrashState]:
    pending = [(path, node) for path, node in disk.pending if not ignore(path)]
    for chosen in itertools.product((False, True), repeat=len(pending)):
        names = dict(disk.durable)
        for (path, node), there in zip(pending, chosen, strict=True):
            if there:
                names[path] = node
        seen = {
            p: n
            for p, n in names.items()
            if n is not None and not ignore(p) and _reachable(p, names, roots)
        }
        files = [p for p, n in seen.items() if n.contents is not None]
        for contents in itertools.product(*(_versions(seen[p].contents) for p in files)):
            yield CrashState(dict(zip(files, contents, strict=True)), tuple(disk.committed))


def _reachable(path: Path, names: dict[Path, _Node | None], roots: tuple[Path, ...]) -> bool:
    """Whether every folder above has a name on the disk."""
    return path.parent in roots or (
        names.get(path.parent) is not None and _reachable(path.parent, names, roots)
    )


def _versions(contents: list[bytes]) -> list[bytes]:
    """What may be read: durable data; else also each later version, torn or zeros."""
    if len(contents) == 1:
        return contents
    last = contents[-1]
    torn = [last[: len(last) // 2], bytes(len(last))]
    return list(dict.fromkeys([*contents, *torn]))


def open_descriptors() -> int:
    """How many files this process has open."""
    return len(os.listdir("/proc/self/fd"))


def materialise(state: CrashState, old: Path, new: Path) -> None:
    """Write the files of a state below `old` to the same places below `new`."""
    for path, data in state.files.items():
        target = new / path.relative_to(old)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
