"""Where whole lives begin."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.property.lives import Home
from tests.sim.given import quick_disk


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A ledger without edits, closed."""
    with quick_disk():
        yield Home.made(tmp_path_factory.mktemp("home"))
