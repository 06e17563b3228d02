"""Sums of second moments: packed without leaks, continued and checked with the same bits."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import pytest
import torch

from editors import packing
from editors.covariance import Check, Sums, Watch, accumulate, add_up
from editors.errors import EditFailed
from editors.model import EditableModel
from editors.packing import packs
from editors.prompts import encode
from tests.contract.tiny import TEXTS, TINY

CORPUS = [f"{i} {text} {' '.join(TEXTS[: i % 4])}" for i, text in enumerate(TEXTS * 8)]
PROBES = ["The capital of", "Marie Curie", "", "北京"]


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return TINY[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of at most 300 places, windows of at most 600 tokens."""
    monkeypatch.setattr(packing, "BATCH_TOKENS", 300)
    monkeypatch.setattr(packing, "_WINDOW_TOKENS", 600)


def test_a_corpus_is_packed_whole_and_tight(model: EditableModel, small: None) -> None:
    found = list(packs(model, ["", *CORPUS], max_tokens=10**6))
    rows = [row for pack in found for row in pack.rows]
    whole = [encode(model, text).ids for text in ["", *CORPUS]]
    assert sorted(rows) == sorted(row for row in whole if row)
    places = [len(pack.rows) * max(map(len, pack.rows)) for pack in found]
    assert max(places) <= 300
    assert sum(places) < 1.25 * sum(map(len, rows))  # in the order they come: 1.6 times as many
    ends = [pack.texts for pack in found if pack.texts is not None]
    assert ends[-1] == len(CORPUS) + 1
    assert all(a < b for a, b in pairwise(ends))
    assert len(ends) > 3


def test_packing_goes_on_at_the_end_of_any_window(model: EditableModel, small: None) -> None:
    whole = list(packs(model, CORPUS, max_tokens=2500))
    assert sum(pack.tokens for pack in whole) == 2500
    for place, pack in enumerate(whole):
        if pack.texts is not None:
            done = sum(p.tokens for p in whole[: place + 1])
            rest = packs(model, CORPUS, max_tokens=2500, texts_done=pack.texts, done=done)
            assert list(rest) == whole[place + 1 :]


def test_a_sum_that_is_continued_has_the_bits_of_one_run(model: EditableModel, small: None) -> None:
    kept: list[Sums] = []
    watch = Watch(PROBES, keep=lambda sums: kept.append(copy.deepcopy(sums)))
    whole = add_up(model, Sums((0, 2)), CORPUS, 2500, watch=watch)
    assert len(kept) >= 4
    for state in kept:
        again = add_up(model, state, CORPUS, 2500, watch=Watch(PROBES))
        assert (again.count, again.texts, again.checks) == (2500, whole.texts, whole.checks)
        for layer in (0, 2):
            assert torch.equal(again.totals[layer], whole.totals[layer])
            assert torch.equal(again.moments()[layer].factor, whole.moments()[layer].factor)


def test_several_layers_in_one_pass_are_those_of_one_pass_each(model: EditableModel) -> None:
    several = accumulate(model, [0, 1, 2], CORPUS, max_tokens=1500)
    for layer in (0, 1, 2):
        alone = accumulate(model, [layer], CORPUS, max_tokens=1500)[layer]
        assert torch.equal(alone.moment, several[layer].moment)


def test_nothing_above_the_deepest_layer_is_run(
    model: EditableModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    above = model.model.get_submodule(model.projection(2))
    monkeypatch.setattr(above, "forward", lambda *_: pytest.fail("layer 2 was run"))
    assert accumulate(model, [0, 1], TEXTS, max_tokens=100)[1].count == 100


def test_a_check_tells_how_far_the_solution_moved(model: EditableModel, small: None) -> None:
    kept: list[Sums] = []
    watch = Watch(PROBES, keep=lambda sums: kept.append(copy.deepcopy(sums)))
    sums = add_up(model, Sums((1,)), CORPUS, 2500, watch=watch)
    assert len(sums.checks) == 4
    assert sums.checks[0].changes == {1: None}
    states = {state.count: state for state in kept}
    rows = [encode(model, text).ids for text in PROBES if text or model.tokenizer("")["input_ids"]]
    last = [len(row) - 1 for row in rows]
    keys = torch.stack(
        [plain_keys(model, row)[place] for row, place in zip(rows, last, strict=True)]
    )
    for before, now in pairwise(sums.checks):
        x, y = (
            torch.linalg.solve(states[c.count].totals[1] / c.count, keys.double().T)
            for c in (now, before)
        )
        expected = ((x - y).norm(dim=0) / x.norm(dim=0)).mean()
        assert now.changes[1] == pytest.approx(float(expected), rel=1e-3)


def plain_keys(model: EditableModel, row: tuple[int, ...]) -> torch.Tensor:
    from tests.unit.test_editors_keys import plain_inputs

    return plain_inputs(model, 1, model.tokenizer.decode(row, skip_special_tokens=True))


def test_a_settled_sum_ends_early_and_an_unsettled_one_does_not(
    model: EditableModel, small: None
) -> None:
    watch = Watch(PROBES, tolerance=0.5)
    same = add_up(model, Sums((1,)), CORPUS * 20, 40_000, watch=watch)
    assert same.checks[-1].settled(0.5)
    assert same.count == same.checks[-1].count < 40_000
    strict = Watch(PROBES, tolerance=1e-12)
    assert add_up(model, Sums((1,)), CORPUS, 2500, watch=strict).count == 2500


def test_what_cannot_be_compared_has_not_settled() -> None:
    assert Check(10, {0: 0.01, 1: 0.02}).settled(0.02)
    assert not Check(10, {0: 0.01, 1: 0.03}).settled(0.02)
    assert not Check(10, {0: 0.01, 1: None}).settled(0.02)


def test_without_tokens_there_is_no_moment() -> None:
    with pytest.raises(EditFailed, match="holds no text"):
        Sums((0,)).moments()
