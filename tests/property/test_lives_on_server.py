"""P13: the same lives with the database on a PostgreSQL server.

Moves go through a bundle into a file, and from there as a copy to another database.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.property.lives import Home, lived
from tests.sim.given import quick_disk
from tests.sim.postgres_server import Server

pytestmark = pytest.mark.promise("P13")


@pytest.fixture(scope="module")
def home(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A ledger without edits, closed, in a database of its own."""
    with quick_disk():
        yield Home.made(tmp_path_factory.mktemp("home"), server)


@pytest.mark.parametrize(
    ("count", "steps"), [(5, 20), pytest.param(100, 60, marks=pytest.mark.slow)]
)
def test_every_rule_holds_on_a_server(home: Home, count: int, steps: int, figure):
    lived(home, count, steps, number=3, figure=figure)
