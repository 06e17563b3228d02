"""Models of the contract tests: built once per test file, for each kind of projection."""

from __future__ import annotations

from typing import Any

import pytest

from editors.covariance import SecondMoment, accumulate
from editors.model import EditableModel
from tests.contract.harness import LAYER
from tests.contract.tiny import TEXTS, TINY


@pytest.fixture(scope="module", params=sorted(TINY))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return TINY[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module", params=["gpt2", "gpt2-square"])
def gpt2(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return TINY[request.param](tmp_path_factory.mktemp("twin"))


@pytest.fixture(scope="module")
def moment(model: EditableModel) -> SecondMoment:
    return accumulate(model, [LAYER], TEXTS * 4, max_tokens=600)[LAYER]
