"""Small ledgers on each kind of database: what is said of a ledger is said of both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sim.ledger_sample import Places, Sample, full


@pytest.fixture(scope="module")
def template(new_place: Places, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with its first entry; tests copy it."""
    folder = tmp_path_factory.mktemp("template")
    Sample.create(folder, new_place).close()
    return folder


@pytest.fixture
def sample(template: Path, tmp_path: Path) -> Iterator[Sample]:
    sample = Sample.copied(template, tmp_path)
    yield sample
    sample.close()


@pytest.fixture
def in_file(tmp_path: Path) -> Iterator[Sample]:
    """A ledger in a file, for what can be asked of SQLite only."""
    sample = Sample.create(tmp_path / "in-file")
    yield sample
    sample.close()


@pytest.fixture(scope="module")
def rich(new_place: Places, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    """Some of everything, read by many tests."""
    sample = full(tmp_path_factory.mktemp("rich"), new_place)
    yield sample
    sample.close()
