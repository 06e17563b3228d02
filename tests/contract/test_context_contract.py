"""A text too long for the model's context is refused; an answer ends where the context does."""

from __future__ import annotations

import pytest

from editors.errors import InvalidRequest
from editors.generation import continue_rows, greedy
from editors.model import EditableModel
from editors.prompts import encode
from ledger.evaluation.scoring import Question, predict
from tests.contract.tiny import tiny_gpt2

CONTEXT = 128


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> EditableModel:
    return tiny_gpt2(tmp_path_factory.mktemp("gpt2"))


def filled(model: EditableModel, tokens: int) -> str:
    """A prompt of that many tokens."""
    text = "7" * tokens
    assert len(encode(model, text).ids) == tokens
    return text


def test_a_target_longer_than_the_context_is_refused(gpt2: EditableModel) -> None:
    with pytest.raises(InvalidRequest, match="does not fit the model's context of 128"):
        predict(gpt2, [Question("Ada was born in", "far away " * 50)])


@pytest.mark.parametrize("left", [0, 1, 5])
def test_an_answer_ends_with_the_context(gpt2: EditableModel, left: int) -> None:
    """The token that fills the last position predicts one more."""
    long, short = (encode(gpt2, t).ids for t in (filled(gpt2, CONTEXT - left), "Ada was born in"))
    (alone,) = continue_rows(gpt2, [long], 20, choose=greedy)
    (free,) = continue_rows(gpt2, [short], 20, choose=greedy)
    assert continue_rows(gpt2, [short, long], 20, choose=greedy) == [free, alone]
    assert (len(alone), len(free)) == (left + 1, 20)
