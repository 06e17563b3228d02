"""Checkpoints are read lazily, every bound is checked, and nothing is unpickled."""

import hashlib
import json
import os
import tracemalloc

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from store import checkpoints, headers
from store.checkpoints import Checkpoint, tensor_digest
from store.errors import (
    CheckpointCorrupt,
    CheckpointMissing,
    StoreReadError,
)
from tests.sim.faulty_fs import open_descriptors

INDEX = "model.safetensors.index.json"


def sharded(folder, per_shard):
    """Write shards and their index as transformers does."""
    weight_map = {}
    for i, tensors in enumerate(per_shard, 1):
        name = f"model-{i:05}-of-{len(per_shard):05}.safetensors"
        save_file(tensors, folder / name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(tensors, name)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return weight_map


@pytest.fixture
def model(tmp_path):
    """Three bf16 shards with a float32 vector, a scalar and an empty tensor among them."""
    torch.manual_seed(0)
    tensors = {f"h.{i}.down_proj.weight": torch.randn(8, 6).bfloat16() for i in range(6)}
    items = list(tensors.items())
    shards = [dict(items[i : i + 2]) for i in (0, 2, 4)]
    shards[1]["norm.weight"] = torch.randn(6)
    shards[1]["scale"] = torch.tensor(2.5, dtype=torch.float16)
    shards[2]["empty"] = torch.zeros(0, 3)
    sharded(tmp_path, shards)
    return tmp_path, {n: t for shard in shards for n, t in shard.items()}


def raw_of(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def test_every_tensor_is_listed_and_read_as_it_was_written(model):
    folder, tensors = model
    checkpoint = Checkpoint.open(folder)
    assert checkpoint.names() == sorted(tensors)
    kinds = {torch.bfloat16: "BF16", torch.float16: "F16", torch.float32: "F32"}
    for name, tensor in tensors.items():
        entry = checkpoint.entry(name)
        assert (entry.dtype, entry.shape) == (kinds[tensor.dtype], tuple(tensor.shape))
        assert checkpoint.raw(name).tobytes() == raw_of(tensor)
        assert entry.file.read_bytes()[entry.start : entry.end] == raw_of(tensor)
        assert entry.nbytes == len(raw_of(tensor))


def test_the_digest_of_a_tensor_is_that_of_its_type_shape_and_bytes(model):
    folder, tensors = model
    checkpoint = Checkpoint.open(folder)
    for name, tensor in tensors.items():
        entry = checkpoint.entry(name)
        digest = tensor_digest(entry.dtype, entry.shape, raw_of(tensor))
        assert checkpoint.digest(name) == digest
    plain = hashlib.sha256(b"BF16 8x6\n" + raw_of(tensors["h.0.down_proj.weight"])).hexdigest()
    assert checkpoint.digest("h.0.down_proj.weight") == plain
    scalar = hashlib.sha256(b"F16 \n" + raw_of(tensors["scale"])).hexdigest()
    assert checkpoint.digest("scale") == scalar


def test_the_digest_tells_shapes_and_types_apart():
    raw = bytes(range(24))
    shapes = [("F32", (6,)), ("F32", (2, 3)), ("F32", (3, 2)), ("I32", (6,)), ("F64", (3,))]
    assert len({tensor_digest(dtype, shape, raw) for dtype, shape in shapes}) == len(shapes)
    array = np.frombuffer(raw, np.float32).reshape(2, 3)
    assert tensor_digest("F32", (2, 3), array) == tensor_digest("F32", (2, 3), raw)
    assert tensor_digest("F32", (0, 3), np.zeros((0, 3), np.float32)) == tensor_digest(
        "F32", (0, 3), b""
    )


def test_chunks_do_not_change_a_digest(model, monkeypatch):
    folder, tensors = model
    checkpoint = Checkpoint.open(folder)
    whole = {name: checkpoint.digest(name) for name in tensors}
    file_digest = checkpoint.file_digest(checkpoint.files()[0])
    monkeypatch.setattr(checkpoints, "CHUNK", 7)
    assert {name: checkpoint.digest(name) for name in tensors} == whole
    assert checkpoint.file_digest(checkpoint.files()[0]) == file_digest
    name = "h.0.down_proj.weight"
    assert tensor_digest("BF16", (8, 6), raw_of(tensors[name])) == whole[name]


def test_a_single_file_model_has_no_index(tmp_path):
    save_file({"a": torch.ones(2, 2)}, tmp_path / "model.safetensors")
    checkpoint = Checkpoint.open(tmp_path)
    assert checkpoint.files() == [tmp_path / "model.safetensors"]
    assert checkpoint.index is None
    assert checkpoint.raw("a").flags.writeable is False


def test_files_are_the_shards_and_the_index(model):
    folder, _ = model
    names = [path.name for path in Checkpoint.open(folder).files()]
    assert names == [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)] + [INDEX]


def test_reading_takes_the_memory_of_one_tensor_and_digesting_of_one_chunk(tmp_path, monkeypatch):
    size = 4_000_000
    tensors = {f"t{i}": torch.zeros(size, dtype=torch.uint8) for i in range(6)}
    save_file(tensors, tmp_path / "model.safetensors")
    monkeypatch.setattr(checkpoints, "CHUNK", 100_000)
    tracemalloc.start()
    try:
        checkpoint = Checkpoint.open(tmp_path)
        for name in tensors:
            checkpoint.digest(name)
        digesting = tracemalloc.get_traced_memory()[1]
        for name in tensors:
            checkpoint.raw(name)
        reading = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert digesting < 1_000_000
    assert size <= reading < 1.5 * size


def test_reading_leaves_no_descriptor_open(model):
    folder, tensors = model
    before = open_descriptors()
    checkpoint = Checkpoint.open(folder)
    for name in tensors:
        checkpoint.raw(name)
        checkpoint.digest(name)
    assert open_descriptors() == before


def test_an_unknown_tensor_is_missing(model):
    with pytest.raises(CheckpointMissing, match="names"):
        Checkpoint.open(model[0]).raw("nothing")


def hub_cache(folder, source):
    """The layout of the Hub cache: snapshots of links into blobs named by sha256."""
    blobs, snapshot = folder / "blobs", folder / "snapshots" / ("a" * 40)
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for path in source.iterdir():
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        (blobs / digest).write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(f"../../blobs/{digest}")
    return snapshot


def test_a_hub_cache_of_links_is_read_like_a_folder(model, tmp_path_factory):
    folder, tensors = model
    snapshot = hub_cache(tmp_path_factory.mktemp("hub"), folder)
    linked, plain = Checkpoint.open(snapshot), Checkpoint.open(folder)
    assert all(linked.digest(name) == plain.digest(name) for name in tensors)
    for one, other in zip(linked.files(), plain.files(), strict=True):
        assert linked.file_digest(one) == plain.file_digest(other)
        assert linked.file_digest(one, trust_hub_cache=True) == plain.file_digest(other)


def test_only_a_hub_cache_that_is_trusted_is_believed(model, tmp_path_factory):
    snapshot = hub_cache(tmp_path_factory.mktemp("hub"), model[0])
    checkpoint = Checkpoint.open(snapshot)
    path = checkpoint.files()[0]
    known = path.resolve().name
    with path.resolve().open("ab") as file:
        file.write(b"x")
    assert checkpoint.file_digest(path) != known
    assert checkpoint.file_digest(path, trust_hub_cache=True) == known
    elsewhere = snapshot / "elsewhere.safetensors"
    elsewhere.symlink_to(path.resolve().rename(snapshot / ("b" * 64)))
    assert checkpoint.file_digest(elsewhere, trust_hub_cache=True) != "b" * 64


def test_a_file_that_shrinks_after_opening_is_noticed(model):
    folder, _ = model
    checkpoint = Checkpoint.open(folder)
    entry = checkpoint.entry("h.5.down_proj.weight")
    os.truncate(entry.file, entry.start + 1)
    with pytest.raises(CheckpointCorrupt):
        checkpoint.raw(entry.name)
    with pytest.raises(CheckpointCorrupt):
        checkpoint.digest(entry.name)


def test_a_disk_that_cannot_be_read_is_not_a_corrupt_model(model, monkeypatch):
    checkpoint = Checkpoint.open(model[0])

    def broken(*args):
        raise OSError(5, "broken")

    monkeypatch.setattr(headers.os, "pread", broken)
    with pytest.raises(StoreReadError):
        checkpoint.raw("scale")


@pytest.mark.parametrize(
    ("config", "quantised"),
    [
        ({}, False),
        ({"quantization_config": {"bits": 4}}, True),
        ({"quantization_config": None}, False),
    ],
)
def test_a_quantised_model_is_recognised(model, config, quantised):
    checkpoint = Checkpoint.open(model[0])
    assert checkpoint.quantised is False
    (model[0] / "config.json").write_text(json.dumps(config))
    assert checkpoint.quantised is quantised
    (model[0] / "config.json").write_text("{")
    with pytest.raises(CheckpointCorrupt):
        assert checkpoint.quantised
