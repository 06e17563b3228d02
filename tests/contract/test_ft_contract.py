"""Fine-tuning lowers the loss it names, within the bound it promises."""

from __future__ import annotations

import pytest
import torch

from editors.delta import Dense
from editors.errors import InvalidHparams, InvalidRequest
from editors.methods import get_editor
from editors.model import EditableModel
from editors.prompts import target_row
from tests.contract.harness import HPARAMS, Edited, Moments, context, dense, raw, run, target_loss
from tests.contract.tiny import OTHER, REQUEST

pytestmark = pytest.mark.promise("P30")


def test_ft_reports_the_loss_the_edited_model_has(model: EditableModel, moments: Moments) -> None:
    delta = run("ft", model, moments)
    losses = delta.evidence["loss"]
    assert isinstance(losses, list)
    assert losses[0] == pytest.approx(target_loss(model), rel=1e-4)
    with Edited(model, delta):
        assert losses[-1] == pytest.approx(target_loss(model), rel=1e-4)


def test_ft_l_stays_within_its_bound_and_reaches_it(model: EditableModel, moments: Moments) -> None:
    bounded, free = dense(run("ft-l", model, moments)), dense(run("ft", model, moments))
    assert float(bounded.abs().max()) == pytest.approx(3e-3, rel=1e-6)
    assert float(free.abs().max()) > 3e-3


def test_prompt_last_scores_every_target_token_at_the_end_of_the_prompt(
    model: EditableModel, moments: Moments
) -> None:
    delta = run("ft-l", model, moments, loss="prompt_last")
    row = target_row(model, REQUEST.text, REQUEST.target_new)
    with torch.no_grad():
        ids = torch.tensor([row.ids[: row.first]])
        logp = model.model(input_ids=ids).logits[0, -1].log_softmax(-1)
    losses = delta.evidence["loss"]
    assert isinstance(losses, list)
    assert delta.evidence["loss_kind"] == "prompt_last"
    assert losses[0] == pytest.approx(float(-logp[list(row.labels)].mean()), rel=1e-5)


def test_ft_m_is_ft_with_its_one_loss(model: EditableModel, moments: Moments) -> None:
    masked = run("ft-m", model, moments)
    assert masked.evidence["loss_kind"] == "target_new"
    assert raw(masked) == raw(run("ft", model, moments))
    assert raw(masked) != raw(run("ft", model, moments, loss="prompt_last"))
    with pytest.raises(InvalidHparams, match="no 'loss'"):
        run("ft-m", model, moments, loss="prompt_last")


@pytest.mark.parametrize("name", ["ft", "ft-l", "ft-m"])
def test_fine_tuning_takes_several_requests_as_one_dense_delta(
    name: str, model: EditableModel, moments: Moments
) -> None:
    editor = get_editor(name)
    hparams = editor.hparams.from_dict(HPARAMS[name])
    delta = editor(model, [REQUEST, OTHER], hparams, context=context(moments))
    (change,) = delta.parameters.values()
    assert isinstance(change, Dense)
    before = [target_loss(model, r) for r in (REQUEST, OTHER)]
    with Edited(model, delta):
        after = [target_loss(model, r) for r in (REQUEST, OTHER)]
    assert after[0] < before[0]
    assert after[1] < before[1]
    with pytest.raises(InvalidRequest, match="at least one"):
        editor(model, [], hparams, context=context(moments))
