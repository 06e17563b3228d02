"""From active edits to tensors: order, parts of a batch, names, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import ledger.versions
from editors.delta import Dense, LowRank
from ledger import Ledger
from ledger.errors import BaseMismatch, Conflict, InvalidInput
from ledger.versions import Versions
from tests.property import fold_by_hand as hand
from tests.property.delta_ledger import apply, plain_base, random_update, start, wanted

FIRST, SECOND = "model.layers.0.mlp.down_proj.weight", "model.layers.1.mlp.down_proj.weight"
SHAPE = (4, 5)


def tensors() -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(3)
    values = [torch.from_numpy(rng.standard_normal(SHAPE)).bfloat16() for _ in range(2)]
    return {FIRST: values[0], SECOND: values[1], "model.norm.weight": torch.ones(5)}


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Ledger]:
    base = plain_base(tmp_path / "base", tensors(), "llama")
    with start(tmp_path / "ledger", base) as ledger:
        yield ledger


def versions(made: Ledger) -> Versions:
    return made.workspace.versions


def folded(made: Ledger, active: tuple[int, ...]) -> dict[str, torch.Tensor]:
    found = versions(made).tensors(versions(made).plan(active))
    return {tensor.parameter: tensor.weights for tensor in found}


def test_only_touched_tensors_are_read(made, monkeypatch):
    apply(made, {SECOND: random_update(1, SHAPE)})
    read: list[str] = []
    original = Versions.base
    monkeypatch.setattr(Versions, "base", lambda s, name: read.append(name) or original(s, name))
    assert set(folded(made, (1,))) == {SECOND}
    assert folded(made, ()) == {}
    assert read == [SECOND]


def test_components_stand_in_ledger_order(made):
    small, large = random_update(1, SHAPE, scale=1e-7), random_update(2, SHAPE, scale=1e8)
    for update in (large, small, LowRank(-large.u, large.v)):
        apply(made, {FIRST: update})
    made.revert(["1", "2"])
    made.reapply(["2"])
    made.reapply(["1"])
    active = made.journal.history().active()
    assert active == (1, 2, 3)
    assert np.array_equal(hand.bits_of(folded(made, active)[FIRST]), wanted(made, FIRST, active))


def test_a_plan_keeps_the_order_it_is_given(made):
    """The order is the history's business; the numbers of edits decide nothing here."""
    updates = [random_update(seed, SHAPE) for seed in (1, 2, 3)]
    for update in updates:
        apply(made, {FIRST: update})
    found = versions(made).plan((3, 1, 2))[FIRST]
    assert [found.index(part) for part in versions(made).plan((1, 2, 3))[FIRST]] == [1, 2, 0]
    assert torch.equal(found[0].u, updates[2].u)


def test_each_fact_of_a_batch_owns_its_column(made):
    batch = random_update(7, SHAPE, rank=3)
    assert apply(made, {FIRST: batch}, facts=3) == (1, 2, 3)
    for active in ((1,), (2, 3), (1, 3), (1, 2, 3)):
        bits = hand.bits_of(folded(made, active)[FIRST])
        assert np.array_equal(bits, wanted(made, FIRST, active))
    alone = versions(made).plan((2,))[FIRST]
    assert [tuple(part.shape) for part in alone] == [SHAPE]
    assert torch.equal(alone[0].u, batch.u[:, 1:2])


def test_an_edit_alone_in_its_batch_owns_the_whole_delta(made):
    apply(made, {FIRST: random_update(1, SHAPE, rank=3)})
    (part,) = versions(made).plan((1,))[FIRST]
    assert part.v.shape[0] == 3


def test_the_same_edits_give_the_same_update_objects(made):
    """A live model continues its sum only where it meets the very same updates again."""
    apply(made, {FIRST: random_update(1, SHAPE, rank=2)}, facts=2)
    apply(made, {FIRST: random_update(2, SHAPE)})
    before, after = versions(made).plan((1, 2)), versions(made).plan((1, 2, 3))
    assert before[FIRST] == after[FIRST][:2]


