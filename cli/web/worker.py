"""The one thread that uses the model and writes to the ledger.

Promise: jobs run one after another in the order they came; an error ends its job and nothing else;
after an error that is nobody's, the model is loaded anew before the next job; a thread that was
killed is replaced when somebody asks.

    worker = Worker(lambda: Ledger.open(folder))
    job = worker.submit("answer", owner, lambda ledger, job: ledger.say(...))
    worker.close()
"""

from __future__ import annotations

import queue
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from cli.errors import Failure, Interrupted, Overloaded, describe, known
from cli.web.jobs import Job

if TYPE_CHECKING:
    from ledger import Ledger

Work = Callable[["Ledger", Job], Any]
MOST_WAITING: Final = 200
MOST_OF_ONE: Final = 8
KEPT: Final = 500
KILLED: Final = "it was ended early; the history says whether it was recorded"


class Worker:
    """Runs jobs. `most` may wait at the same time, and of one owner `MOST_OF_ONE`.

    Without `keep` the ledger is opened anew for each job, so that nothing of it stays in memory.
    """

    def __init__(
        self, opened: Callable[[], Ledger], most: int = MOST_WAITING, *, keep: bool = True
    ) -> None:
        self._opened, self._most, self._keep = opened, most, keep
        self._queue: queue.SimpleQueue[tuple[Job, Work] | None] = queue.SimpleQueue()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()
        self._ledger: Ledger | None = None
        self._closed = False
        self._thread = self._started()

    def submit(self, kind: str, owner: str, work: Work, name: str | None = None) -> Job:
        """Queue a job, under a name that no other has (its own by default). Raises: Overloaded."""
        job = Job(kind, owner, name)
        with self._lock:
            self._revive()
            waiting = [found for found in self._jobs.values() if not found.over]
            mine = sum(found.owner == owner for found in waiting)
            if len(waiting) >= self._most or mine >= MOST_OF_ONE:
                raise Overloaded(f"{len(waiting)} jobs are waiting; try again in a moment")
            self._jobs[job.id] = job
            self._forget()
        self._queue.put((job, work))
        return job

    def find(self, name: str) -> Job | None:
        """A job that is remembered."""
        with self._lock:
            self._revive()
            return self._jobs.get(name)

    def close(self) -> None:
        """Let the running job end early, refuse the others, and stop the thread."""
        with self._lock:
            self._closed = True
            for job in self._jobs.values():
                job.stop()
        self._queue.put(None)
        self._thread.join()

    def _started(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name="model", daemon=True)
        thread.start()
        return thread

    def _revive(self) -> None:
        """Another thread where the last one was killed; what it had is told as failed."""
        if self._closed or self._thread.is_alive():
            return
        for job in self._jobs.values():
            if not job.over:
                job.fail(Failure("Killed", 1, KILLED))
        self._queue, self._ledger = queue.SimpleQueue(), None
        self._thread = self._started()

    def _forget(self) -> None:
        old = [name for name, job in self._jobs.items() if job.over]
        for name in old[: max(0, len(self._jobs) - KEPT)]:
            del self._jobs[name]

    def _run(self) -> None:
        while (taken := self._queue.get()) is not None:
            job, work = taken
            job.state = "running"
            edge = _Edge(job)
            with edge:
                if self._ledger is None:
                    self._ledger = self._opened()
                edge.result = work(self._ledger, job)
            if edge.doubtful or not self._keep:
                self._drop()
        self._drop()

    def _drop(self) -> None:
        """Forget the ledger with its model; the next job opens it anew."""
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None


class _Edge:
    """The edge of a job: what comes this far is told to whoever watches."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self.result: Any = None
        self.doubtful = False

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if error is None:
            self._job.finish(self.result)
            return True
        failure = describe(error) if isinstance(error, Interrupted) else known(error)
        self.doubtful = failure is None or failure.exit == INTEGRITY
        self._job.fail(_told(failure) if failure else _unexpected(error))
        return True


INTEGRITY: Final = 4
OUTSIDE: Final = frozenset({1, INTEGRITY, 7})  # what is wrong with the server's disk and files


def _told(failure: Failure) -> Failure:
    """What those who look at a page are told; messages about files would name them."""
    if failure.exit not in OUTSIDE:
        return failure
    return replace(failure, message="the ledger could not do it; see `kel verify` on the server")


def _unexpected(error: BaseException) -> Failure:
    """Without the words of the error, which may name files."""
    return Failure(describe(error).code, 1, "the model failed; the ledger is as it was")
