"""Guards over every test: the program opens no pickle, and nothing leaves this machine."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.security.guards import Guards

pytest_plugins = ["tests.databases", "tests.promises"]

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
