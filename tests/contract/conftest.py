"""Models of the contract tests: built once per test file, for each kind of projection."""

from __future__ import annotations

from typing import Any

import pytest

from editors.model import EditableModel
from tests.contract.harness import Moments, all_moments
from tests.contract.tiny import CONV1D, TINY


@pytest.fixture(scope="module", params=sorted(TINY))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return TINY[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module", params=sorted(CONV1D))
def gpt2(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return CONV1D[request.param](tmp_path_factory.mktemp("twin"))


@pytest.fixture(scope="module")
def moments(model: EditableModel) -> Moments:
    return all_moments(model)
