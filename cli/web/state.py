"""What every route shares: settings, the ledger for reading, the worker, the conversations.

Promise: reading goes through a ledger of its own, so a page never waits for the model.

    state = State(Settings(Path("ledger")))
    state.head().name                       # 'demo@v3'
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cli.web.jobs import Job
from cli.web.talks import Talks
from cli.web.worker import Worker

if TYPE_CHECKING:
    from ledger import Ledger
    from ledger.access import Access
    from ledger.views import StatusView

MOST_AUDITS: Final = 4  # one runs, the others wait
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
MOST_REMEMBERED: Final = 1000


@dataclass(frozen=True)
class Settings:
    """How the application is served. `public`: on an address that others can reach, so that
    everything needs an account; `tokens`: the longest answer; `detector`: `rules` or `model`;
    `audit_root`: the folder below which models may be audited; `audit_bytes`: the largest upload.
    """

    folder: Path
    hosts: frozenset[str] = LOOPBACK
    public: bool = False
    secure: bool = False
    tokens: int = 256
    method: str = "rome"
    author: str | None = None
    detector: str = "rules"
    audit_root: Path | None = None
    audit_bytes: int = 512_000_000


def called(base: str) -> str:
    """The name of a base; of a folder of the server the last part only."""
    place = Path(base)
    return place.name if place.is_absolute() else base


@dataclass(frozen=True)
class Head:
    """The newest version, as it is called."""

    base: str
    version: int
    entry: str
    chat: bool

    @property
    def name(self) -> str:
        """The model's id with the version."""
        return f"{self.base}@v{self.version}"


@dataclass
class State:
    """The application's own state; made by `opened`."""

    settings: Settings
    ledger: Ledger
    worker: Worker
    auditor: Worker
    talks: Talks = field(default_factory=Talks)
    looking: threading.Lock = field(default_factory=threading.Lock)  # held by a long look
    uploading: threading.Lock = field(default_factory=threading.Lock)
    previews: dict[str, str] = field(default_factory=dict)  # proposal -> job

    @classmethod
    def opened(cls, settings: Settings) -> State:
        """Open the ledger twice: to read, and for the worker."""
        from ledger import Ledger

        def another() -> Ledger:
            return Ledger.open(settings.folder, author=settings.author)

        # Audits read weights only, so they have a thread and a ledger of their own.
        auditor = Worker(another, MOST_AUDITS, keep=False)
        return cls(settings, another(), Worker(another), auditor)

    def job(self, name: str) -> Job | None:
        """A job of either worker."""
        return self.worker.find(name) or self.auditor.find(name)

    @property
    def access(self) -> Access:
        """Accounts and what belongs to them."""
        return self.ledger.access

    def status(self) -> StatusView:
        """Where the ledger stands."""
        return self.ledger.status()

    def head(self) -> Head:
        """The newest version."""
        status = self.status()
        return Head(called(status.base.id), status.version, status.head, status.base.chat)

    def close(self) -> None:
        """Stop the workers, close the ledger."""
        self.auditor.close()
        self.worker.close()
        self.ledger.close()


def remember(jobs: dict[str, str], proposal: str, job: str) -> None:
    """Remember which job belongs to a proposal; the oldest are forgotten."""
    while len(jobs) >= MOST_REMEMBERED:
        jobs.pop(next(iter(jobs)), None)
    jobs[proposal] = job
