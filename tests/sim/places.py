"""Looking into the database of a ledger and copying a ledger, wherever it is kept.

Nothing of the program is imported: what is told here is what another program would see.

folder = copied(template, tmp_path / "ledger")
((count,),) = ask(folder, "SELECT count(*) FROM session")
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg

FILE, ADDRESS = "ledger.db", "ledger.url"
# A ledger without entries, on every server that ledgers are copied on.
EMPTY = "empty"
_IN_FILE = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
_ON_SERVER = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"


def address(folder: Path) -> str | None:
    """The address of the ledger's database on a server, if it is kept there."""
    path = folder / ADDRESS
    return path.read_text("utf-8").strip() if path.exists() else None


def ask(folder: Path, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """Run a statement, `?` for each value, and keep what it changes; returns its rows."""
    with _connected(folder) as connection:
        cursor = connection.execute(sql.replace("?", "%s") if address(folder) else sql, values)
        return cursor.fetchall() if cursor.description else []


def unguard(folder: Path, table: str) -> None:
    """Take the guards off a table, as somebody would who has the rights of its owner."""
    if address(folder) is not None:
        ask(folder, f'ALTER TABLE "{table}" DISABLE TRIGGER USER')
        return
    found = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?"
    for (name,) in ask(folder, found, table):
        ask(folder, f'DROP TRIGGER "{name}"')


def tables(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table, as stored."""
    sql = _ON_SERVER if address(folder) else _IN_FILE
    found = {}
    with _connected(folder) as connection:
        for (name,) in connection.execute(sql).fetchall():
            cursor = connection.execute(f'SELECT * FROM "{name}"')
            columns = [column[0] for column in cursor.description]
            found[name] = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
    return found


def rows(folder: Path) -> list[str]:
    """Every row of a ledger that may be open, and of a file every statement of its schema too."""
    if address(folder) is None:
        with closing(sqlite3.connect(folder / FILE)) as connection:
            return list(connection.iterdump())
    found = tables(folder).items()
    return [f"{name} {row}" for name, some in found for row in sorted(map(str, some))]


def copied(ledger: Path, folder: Path) -> Path:
    """A copy of a closed ledger, or of any folder; a database on a server is copied there."""
    shutil.copytree(ledger, folder, dirs_exist_ok=True)
    url = address(folder)
    if url is not None:
        (folder / ADDRESS).write_text(f"{database_like(url)}\n", "utf-8")
    return folder


def database_like(url: str) -> str:
    """The address of a new database beside the one at `url`, with the same content."""
    parts, name = urlsplit(url), f"copy_{uuid4().hex}"
    target, source = urlunsplit(parts._replace(path=f"/{name}")), parts.path[1:]
    with psycopg.connect(urlunsplit(parts._replace(path="/postgres")), autocommit=True) as admin:
        used = _used(admin, source)
        admin.execute(f'CREATE DATABASE {name} TEMPLATE "{EMPTY if used else source}"')
    if used:  # the server copies a database as a whole only while nobody is connected to it
        _copy_rows(url, target)
    return target


def _used(admin: psycopg.Connection[Any], name: str) -> bool:
    """Whether somebody stays connected; who has just closed a connection is gone soon."""
    users = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
    for _ in range(20):
        if admin.execute(users, (name,)).fetchone() == (0,):
            return False
        time.sleep(0.01)
    return True


def _copy_rows(source: str, target: str) -> None:
    """Give an empty ledger the rows of another, without its guards."""
    with psycopg.connect(source) as old, psycopg.connect(target) as new:
        new.execute("SET session_replication_role = replica")
        for (name,) in old.execute(_ON_SERVER).fetchall():
            new.execute(f'DELETE FROM "{name}"')
            giving = old.cursor().copy(f'COPY "{name}" TO STDOUT')
            with giving as rows, new.cursor().copy(f'COPY "{name}" FROM STDIN') as into:
                for data in rows:
                    into.write(data)


@contextmanager
def _connected(folder: Path) -> Iterator[Any]:
    """A connection that commits what was done on it."""
    url = address(folder)
    if url is None:
        with closing(sqlite3.connect(folder / FILE)) as connection, connection:
            yield connection
        return
    with psycopg.connect(url) as server:
        yield server
