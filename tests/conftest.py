"""Guards over every test: the program opens no pickle, and nothing leaves this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.security.guards import Guards


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
