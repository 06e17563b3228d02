"""A piece of work of the model, and whoever watches it.

Promise: what a job tells is kept in order, so a watcher that comes late or again sees all of it;
telling never waits for a watcher.

Rules: a job is run by the worker's thread and watched from any event loop.

    job = Job("answer", owner="...")
    job.tell("token", "Lon")                    # worker's thread
    async for event in job.watch(): ...         # an event loop
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from cli.errors import Failure

State = Literal["waiting", "running", "done", "failed"]
END: Final = "end"
PATIENCE: Final = 15.0


@dataclass(frozen=True)
class Event:
    """Something a job told; `data` is plain text or a value for the page."""

    name: str
    data: Any = None


class Job:
    """One answer, preview or change; `result` when it is done, `failure` when it failed."""

    def __init__(self, kind: str, owner: str, name: str | None = None) -> None:
        self.id = name or secrets.token_urlsafe(16)
        self.kind, self.owner = kind, owner
        self.state: State = "waiting"
        self.result: Any = None
        self.failure: Failure | None = None
        self.events: list[Event] = []
        self._lock = threading.Lock()
        self._watchers: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._stop, self._over = threading.Event(), threading.Event()

    @property
    def text(self) -> str:
        """The pieces told so far."""
        return "".join(map(str, self.told("token")))

    def told(self, name: str) -> list[Any]:
        """What was told so far under a name."""
        return [event.data for event in tuple(self.events) if event.name == name]

    @property
    def over(self) -> bool:
        """Whether nothing more will be told."""
        return self._over.is_set()

    @property
    def stopped(self) -> bool:
        """Whether somebody asked it to end."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Ask it to end early."""
        self._stop.set()

    def wait(self, seconds: float) -> bool:
        """Wait for the end, in a thread; whether it came."""
        return self._over.wait(seconds)

    def tell(self, name: str, data: Any = None) -> None:
        """Tell all watchers."""
        with self._lock:
            self.events.append(Event(name, data))
            if name == END:
                self._over.set()
            watchers = tuple(self._watchers)
        for loop, woken in watchers:
            if not loop.is_closed():
                loop.call_soon_threadsafe(woken.set)

    def finish(self, result: Any) -> None:
        """It is done."""
        self.result, self.state = result, "done"
        self.tell(END)

    def fail(self, failure: Failure) -> None:
        """It could not be done."""
        self.failure, self.state = failure, "failed"
        self.tell(END)

    async def watch(self) -> AsyncIterator[Event | None]:
        """Everything told from the beginning; None where nothing came for a while."""
        woken = asyncio.Event()
        mine = (asyncio.get_running_loop(), woken)
        with self._lock:
            self._watchers.append(mine)
        try:
            seen = 0
            while True:
                woken.clear()
                while seen < len(self.events):
                    seen += 1
                    yield self.events[seen - 1]
                if self.over and seen == len(self.events):
                    return
                try:
                    await asyncio.wait_for(woken.wait(), PATIENCE)
                except TimeoutError:
                    yield None
        finally:
            with self._lock:
                self._watchers.remove(mine)