def test_a_dense_batch_stands_or_falls_together(made):
    apply(made, {FIRST: Dense(torch.ones(SHAPE)), SECOND: random_update(1, SHAPE, rank=2)}, facts=2)
    apply(made, {FIRST: random_update(2, SHAPE)})
    plan = versions(made).plan((1, 2, 3))
    assert [type(part) for part in plan[FIRST]] == [Dense, LowRank]
    assert [type(part) for part in plan[SECOND]] == [LowRank, LowRank]
    with pytest.raises(Conflict, match=r"edits 1, 2 share one dense delta.*2 would stay out"):
        versions(made).plan((1, 3))
    with pytest.raises(Conflict, match="1 would stay out"):
        made.revert(["1"])
    made.revert(["2", "1"])
    assert made.journal.history().active() == (3,)


def test_an_edit_without_a_delta_cannot_be_active(made):
    from ledger.records import BatchRecord, EditRecord, Rows

    batch = BatchRecord(oid=None, method="given", layers=(), hparams={}, seed=0)
    edit = EditRecord(subject="A", prompt="{} is", target_new="B")
    made.journal.append("reject", expected_head=0, rows=Rows(batch=batch, edits=(edit,)))
    with pytest.raises(InvalidInput, match="edit 1 has no delta"):
        versions(made).plan((1,))


@pytest.mark.parametrize(
    ("stored", "parameter", "found"),
    [
        (["h.0.w", "h.1.w"], "transformer.h.0.w", "h.0.w"),
        (
            ["language_model.model.layers.0.w"],
            "model.layers.0.w",
            "language_model.model.layers.0.w",
        ),
        (["a.w", "transformer.a.w"], "a.w", "a.w"),
        (["h.10.w", "h.0.w"], "x.h.0.w", "h.0.w"),
        (["10.w"], "0.w", None),
        (["x.a.w", "y.a.w"], "a.w", None),
        (["b.w"], "a.w", None),
    ],
)
def test_a_parameter_is_found_under_the_name_the_checkpoint_gives_it(
    tmp_path, stored, parameter, found
):
    base = plain_base(tmp_path / "base", {name: torch.ones(2, 2) for name in stored}, "llama")
    with start(tmp_path / "ledger", base) as made:
        if found:
            assert versions(made).key(parameter) == found
            return
        with pytest.raises(BaseMismatch, match="holds no tensor"):
            versions(made).key(parameter)


@pytest.mark.parametrize(("model_type", "transposed"), [("llama", False), ("gpt2", True)])
def test_the_layout_is_that_of_the_architecture(tmp_path, model_type, transposed):
    base = plain_base(tmp_path / "base", {FIRST: torch.zeros(5, 5)}, model_type)
    with start(tmp_path / "ledger", base) as made:
        assert versions(made).transposed is transposed
        apply(made, {FIRST: LowRank(torch.eye(5)[:, :1].contiguous(), torch.ones(1, 5))})
        ones = folded(made, (1,))[FIRST]
        assert torch.equal(ones[:, 0] if transposed else ones[0], torch.ones(5))
        assert int(ones.count_nonzero()) == 5


def test_a_base_tensor_that_changed_is_refused_whatever_its_date(made, tmp_path):
    apply(made, {FIRST: random_update(1, SHAPE)})
    path = tmp_path / "base" / "model.safetensors"
    changed = load_file(path)
    changed[FIRST][0, 0] += 1
    save_file(changed, path)
    plan = versions(made).plan((1,))
    with pytest.raises(BaseMismatch, match="restore the base"):
        list(versions(made).tensors(plan))
    assert torch.equal(versions(made).base(SECOND), changed[SECOND])


def test_an_object_is_decoded_once(made, monkeypatch):
    apply(made, {FIRST: random_update(1, SHAPE), SECOND: random_update(2, SHAPE)})
    fresh = Versions(made.journal, made.store, tmp_folder(made))
    calls: list[bytes] = []
    original = ledger.versions.decode_delta
    monkeypatch.setattr(
        ledger.versions, "decode_delta", lambda data: calls.append(data) or original(data)
    )
    fresh.plan((1,))
    fresh.plan((1,))
    assert len(calls) == 1


def tmp_folder(made: Ledger) -> Path:
    return versions(made).checkpoint.folder
