"""Killing a process at a named point: a fork does the work, and dies at the k-th point it passes.

Rules: whoever forks has no connection to a database open; SIGKILL leaves the page cache, so that
nothing is said of power cuts. `acknowledged` and `passed` tell what the process said before it
died; it starts to count when it calls `arm`.

    def work(life: Life) -> None:
        life.arm()
        sample.apply("Rome")
        life.acknowledge("Rome")

    forked(work, kill_at=3).acknowledged        # []
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ledger import db, journal, schema
from store import atomic

POINTED = (atomic, db, journal, schema)


@dataclass
class Life:
    """What the process that is to die knows of its end."""

    pipe: int
    kill_at: int | None
    count: int = 0

    def arm(self) -> None:
        """From now on every named point counts."""
        for module in POINTED:
            module._point = self._passed

    def acknowledge(self, text: str) -> None:
        """Tell whoever waits that something is done."""
        os.write(self.pipe, f"acknowledged {text}\n".encode())

    def _passed(self, name: str) -> None:
        self.count += 1
        if self.count == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kill_at is None:
            os.write(self.pipe, f"passed {name}\n".encode())


@dataclass(frozen=True)
class End:
    """How it ended. `passed` is told only by a process that was to live."""

    killed: bool
    acknowledged: list[str]
    passed: list[str]


def forked(work: Callable[[Life], object], kill_at: int | None = None) -> End:
    """Do the work in a process of its own that dies at point number `kill_at`."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 3
        try:
            work(Life(writer, kill_at))
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as lines:
        told = [line.rstrip("\n").split(" ", 1) for line in lines]
    _, status = os.waitpid(pid, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or status == 0, "the process failed; see its traceback above"
    return End(killed, *([v for k, v in told if k == kind] for kind in ("acknowledged", "passed")))


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
