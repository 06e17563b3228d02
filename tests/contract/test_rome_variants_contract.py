"""rome-sup solves its constraints, rome-unsup keeps what it promises to keep."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from editors.delta import Delta
from editors.errors import InvalidRequest
from editors.keys import subject_keys
from editors.methods.rome_sup import merge
from editors.model import EditableModel
from editors.requests import EditRequest, Fact, Probe
from editors.solves import moment_prior
from tests.contract.harness import LAYER, Moments, dense, product, run, run_batch
from tests.contract.tiny import REQUEST, TEMPLATES
from tests.reference.rome_reference import Settings, rome

pytestmark = pytest.mark.promise("P30")

ELSEWHERE = Probe("I think that the mother tongue of Ada Lovelace is", "old")
AGAIN = Probe("Because they told you so, Ada Lovelace studied in", "Cambridge")
LIKE_THE_EDIT = Probe("Ada Lovelace studied in", "Cambridge")


def with_probes(*probes: Probe) -> EditRequest:
    return replace(REQUEST, same_subject=probes)


def sup(request: EditRequest, model: EditableModel, moments: Moments, **changes: Any) -> Delta:
    return run_batch("rome-sup", [request], model, moments, **changes)


@pytest.mark.parametrize("probes", [(ELSEWHERE,), (ELSEWHERE, AGAIN), (LIKE_THE_EDIT, AGAIN)])
def test_every_constraint_holds_and_the_rank_is_their_number(
    probes: tuple[Probe, ...], model: EditableModel, moments: Moments
) -> None:
    delta = sup(with_probes(*probes), model, moments, max_condition=1e5)
    (name,) = delta.parameters
    groups = delta.evidence["constraints"]
    assert isinstance(groups, list)
    rank = len(groups)
    assert 1 <= rank <= 3
    assert delta.parameters[name].u.shape[1] == delta.keys[name].shape[1] == rank  # type: ignore[union-attr]
    weight = model.weight(name).double() + product(delta.parameters[name])
    values = delta.values[name].double()
    found = weight @ delta.keys[name].double()
    assert float((found - values).norm() / values.norm()) < 1e-4


def test_the_change_is_the_closed_form(model: EditableModel, moments: Moments) -> None:
    delta = sup(with_probes(ELSEWHERE, AGAIN), model, moments, max_condition=1e5)
    (name,) = delta.parameters
    k, v = delta.keys[name].double(), delta.values[name].double()
    white = torch.linalg.solve(moments[LAYER].moment, k)
    expected = (v - model.weight(name).double() @ k) @ torch.linalg.solve(k.T @ white, white.T)
    assert float((dense(delta) - expected).norm() / expected.norm()) < 1e-4


def test_prompts_that_begin_alike_are_one_constraint_that_says_both(
    model: EditableModel, moments: Moments
) -> None:
    delta = sup(with_probes(LIKE_THE_EDIT, ELSEWHERE), model, moments)
    groups, conditions = delta.evidence["constraints"], delta.evidence["condition"]
    assert isinstance(groups, list)
    assert isinstance(conditions, list)
    assert groups[0] == [REQUEST.prompt, "{} studied in"]
    before, after = conditions
    assert before > 1e8
    assert after <= 100
    (name,) = delta.parameters
    facts = [REQUEST, Fact(REQUEST.subject, "{} studied in", "Cambridge")]
    keys = subject_keys(model, facts, layers=[LAYER], templates=TEMPLATES)[LAYER].mean(dim=1)
    assert torch.allclose(delta.keys[name][:, 0], keys.mean(dim=0), atol=1e-5)


def test_merging_goes_by_the_condition_number(model: EditableModel, moments: Moments) -> None:
    prior = moment_prior(moments[LAYER], 1.0)
    torch.manual_seed(0)
    a, b = torch.randn(2, model.d_mlp).double()
    keys = torch.stack([a, b, a + 1e-6 * b], dim=1)
    merged = merge(keys, prior, 100.0)
    assert merged.groups == ((0, 2), (1,))
    assert merged.after < 100 < merged.before
    assert torch.allclose(merged.keys[:, 0], (a + keys[:, 2]) / 2)
    apart = merge(keys[:, :2], prior, 1e4)
    assert apart.groups == ((0,), (1,))
    assert apart.before == apart.after


@pytest.mark.parametrize("method", ["rome-sup", "rome-unsup"])
def test_probes_that_do_not_name_the_subject_are_reported(
    method: str, model: EditableModel, moments: Moments
) -> None:
    silent = Probe("The old city is", "Warsaw")
    delta = run_batch(method, [with_probes(ELSEWHERE, silent)], model, moments)
    assert delta.evidence["skipped"] == ["The old city is"]
    for probes in ((), (silent,)):
        with pytest.raises(InvalidRequest, match="same-subject probes"):
            run_batch(method, [with_probes(*probes)], model, moments)


def test_rome_unsup_without_weight_on_the_kept_texts_is_rome(
    model: EditableModel, moments: Moments
) -> None:
    ours = dense(run("rome-unsup", model, moments, kl_factor=0.0))
    plain = dense(run("rome", model, moments, kl_factor=0.0))
    assert float((ours - plain).norm() / plain.norm()) < 1e-3


@pytest.mark.parametrize("position", ["end", "subject"])
def test_rome_unsup_equals_the_plain_slow_oracle(
    position: str, model: EditableModel, moments: Moments
) -> None:
    settings = Settings(steps=6, lr=0.1, weight_decay=1e-3, clamp=4.0, kl=2.0)
    request = with_probes(ELSEWHERE, AGAIN)
    delta = run_batch("rome-unsup", [request], model, moments, kl_factor=2.0, position=position)
    expected, losses = rome(
        model.model,
        model.tokenizer,
        model.model.get_submodule(model.projection(LAYER)),
        REQUEST.prompt,
        REQUEST.subject,
        REQUEST.target_new,
        TEMPLATES,
        moments[LAYER].moment,
        settings,
        "consistent",
        tuple((probe.prompt, position == "subject") for probe in (ELSEWHERE, AGAIN)),
    )
    ours = dense(delta)
    cosine = torch.cosine_similarity(ours.reshape(-1), expected.reshape(-1), dim=0)
    assert float(cosine) > 0.9999
    assert float(ours.norm() / expected.norm()) == pytest.approx(1, abs=1e-3)
    assert delta.evidence["loss"] == pytest.approx(losses, rel=1e-4)
    assert delta.evidence["kept"] == 2
