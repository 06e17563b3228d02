"""Guards over every test: the program opens no pickle, and nothing leaves this machine.

And the two kinds of database: what is said of a ledger is said of both.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.guards import Guards
from tests.sim.ledger_sample import Places
from tests.sim.postgres_server import Server, programs, serving

pytest_plugins = ["tests.promises"]

# Whatever starts the tests in the background may have told them to ignore Ctrl-C, and every process
# that a test starts and interrupts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _guards() -> Iterator[Guards]:
    guards = Guards()
    with guards.installed():
        yield guards


@pytest.fixture(autouse=True)
def guards(_guards: Guards) -> Iterator[Guards]:
    """The guards; a test that springs one fails even if the exception was swallowed."""
    _guards.cover_torch()
    yield _guards
    assert _guards.forget() == []


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A PostgreSQL server, started by the first test that asks."""
    if programs() is None:
        pytest.skip("NO POSTGRESQL: install the server's programs (initdb) to run these tests")
    # Not under pytest's folder: the path of a socket may have 107 bytes. In memory if there is
    # such a place, because a server has some thousand files to write and to remove.
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(prefix="kelpg", dir=place) as folder,
        serving(Path(folder) / "pg") as running,
    ):
        yield running


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def new_place(request: pytest.FixtureRequest) -> Places:
    """Says where the database of a new ledger lies: `new_place()`, or as a copy of another."""
    return None if request.param == "sqlite" else request.getfixturevalue("server").new_database
