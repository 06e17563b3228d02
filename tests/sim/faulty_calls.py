"""Faults in all that a verb asks of the machine: of the disk through the store, of SQLite itself.

Promise: call number `at` of both together fails, once or from then on; the rest takes place.
Rules: connections that were opened before the faults were installed are not seen.

    with Faults("ENOSPC").installed() as faults:
        ledger = Ledger.open(folder)
        faults.arm(3)
        ledger.revert(["1"])        # raises what a full disk makes of the third call
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any
from unittest import mock

from store.filesystem import Filesystem
from tests.sim.faulty_fs import OPERATIONS

# What SQLite says where the operating system says the name before it.
SQLITE = MappingProxyType(
    {
        "ENOSPC": (sqlite3.SQLITE_FULL, "database or disk is full"),
        "EIO": (sqlite3.SQLITE_IOERR, "disk I/O error"),
        "EROFS": (sqlite3.SQLITE_READONLY, "attempt to write a readonly database"),
        "EMFILE": (sqlite3.SQLITE_CANTOPEN, "unable to open database file"),
        "EINTR": (sqlite3.SQLITE_INTERRUPT, "interrupted"),
        "EBUSY": (sqlite3.SQLITE_BUSY, "database is locked"),
    }
)
STOPS = MappingProxyType({"MemoryError": MemoryError, "KeyboardInterrupt": KeyboardInterrupt})
NAMES = (*SQLITE, *STOPS)


class Faults:
    """Counts the calls, and fails one of them."""

    def __init__(self, name: str) -> None:
        self.name, self.asleep = name, False
        self.arm(0)

    def arm(self, at: int, *, forever: bool = False) -> None:
        """Count anew; call number `at` fails, with `forever` all later ones too. 0: none."""
        self.at, self.forever, self.calls = at, forever, list[str]()

    @property
    def fired(self) -> bool:
        """Whether the fault was raised."""
        return 0 < self.at <= len(self.calls)

    def count(self, call: str, *, database: bool) -> None:
        """A call is about to be made."""
        if self.asleep:
            return
        self.calls.append(call)
        if self.fired and (self.forever or len(self.calls) == self.at):
            raise self.error(database)

    def error(self, database: bool) -> BaseException:
        """The fault as the disk or as SQLite tells it."""
        if self.name in STOPS:
            return STOPS[self.name]()
        if not database:
            number = getattr(errno, self.name)
            return OSError(number, os.strerror(number))
        code, text = SQLITE[self.name]
        failure = sqlite3.OperationalError(text)
        failure.sqlite_errorcode = code
        return failure

    @contextmanager
    def installed(self) -> Iterator[Faults]:
        """Every call of the store and of new connections to SQLite is counted in this block."""
        with mock.patch.object(sqlite3, "connect", self._connecting(sqlite3.connect)):
            patches = [
                mock.patch.object(Filesystem, name, self._passing(name, getattr(Filesystem, name)))
                for name in OPERATIONS
            ]
            for patch in patches:
                patch.start()
            try:
                yield self
            finally:
                for patch in patches:
                    patch.stop()

    @contextmanager
    def overlooking(self, owner: Any, name: str) -> Iterator[None]:
        """No call that a function makes is counted in this block."""
        original = getattr(owner, name)

        def overlooked(*args: Any, **options: Any) -> Any:
            self.asleep = True
            try:
                return original(*args, **options)
            finally:
                self.asleep = False

        with mock.patch.object(owner, name, overlooked):
            yield

    def _passing(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def passed(*args: Any) -> Any:
            self.count(name, database=False)
            return original(*args)

        return passed

    def _connecting(self, connect: Callable[..., Any]) -> Callable[..., Any]:
        faults = self

        class Cursor(sqlite3.Cursor):
            def execute(self, sql: str, *args: Any) -> Any:
                faults.count(sql, database=True)
                return super().execute(sql, *args)

            def executemany(self, sql: str, *args: Any) -> Any:
                faults.count(sql, database=True)
                return super().executemany(sql, *args)

        class Connection(sqlite3.Connection):
            def cursor(self, *_: Any) -> Any:
                return super().cursor(Cursor)

            def commit(self) -> None:
                if self.in_transaction:
                    faults.count("COMMIT", database=True)
                super().commit()

        def connected(*args: Any, **options: Any) -> Any:
            faults.count("connect", database=True)
            return connect(*args, factory=Connection, **options)

        return connected
