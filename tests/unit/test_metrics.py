"""Scores are what their definitions say, by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest

from editors.model import EditableModel
from ledger.evaluation.metrics import harmonic, margin, preferred, token_accuracy
from ledger.evaluation.scoring import Question, surprises
from tests.contract.harness import target_loss
from tests.contract.tiny import OTHER, REQUEST, tiny_llama
from tests.unit.test_metrics_by_hand import ROWS

pytestmark = pytest.mark.promise("P31")

HALF, QUARTER = math.log(2), math.log(4)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> EditableModel:
    return tiny_llama(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize(
    ("pairs", "share", "difference"),
    [
        ([(HALF, QUARTER)], 1.0, 0.25),
        ([(QUARTER, HALF)], 0.0, -0.25),
        ([(HALF, HALF)], 0.0, 0.0),
        ([(HALF, QUARTER), (QUARTER, HALF), (HALF, QUARTER), (0.0, QUARTER)], 0.75, 0.25),
        ([], None, None),
    ],
    ids=["wanted", "other", "tie", "four", "none"],
)
def test_two_answers_are_compared_by_their_probability(
    pairs: Sequence[tuple[float, float]],
    share: float | None,
    difference: float | None,
    figure: Callable[..., None],
) -> None:
    assert preferred(pairs) == share
    assert margin(pairs) == (None if difference is None else pytest.approx(difference))
    figure("P31", ROWS, 1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1.0, 1.0, 1.0], 1.0), ([1.0, 0.5], 2 / 3), ([1.0, 0.0, 1.0], 0.0), ([0.3], 0.3), ([], None)],
)
def test_one_bad_share_spoils_the_harmonic_mean(
    values: Sequence[float], expected: float | None, figure: Callable[..., None]
) -> None:
    assert harmonic(values) == (None if expected is None else pytest.approx(expected))
    figure("P31", ROWS, 1)


@pytest.mark.parametrize(
    "call",
    [
        lambda model: harmonic([0.5, -0.1]),
        lambda model: token_accuracy((), ()),
        lambda model: token_accuracy((1,), (1, 2)),
        lambda model: surprises(model, [Question("Ada Lovelace was born in")]),
    ],
)
def test_what_has_no_score_is_refused(
    call: Callable[[EditableModel], object], model: EditableModel
) -> None:
    with pytest.raises(ValueError, match=r"negative|predictions|without an answer"):
        call(model)


def test_the_surprise_of_an_answer_is_that_of_the_transformers_model(model: EditableModel) -> None:
    asked = [
        Question(request.text, answer)
        for request in (REQUEST, OTHER)
        for answer in (request.target_new, request.target_true)
    ]
    expected = [
        target_loss(model, request, answer)
        for request in (REQUEST, OTHER)
        for answer in (request.target_new, request.target_true)
    ]
    assert surprises(model, asked) == pytest.approx(expected, rel=1e-5)
    assert [surprises(model, [one])[0] for one in asked] == pytest.approx(expected, rel=1e-5)
    assert surprises(model, []) == []
