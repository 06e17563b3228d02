"""The fold's edges: what it refuses, what it leaves alone, and the bytes it hands on.

That its bits are right is shown in tests/property.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from editors.delta import Dense, LowRank
from ledger.errors import InvalidInput
from ledger.weights import DTYPES, Accumulator, digest, fold, fold_, from_raw, raw_bytes, select
from store.checkpoints import Checkpoint, TensorEntry
from store.errors import CheckpointCorrupt

BASE = torch.arange(6.0).reshape(2, 3)
UPDATE = LowRank(torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0, 0.0, -1.0]]))
OUTER = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0]])


def test_a_linear_weight_gains_the_product_of_the_factors():
    assert torch.equal(fold(BASE, [UPDATE], transposed=False), BASE + OUTER)


def test_a_transposed_weight_gains_its_transpose():
    assert torch.equal(fold(BASE.T, [UPDATE], transposed=True), (BASE + OUTER).T)


def test_a_dense_update_is_added_in_either_layout():
    dense = Dense(OUTER)
    assert torch.equal(fold(BASE, [dense], transposed=False), BASE + OUTER)
    assert torch.equal(fold(BASE.T, [dense], transposed=True), (BASE + OUTER).T)


def test_a_square_weight_is_transposed_only_if_it_is_stored_so():
    square, update = torch.zeros(2, 2), LowRank(torch.tensor([[1.0], [0.0]]), torch.ones(1, 2))
    assert fold(square, [update], transposed=False).tolist() == [[1.0, 1.0], [0.0, 0.0]]
    assert fold(square, [update], transposed=True).tolist() == [[1.0, 0.0], [1.0, 0.0]]


@pytest.mark.parametrize("dtype", list(DTYPES.values()))
def test_a_fold_of_nothing_is_a_copy(dtype):
    base = BASE.to(dtype)
    found = fold(base, [], transposed=False)
    assert torch.equal(found, base)
    assert found.data_ptr() != base.data_ptr()
    assert torch.equal(Accumulator(base, transposed=False).weights(), base)


def test_base_and_updates_are_left_as_they_were():
    base, u, v = BASE.clone(), UPDATE.u.clone(), UPDATE.v.clone()
    total = Accumulator(base, transposed=False)
    total.add(UPDATE)
    first = total.weights()
    total.add(UPDATE)
    fold(base, [UPDATE, Dense(OUTER)], transposed=False)
    assert torch.equal(base, BASE)
    assert torch.equal(UPDATE.u, u)
    assert torch.equal(UPDATE.v, v)
    assert torch.equal(first, BASE + OUTER)


@pytest.mark.parametrize("transposed", [False, True])
def test_an_update_of_another_shape_is_refused(transposed):
    base = BASE if transposed else BASE.T
    for update in (UPDATE, Dense(OUTER)):
        with pytest.raises(InvalidInput, match="another base"):
            fold(base.contiguous(), [update], transposed=transposed)
        with pytest.raises(InvalidInput, match="another base"):
            Accumulator(base.contiguous(), transposed=transposed).add(update)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("dtype", list(DTYPES.values()))
def test_a_base_that_is_not_finite_is_refused(dtype, value):
    base = BASE.to(dtype, copy=True)
    base[1, 2] = value
    with pytest.raises(InvalidInput, match="not finite"):
        fold(base, [UPDATE], transposed=False)


def test_the_digest_is_that_of_the_checkpoint(tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    tensors = {name: BASE.to(dtype) for name, dtype in DTYPES.items()}
    save_file(tensors, tmp_path / "model.safetensors")
    checkpoint = Checkpoint.open(tmp_path)
    for name, tensor in tensors.items():
        assert digest(tensor) == checkpoint.digest(name)
        read = from_raw(checkpoint.entry(name), checkpoint.own(name))
        assert torch.equal(read, tensor)
        assert read.dtype == tensor.dtype
        assert bytes(raw_bytes(tensor)) == checkpoint.raw(name).tobytes()


def test_the_digest_covers_dtype_shape_and_layout_of_the_bytes():
    half = BASE.to(torch.float16)
    line = hashlib.sha256(b"F16 2x3\n" + half.numpy().tobytes()).hexdigest()
    assert digest(half) == line
    others = [half.to(torch.bfloat16), half.reshape(3, 2), half.T, half.T.contiguous()]
    assert len({line, *map(digest, others)}) == 4
    assert digest(half.T) == digest(half.T.contiguous())


def test_what_is_read_can_be_changed_without_touching_the_checkpoint(tmp_path: Path):
    save_file({"w": BASE}, tmp_path / "model.safetensors")
    checkpoint = Checkpoint.open(tmp_path)
    read = from_raw(checkpoint.entry("w"), checkpoint.own("w"))
    assert fold_(read, [UPDATE], transposed=False) is read
    assert torch.equal(read, BASE + OUTER)
    assert torch.equal(from_raw(checkpoint.entry("w"), checkpoint.own("w")), BASE)


def test_a_checkpoint_that_was_cut_short_is_not_read(tmp_path: Path):
    save_file({"w": BASE}, tmp_path / "model.safetensors")
    checkpoint = Checkpoint.open(tmp_path)
    data = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(data[:-1])
    with pytest.raises(CheckpointCorrupt, match="ends early"):
        checkpoint.own("w")


@pytest.mark.parametrize("dtype", list(DTYPES.values()))
@pytest.mark.parametrize("transposed", [False, True])
def test_a_fold_in_place_has_the_same_bits(dtype, transposed):
    torch.manual_seed(1)
    base = torch.randn(1100, 1100).to(dtype)
    d_out, d_in = reversed(base.shape) if transposed else base.shape
    updates = [
        LowRank(torch.randn(d_out, 2), torch.randn(2, d_in)),
        Dense(torch.randn(d_out, d_in)),
    ]
    wanted = fold(base, updates, transposed=transposed)
    assert torch.equal(fold_(base, updates, transposed=transposed), wanted)
    assert torch.equal(base, wanted)


@pytest.mark.parametrize("dtype", ["F64", "I8", "F8_E4M3", "U32"])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(InvalidInput, match="unquantised"):
        from_raw(TensorEntry("w", dtype, (1, 1), Path("x"), 0, 8), np.zeros(8, np.uint8))


def test_the_columns_of_a_batch_fold_as_the_whole():
    u, v = torch.randn(2, 3), torch.randn(3, 3)
    whole = LowRank(u, v)
    parts = [select(whole, [number]) for number in range(3)]
    together = fold(BASE, [whole], transposed=False)
    assert torch.equal(fold(BASE, parts, transposed=False), together)
    assert torch.equal(select(whole, [2, 0]).u, u[:, [2, 0]])


@pytest.mark.parametrize("components", [[], [1], [-1], [0, 1]])
def test_a_component_that_is_not_there_is_refused(components):
    with pytest.raises(InvalidInput, match="no components"):
        select(UPDATE, components)


def test_a_dense_update_has_no_components():
    with pytest.raises(InvalidInput, match="whole batch"):
        select(Dense(OUTER), [0])
