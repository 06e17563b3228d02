"""MEMIT, EMMET, PMET and AlphaEdit solve what their papers say, for batches, layer by layer."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from editors.delta import Delta, LowRank, update_ratio
from editors.errors import EditFailed, InvalidRequest
from editors.keys import context_mean, subject_keys
from editors.model import EditableModel
from editors.requests import EditRequest
from editors.rows import Wish
from editors.solves import NullSpace
from editors.values import optimise_value
from tests.contract.harness import (
    BATCHED,
    HPARAMS,
    LAYER,
    Edited,
    Moments,
    product,
    raw,
    run_batch,
    subject_states,
)
from tests.contract.tiny import OTHER, REQUEST, TEMPLATES

pytestmark = pytest.mark.promise("P30")

SAME = EditRequest("Ada Lovelace", "{} studied in", "Warsaw")
BATCH = [REQUEST, OTHER]
FIRST, LAST = HPARAMS["memit"]["layers"]
USED = (TEMPLATES[0], *TEMPLATES[-2:])


def parts(model: EditableModel, delta: Delta, layer: int) -> tuple[Tensor, Tensor, Tensor]:
    """(ΔW, K, R) of a layer in float64; R is what the values add to W K."""
    name = model.parameter_name(layer)
    change, keys = delta.parameters[name], delta.keys[name].double()
    assert isinstance(change, LowRank)
    added = delta.values[name].double() - model.weight(name).double() @ keys
    assert float((added - change.u).norm() / change.u.norm()) < 1e-4
    return product(change), keys, change.u.double()


@pytest.mark.parametrize("method", ["memit", "pmet"])
@pytest.mark.parametrize("previous", [0.0, 1.0, 2.5])
def test_memit_solves_its_normal_equations(
    method: str, previous: float, model: EditableModel, moments: Moments, figure
) -> None:
    earlier = 0.1 * torch.randn(model.d_mlp, 3, generator=torch.Generator().manual_seed(5))
    delta = run_batch(
        method, BATCH, model, moments, previous=lambda layer: earlier, previous_weight=previous
    )
    weight = HPARAMS[method]["mom2_update_weight"]
    for layer in (FIRST, LAST):
        change, keys, residual = parts(model, delta, layer)
        held = previous * earlier.double() @ earlier.double().T
        system = weight * moments[layer].moment + held + keys @ keys.T
        left, right = change @ system, residual @ keys.T
        error = float((left - right).norm() / right.norm())
        assert error < 1e-6
        figure("P30", "normal equations of MEMIT and its kin: to {}", error)


@pytest.mark.parametrize("count", [1, 2])
def test_emmet_without_a_ridge_satisfies_its_constraints(
    count: int, model: EditableModel, moments: Moments
) -> None:
    delta = run_batch("emmet", BATCH[:count], model, moments, emmet_lambda=0.0)
    for name, keys in delta.keys.items():
        weight = model.weight(name).double() + product(delta.parameters[name])
        values = delta.values[name].double()
        assert float((weight @ keys.double() - values).norm() / values.norm()) < 1e-4


def test_emmet_changes_along_the_whitened_keys(model: EditableModel, moments: Moments) -> None:
    delta = run_batch("emmet", BATCH, model, moments, update_norm_lambda=0.3)
    change, keys, residual = parts(model, delta, FIRST)
    prior = moments[FIRST].moment + 0.3 * torch.eye(model.d_mlp)
    white = torch.linalg.solve(prior, keys)
    expected = residual @ torch.linalg.solve(keys.T @ white + 0.1 * torch.eye(2), white.T)
    assert float((change - expected).norm() / expected.norm()) < 1e-4


@pytest.mark.parametrize("criterion", ["energy", "absolute"])
def test_alphaedit_stays_in_the_null_space_of_the_known_keys(
    criterion: str, model: EditableModel, moments: Moments
) -> None:
    values = moments[FIRST].spectrum[0]
    threshold = 0.3 if criterion == "energy" else float(values[len(values) // 2])
    delta = run_batch(
        "alphaedit",
        BATCH,
        model,
        moments,
        nullspace_criterion=criterion,
        nullspace_threshold=threshold,
        layers=[FIRST],
    )
    change, keys, residual = parts(model, delta, FIRST)
    null = NullSpace.of(moments[FIRST], threshold, criterion)  # type: ignore[arg-type]
    known = null.complement * moments[FIRST].moment.diagonal().mean().sqrt()
    assert float((null.project(change.T).T - change).norm() / change.norm()) < 1e-6
    assert float((change @ known).norm() / change.norm()) < 1e-6
    projected = null.project(keys)
    system = null.project(keys @ keys.T) + 0.1 * torch.eye(model.d_mlp)
    expected = residual @ torch.linalg.solve(system, projected).T
    assert float((change - expected).norm() / expected.norm()) < 1e-4
    layers = delta.evidence["layers"]
    assert isinstance(layers, dict)
    assert layers[model.parameter_name(FIRST)]["null_rank"] == null.rank  # type: ignore[index, call-overload]


def test_alphaedit_holds_earlier_keys_by_their_weight(
    model: EditableModel, moments: Moments
) -> None:
    earlier = torch.randn(model.d_mlp, 2, generator=torch.Generator().manual_seed(5))
    delta = run_batch("alphaedit", BATCH, model, moments, previous=lambda layer: earlier)
    change, keys, residual = parts(model, delta, FIRST)
    null = NullSpace.of(moments[FIRST], 0.3, "energy")
    all_keys = torch.cat([earlier.double(), keys], dim=1)
    system = null.project(all_keys @ all_keys.T) + 0.1 * torch.eye(model.d_mlp)
    expected = residual @ torch.linalg.solve(system, null.project(keys)).T
    assert float((change - expected).norm() / expected.norm()) < 1e-4


@pytest.mark.parametrize("criterion", ["energy", "absolute"])
def test_a_threshold_that_leaves_nothing_or_everything_is_refused(
    criterion: str, model: EditableModel, moments: Moments
) -> None:
    for threshold in (1e-30, 1e30):
        with pytest.raises(EditFailed, match="null space has rank"):
            run_batch(
                "alphaedit",
                BATCH,
                model,
                moments,
                nullspace_criterion=criterion,
                nullspace_threshold=threshold,
            )


@pytest.mark.promise("P12")
@pytest.mark.parametrize("method", BATCHED)
def test_column_j_belongs_to_request_j(method: str, model: EditableModel, moments: Moments) -> None:
    delta = run_batch(method, BATCH, model, moments)
    turned = run_batch(method, BATCH[::-1], model, moments)
    for name, change in delta.parameters.items():
        other = turned.parameters[name]
        assert isinstance(change, LowRank)
        assert isinstance(other, LowRank)
        assert change.u.shape[1] == change.v.shape[0] == delta.keys[name].shape[1] == 2
        whole = sum(torch.outer(change.u[:, j], change.v[j]) for j in range(2))
        assert torch.allclose(whole, product(change).float(), atol=1e-5)
        for j in range(2):
            ours, theirs = (
                torch.outer(c.u[:, i], c.v[i]) for c, i in ((change, j), (other, 1 - j))
            )
            assert float((ours - theirs).norm() / ours.norm()) < 2e-3


@pytest.mark.parametrize("method", BATCHED)
def test_a_batch_moves_every_subject_towards_its_value(
    method: str, model: EditableModel, moments: Moments
) -> None:
    module = model.projection(LAST) if method == "pmet" else model.residual(LAST)
    before = subject_states(model, BATCH, module=module)
    wanted = before + searched(method, model)
    with Edited(model, run_batch(method, BATCH, model, moments)):
        after = subject_states(model, BATCH, module=module)
    left = (wanted - after).norm(dim=1) / (wanted - before).norm(dim=1)
    assert float(left.mean()) < 0.9


@pytest.mark.parametrize("method", BATCHED)
def test_upper_layers_are_computed_on_edited_lower_ones(
    method: str, model: EditableModel, moments: Moments
) -> None:
    delta = run_batch(method, BATCH, model, moments)
    lower, upper = model.parameter_name(FIRST), model.parameter_name(LAST)
    only_lower = Delta({lower: delta.parameters[lower]})
    module = model.projection(LAST) if method == "pmet" else model.residual(LAST)
    with Edited(model, only_lower):
        keys = subject_keys(model, BATCH, layers=[LAST], templates=USED)[LAST]
        now = subject_states(model, BATCH, module=module)
    assert torch.allclose(context_mean(keys).T, delta.keys[upper], atol=1e-5)
    wanted = subject_states(model, BATCH, module=module) + searched(method, model)
    residual = (wanted - now).T
    stored = delta.values[upper] - model.weight(upper) @ delta.keys[upper]
    assert torch.allclose(stored, residual, atol=1e-4)
    first = delta.values[lower] - model.weight(lower) @ delta.keys[lower]
    share = math.sqrt(2) if method == "pmet" else 2.0
    assert torch.allclose(first * share, searched(method, model).T, atol=1e-4)


def searched(method: str, model: EditableModel) -> Tensor:
    """The deltas of both requests, each searched alone. Shape: [n, d]."""
    from editors.methods import get_editor

    hparams = get_editor(method).hparams.from_dict(HPARAMS[method])
    modules = {"pmet": (model.projection(LAST), model.attention_output(LAST))}
    found = [
        optimise_value(
            model,
            Wish((request,)),
            modules=modules.get(method, (model.residual(LAST),)),
            templates=USED,
            settings=hparams,
        )
        for request in BATCH
    ]
    return torch.stack([value.delta for value in found])


def test_requests_about_one_subject_share_a_value_that_says_both(
    model: EditableModel, moments: Moments
) -> None:
    batch = [REQUEST, OTHER, SAME]
    merged = run_batch("memit", batch, model, moments)
    apart = run_batch("memit", batch, model, moments, same_subject="separate")
    assert merged.evidence["groups"] == [[0, 2], [1]]
    assert merged.evidence["merged"] == 2
    assert apart.evidence["groups"] == [[0], [1], [2]]
    name = model.parameter_name(FIRST)
    residual = merged.values[name] - model.weight(name) @ merged.keys[name]
    assert torch.allclose(residual[:, 0], residual[:, 2], atol=1e-5)
    assert merged.parameters[name].u.shape[1] == 3  # type: ignore[union-attr]


@pytest.mark.parametrize("method", BATCHED)
def test_a_batch_is_checked(method: str, model: EditableModel, moments: Moments) -> None:
    clash = EditRequest(REQUEST.subject, REQUEST.prompt, "Warsaw")
    with pytest.raises(InvalidRequest, match=r"asks for .* and"):
        run_batch(method, [REQUEST, clash], model, moments)
    with pytest.raises(InvalidRequest, match="give 1 to"):
        run_batch(method, [], model, moments)


def test_without_earlier_keys_the_weight_makes_no_difference(
    model: EditableModel, moments: Moments
) -> None:
    plain = raw(run_batch("memit", BATCH, model, moments, previous_weight=0.0))
    for previous in (None, lambda layer: None, lambda layer: torch.zeros(model.d_mlp, 0)):
        assert raw(run_batch("memit", BATCH, model, moments, previous=previous)) == plain


def test_earlier_keys_are_left_alone_the_more_they_weigh(
    model: EditableModel, moments: Moments
) -> None:
    earlier = torch.randn(model.d_mlp, 2, generator=torch.Generator().manual_seed(5))
    moved = []
    for weight in (0.0, 1.0, 1000.0):
        delta = run_batch(
            "memit", BATCH, model, moments, previous=lambda n: earlier, previous_weight=weight
        )
        change = product(delta.parameters[model.parameter_name(FIRST)])
        moved.append(float((change @ earlier.double()).norm()))
    assert moved[0] > moved[1] > moved[2] > 0
    assert moved[2] < 0.05 * moved[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": []},
        {"layers": [1, 0]},
        {"layers": [0, 0]},
        {"layers": [0.5]},
        {"layers": "01"},
        {"contexts": -1},
        {"mom2_update_weight": 0},
    ],
)
def test_senseless_settings_of_the_family_are_refused(changes: dict[str, Any]) -> None:
    from editors.errors import InvalidHparams
    from editors.methods import get_editor

    kind = get_editor("memit").hparams
    good = kind.from_dict(HPARAMS["memit"])
    assert good.to_dict()["layers"] == [LAYER, LAYER + 1]
    assert kind.from_dict(good.to_dict()) == good
    with pytest.raises(InvalidHparams):
        kind.from_dict(HPARAMS["memit"] | changes)


def test_a_batch_may_be_as_large_as_its_facts_one_beside_the_other() -> None:
    weight = torch.ones(8, 8)  # norm 8
    change = LowRank(torch.eye(8, 4) * 3, torch.eye(4, 8))  # four of norm 3, 6 together
    assert update_ratio(change, weight, 0.38, facts=4) == 0.75
    for facts, told in ((1, "is 0.38:"), (3, "0.658 for these 3")):
        with pytest.raises(EditFailed, match=told):
            update_ratio(change, weight, 0.38, facts=facts)
