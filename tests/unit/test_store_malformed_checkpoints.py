"""P14, P15, P16: malformed, escaping and pickled checkpoints are refused when they are opened."""

import json
import os
import pickle
import struct

import pytest
import torch
from safetensors.torch import save_file

from store import headers
from store.checkpoints import Checkpoint
from store.errors import CheckpointCorrupt, CheckpointMissing, CheckpointUnsupported
from store.headers import read_header

pytestmark = pytest.mark.promise("P14")

INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(tmp_path):
    """Two shards of two tensors each."""
    weight_map = {}
    for i in (1, 2):
        name = f"model-{i:05}-of-00002.safetensors"
        tensors = {f"{i}.{part}": torch.full((2, 3), i).bfloat16() for part in "ab"}
        save_file(tensors, tmp_path / name)
        weight_map |= dict.fromkeys(tensors, name)
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    return tmp_path


class Marker:
    """Unpickling this writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.promise("P15")
@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "model.pt", "flax_model.msgpack", "tf_model.h5"]
)
def test_P15_a_folder_of_pickles_is_refused_and_not_opened(tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps(Marker(tmp_path / "executed")))
    with pytest.raises(CheckpointUnsupported, match="convert"):
        Checkpoint.open(tmp_path)
    assert not (tmp_path / "executed").exists()


def test_an_empty_or_absent_folder_is_missing(tmp_path):
    with pytest.raises(CheckpointMissing):
        Checkpoint.open(tmp_path)
    with pytest.raises(CheckpointMissing):
        Checkpoint.open(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointMissing):
        Checkpoint.open(tmp_path / "file")


ESCAPES = [
    "../model.safetensors", "/etc/x.safetensors", "a/b.safetensors", "..", ".", "",
    "a\\b.safetensors", "C:\\x.safetensors", "x\x00.safetensors", "x\n.safetensors", "x.bin",
    "pytorch_model.bin", ".hidden.safetensors", "a" * 300 + ".safetensors", 7, None, ["x"],
]  # fmt: skip


@pytest.mark.promise("P16")
@pytest.mark.parametrize("shard", ESCAPES, ids=lambda s: repr(s)[:20])
def test_P16_an_index_cannot_lead_out_of_its_folder(tmp_path, shard, figure):
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"a": torch.ones(1)}, tmp_path / "model.safetensors.x")
    (tmp_path / "model.safetensors.x").rename(tmp_path / "model.safetensors")
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(CheckpointCorrupt):
        Checkpoint.open(folder)
    figure("P16", "{} shards that are none of their folder: refused", 1)


@pytest.mark.parametrize(
    "index",
    [
        "",
        "[]",
        "{}",
        '{"weight_map":[]}',
        '{"weight_map":{}}',
        '{"weight_map":{"a":"x","a":"y"}}',
        "NaN",
        "[" * 10_000,
    ],
)
def test_a_broken_index_is_corrupt(folder, index):
    (folder / INDEX).write_text(index)
    with pytest.raises(CheckpointCorrupt):
        Checkpoint.open(folder)


def test_an_index_that_contradicts_its_shards_is_corrupt(folder):
    index = json.loads((folder / INDEX).read_text())
    names = sorted(index["weight_map"])
    moved = {**index["weight_map"], names[0]: index["weight_map"][names[-1]]}
    for weight_map in ({**index["weight_map"], "ghost": index["weight_map"][names[0]]}, moved):
        (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}))
        with pytest.raises(CheckpointCorrupt):
            Checkpoint.open(folder)


def test_a_missing_shard_is_missing_and_a_tensor_in_two_shards_is_corrupt(folder):
    first, second = sorted(folder.glob("*.safetensors"))[:2]
    kept = second.read_bytes()
    second.write_bytes(first.read_bytes())
    with pytest.raises(CheckpointCorrupt, match="both"):
        Checkpoint.open(folder)
    second.unlink()
    with pytest.raises(CheckpointMissing):
        Checkpoint.open(folder)
    second.write_bytes(kept)
    Checkpoint.open(folder)


def test_every_truncation_of_a_weight_file_is_noticed_on_opening(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(3), "b": torch.ones(2, 2).half()}, path)
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(CheckpointCorrupt):
            Checkpoint.open(tmp_path)
    path.write_bytes(data + b"x")
    with pytest.raises(CheckpointCorrupt, match="end at byte"):
        Checkpoint.open(tmp_path)


def item(start, end, shape=(1,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ({"a": item(0, 4), "b": item(0, 4)}, 4), ({"a": item(0, 4), "b": item(2, 6)}, 6),
        ({"a": item(4, 8)}, 8), ({"a": item(0, 4), "b": item(8, 12)}, 12), ({"a": item(0, 8)}, 8),
        ({"a": item(0, 4, (2,))}, 4), ({"a": item(4, 0)}, 4), ({"a": item(-4, 0)}, 4),
        ({"a": item(0, 4.0)}, 4), ({"a": item(False, 4)}, 4), ({"a": item(0, 4, (-1, -1))}, 4),
        ({"a": item(0, 4, (1,) * 65)}, 4), ({"a": item(0, 2**70, (2**68,))}, 4), ({"a": 1}, 4),
        ({"a": {"dtype": "F32", "shape": [1]}}, 4), ({"a": {**item(0, 4), "dtype": 1}}, 4),
        ({"a": {**item(0, 4), "data_offsets": [0, 4, 4]}}, 4), ([], 0), ("x", 0), (None, 0),
    ],
    ids=lambda value: json.dumps(value)[:40],
)  # fmt: skip
def test_P14_a_header_that_lies_is_corrupt(tmp_path, header, body):
    text = json.dumps(header).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(body))
    with pytest.raises(CheckpointCorrupt, match="download it again"):
        Checkpoint.open(tmp_path)


@pytest.mark.parametrize(
    "data", [struct.pack("<Q", n) + b"{}" for n in (0, 1, 3, 2**40, 2**64 - 1)]
)
def test_P14_a_header_length_that_lies_is_corrupt(tmp_path, data):
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(CheckpointCorrupt):
        Checkpoint.open(tmp_path)


def test_a_header_above_the_limit_is_not_read(tmp_path, monkeypatch):
    save_file({"a": torch.ones(1)}, tmp_path / "model.safetensors")
    length = struct.unpack("<Q", (tmp_path / "model.safetensors").read_bytes()[:8])[0]
    monkeypatch.setattr(headers, "MAX_HEADER_BYTES", length)
    Checkpoint.open(tmp_path)
    monkeypatch.setattr(headers, "MAX_HEADER_BYTES", length - 1)
    with pytest.raises(CheckpointCorrupt):
        Checkpoint.open(tmp_path)


def test_a_dtype_of_tomorrow_is_listed_as_it_is(tmp_path):
    text = json.dumps({"a": item(0, 3, (2,), "F12")}).encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(3))
    assert [e.dtype for e in read_header(tmp_path / "x.safetensors")] == ["F12"]


@pytest.mark.parametrize("kind", ["fifo", "folder"])
def test_a_weight_file_of_another_kind_does_not_block(tmp_path, kind):
    path = tmp_path / "model.safetensors"
    os.mkfifo(path) if kind == "fifo" else path.mkdir()
    with pytest.raises(CheckpointCorrupt, match="regular"):
        Checkpoint.open(tmp_path)
