"""Which schema a database has, and how it gets the one this program writes.

Promise: after `upgrade` either every migration is there or the schema is as it was.

Rules: a newer schema is refused; an older one is copied (`VACUUM INTO`) before it is touched; one
`BEGIN IMMEDIATE` around all pending migrations, with foreign keys off before it begins, because a
rebuilt table would take its children along; alembic and SQLAlchemy are imported only when there is
work for them.

    if revision(reading) != CURRENT:
        backup(engine, path)
        upgrade(engine)
"""

from __future__ import annotations

import contextlib
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ledger.errors import IntegrityFailure, LedgerError, SchemaTooNew, SchemaTooOld
from ledger.sqlite import Inspected

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection, Engine

# The schema this program writes comes last; it can upgrade every one before it.
REVISIONS: Final = ("0001", "0002", "0003", "0004", "0005", "0006")
CURRENT: Final = REVISIONS[-1]


def _point(name: str) -> None:
    """A place where the process may die; tests replace it."""


def revision(reading: Inspected) -> str | None:
    """The schema's revision; None if no migration ever ran. Raises: IntegrityFailure."""
    if "alembic_version" not in reading.tables():
        return None
    rows = reading.query("SELECT version_num FROM alembic_version")
    if len(rows) != 1:
        raise IntegrityFailure(
            f"the database names {len(rows)} schema revisions instead of one; restore a backup."
        )
    return str(rows[0]["version_num"])


def check(found: str | None, place: Path | str) -> bool:
    """Whether the schema is current; False if it can be upgraded.

    Raises: IntegrityFailure for a database that is not a ledger, SchemaTooNew.
    """
    if found is None:
        raise IntegrityFailure(f"{place} is not a ledger database: it holds no schema revision.")
    if found not in REVISIONS:
        raise SchemaTooNew(
            f"{place} has schema {found[:40]!r}; this program knows {', '.join(REVISIONS)}. "
            "Install the newer program that wrote it."
        )
    return found == CURRENT


def backup(engine: Engine, path: Path) -> Path:
    """Copy the database beside itself, durably; the copy's path.

    Raises: LedgerError if a copy of that name is in the way.
    """
    for number in range(1000):
        target = path.with_name(f"{path.name}.before-{CURRENT}-{number:03}")
        with contextlib.suppress(FileExistsError):
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            _copy(engine, target)
            return target
    raise LedgerError(f"there are 1000 copies named {path.name}.before-{CURRENT}-*; remove some.")


def upgrade(engine: Engine, target: str = "head") -> None:
    """Run every pending migration of a SQLite file up to `target` in one transaction.

    The engine's driver must be in autocommit mode, so that BEGIN is ours.
    Raises: SchemaTooOld if the migrations are not installed; IntegrityFailure if rows would
    point nowhere afterwards.
    """
    with engine.connect() as connection:
        # A connection without foreign keys must not serve anybody else afterwards.
        connection.detach()
        # Inside a transaction this PRAGMA does nothing, so it must come before BEGIN.
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        _point("upgrade-begun")
        migrate(connection, target)
        _check_links(connection)
        _point("upgrade-written")
        connection.commit()
    _point("upgraded")


def migrate(connection: Connection, target: str = "head") -> None:
    """Run every pending migration up to `target` inside the connection's transaction.

    Raises: SchemaTooOld if the migrations are not installed.
    """
    from alembic import command

    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, target)


def _check_links(connection: Connection) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    if broken:
        raise IntegrityFailure(
            f"{len(broken)} rows would point nowhere after the upgrade; nothing was changed. "
            "Run verify with the program that wrote the ledger."
        )


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_folder()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _folder() -> Path:
    spec = find_spec("migrations")
    if spec is None or spec.origin is None:
        raise SchemaTooOld("the migrations are not installed; reinstall the program.")
    return Path(spec.origin).parent


def _copy(engine: Engine, target: Path) -> None:
    """SQLite writes into an empty file, but does not sync it."""
    with engine.connect() as connection:
        connection.exec_driver_sql("VACUUM INTO ?", (str(target),))
    for path in (target, target.parent):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    _point("backup-written")
