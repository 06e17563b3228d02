"""Removing objects that nothing refers to.

Promise: an object that `reachable` names, or that is younger than the grace time, is never
deleted. Rules: the caller holds the database's write lock from before the call until after it, so
nothing can be committed meanwhile; a writer refreshes the time of an object it reuses, and checks
under the same lock that its objects are still there before it commits. Two steps: mark by age and
reachability, then check both again immediately before each deletion. A time in the future is young.

    with database.write() as session:
        collect(store, lambda: referenced(session), grace_seconds=86400, now=time.time)
"""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from store import atomic
from store.errors import StoreError, reading
from store.objects import ObjectStore

Clock = Callable[[], float]


@dataclass(frozen=True)
class Collected:
    """What was deleted, or with dry_run would be: object ids, temporary files, bytes freed."""

    objects: tuple[str, ...]
    temps: tuple[Path, ...]
    bytes: int


def collect(
    store: ObjectStore,
    reachable: Callable[[], set[str]],
    *,
    grace_seconds: float,
    now: Clock,
    dry_run: bool = False,
) -> Collected:
    """Delete unreachable objects and abandoned temporary files older than `grace_seconds`.

    `reachable` is called once to mark and once before each deletion; `now` gives seconds since
    1970 on the clock of the file system.
    Raises: StoreError for a negative grace time, StoreReadError, StoreWriteError (what was deleted
    before stays deleted; repeating is safe).
    """
    if not grace_seconds >= 0:
        raise StoreError(f"grace time {grace_seconds} is not a number of seconds from 0 up")
    rule = _Rule(reachable, grace_seconds, now)
    kept = reachable()
    unreachable = [oid for oid in store.oids() if oid not in kept]
    marked = [oid for oid in unreachable if rule.old(store.path(oid))]
    temps = [path for path in store.temps() if rule.old(path)]
    if not dry_run:
        return _sweep(store, marked, temps, rule)
    sizes = [size for _, size in _sized([*map(store.path, marked), *temps])]
    return Collected(tuple(marked), tuple(temps), sum(sizes))


@dataclass(frozen=True)
class _Rule:
    """What may be deleted now."""

    reachable: Callable[[], set[str]]
    grace_seconds: float
    now: Clock

    def old(self, path: Path) -> bool:
        """Whether the file is past the grace time; a vanished file or a folder is left alone."""
        now, status = self.now(), _status(path)
        return status is not None and now - status.st_mtime >= self.grace_seconds

    def garbage(self, oid: str, path: Path) -> bool:
        """Whether the object may go. Age is read last: a writer may have refreshed it just now."""
        return oid not in self.reachable() and self.old(path)


def _sweep(store: ObjectStore, marked: list[str], temps: list[Path], rule: _Rule) -> Collected:
    objects, removed, freed = [], [], 0
    for oid in marked:
        for path, size in _sized([store.path(oid)]):
            if rule.garbage(oid, path):
                atomic.remove_object(store.layout, oid, store.fs)
                objects.append(oid)
                freed += size
    for path, size in _sized(temps):
        if rule.old(path):
            atomic.remove_temp(path, store.fs)
            removed.append(path)
            freed += size
    return Collected(tuple(objects), tuple(removed), freed)


def _sized(paths: list[Path]) -> Iterator[tuple[Path, int]]:
    """The paths that still exist, with their sizes."""
    for path in paths:
        status = _status(path)
        if status is not None:
            yield path, status.st_size


def _status(path: Path) -> os.stat_result | None:
    with reading("file", path):
        try:
            status = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
    return None if stat.S_ISDIR(status.st_mode) else status
