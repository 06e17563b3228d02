"""A checkpoint that is cut anew has the same tensors, in files of the size that was asked for."""

import errno
import json
import os
import tracemalloc

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from store import resharding
from store.checkpoints import INDEX, SINGLE, Checkpoint
from store.errors import (
    CheckpointCorrupt,
    CheckpointError,
    CheckpointMissing,
    CheckpointUnsupported,
    StoreWriteError,
)
from store.resharding import layout_of, reshard
from tests.sim.faulty_fs import FaultyFs

# Of 384 bytes each in bfloat16; beside them float32 of 20 and of 1,000, and twice three bytes.
SHAPES = {f"h.{place}.w": (16, 12) for place in range(6)}


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """What a sync is worth is proved by the power-loss model; here it would only cost time."""
    monkeypatch.setattr(os, "fsync", os.fstat)


@pytest.fixture
def base(tmp_path):
    """Two shards of mixed numbers, and a config."""
    folder = tmp_path / "base"
    folder.mkdir()
    torch.manual_seed(0)
    weight_map = {}
    for part in range(2):
        name = f"model-0000{part + 1}-of-00002.safetensors"
        tensors = {n: torch.randn(s).bfloat16() for n, s in list(SHAPES.items())[part::2]}
        tensors[f"scale.{part}"] = torch.randn(5 + 245 * part)
        tensors[f"mask.{part}"] = torch.ones(3, dtype=torch.uint8)
        save_file(tensors, folder / name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(tensors, name)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "config.json").write_text("{}")
    return Checkpoint.open(folder)


def cut(base, target, most, replaced=None, **options):
    return reshard(base, target, layout_of(base, most), replaced or {}, **options)


def everything(checkpoint):
    tensors = {}
    for path in checkpoint.weight_files:
        tensors |= load_file(path)
    return tensors


@pytest.mark.parametrize(("most", "files"), [(1, 10), (384, 10), (800, 5), (2000, 3), (10**9, 1)])
def test_every_tensor_is_there_in_files_of_the_size(base, tmp_path, most, files):
    new = cut(base, tmp_path / "new", most)
    assert len(new.weight_files) == files
    assert {n: base.digest(n) for n in base.names()} == {n: new.digest(n) for n in new.names()}
    for path in new.weight_files:
        inside = [entry for entry in new.entries.values() if entry.file == path]
        assert len(inside) == 1 or sum(entry.nbytes for entry in inside) <= most
        assert all(e.start % 4 == 0 for e in inside if e.dtype == "F32")
        with safe_open(path, "pt") as file:
            assert file.metadata() == {"format": "pt"}
    if files == 1:
        assert [path.name for path in new.files()] == [SINGLE]
    else:
        index = json.loads(new.index.read_text())
        assert index["metadata"]["total_size"] == sum(e.nbytes for e in base.entries.values())
        assert set(index["weight_map"]) == set(base.names())
        names = [f"model-{n:05}-of-{files:05}.safetensors" for n in range(1, files + 1)]
        assert [path.name for path in new.weight_files] == names
    torch.testing.assert_close(everything(new), everything(base), rtol=0, atol=0)


def test_a_file_has_the_bytes_that_safetensors_would_write(base, tmp_path):
    new = cut(base, tmp_path / "new", 2000)
    for path in new.weight_files:
        save_file(load_file(path), tmp_path / "theirs.safetensors", metadata={"format": "pt"})
        assert path.read_bytes() == (tmp_path / "theirs.safetensors").read_bytes()


def test_replaced_tensors_are_made_when_they_are_written(base, tmp_path):
    made = []

    def make():
        made.append(sorted(path.name for path in tmp_path.glob(".new*/*")))
        return np.full(384, 7, np.uint8)

    new = cut(base, tmp_path / "new", 800, {"h.3.w": make})
    assert new.raw("h.3.w").tobytes() == b"\x07" * 384
    assert {n for n in base.names() if base.digest(n) != new.digest(n)} == {"h.3.w"}
    assert [len(names) for names in made] == [4]


def test_documents_see_the_finished_weights(base, tmp_path):
    def count(folder):
        return str(len(list(folder.glob("*.safetensors")))).encode()

    new = cut(base, tmp_path / "new", 800, documents={"README.md": count})
    assert (new.folder / "README.md").read_text() == "5"
    assert (new.folder / "config.json").read_text() == "{}"


def test_what_cannot_be_cut_is_refused_and_leaves_nothing(base, tmp_path, monkeypatch):
    target = tmp_path / "new"
    with pytest.raises(CheckpointError, match="size from 1 up"):
        cut(base, target, 0)
    with pytest.raises(CheckpointMissing):
        cut(base, target, 800, {"nothing": bytes})
    with pytest.raises(CheckpointError, match="383 given"):
        cut(base, target, 800, {"h.5.w": lambda: bytes(383)})
    monkeypatch.setattr(resharding, "MOST_FILES", 9)
    with pytest.raises(CheckpointError, match="10 files"):
        cut(base, target, 1)
    (base.folder / "config.json").write_text('{"quantization_config": {"bits": 4}}')
    with pytest.raises(CheckpointUnsupported, match="quantised"):
        cut(base, target, 800)
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


@pytest.mark.promise("P10")
def test_a_disk_that_fails_at_any_call_leaves_nothing(base, tmp_path):
    counting = FaultyFs()
    cut(base, tmp_path / "counted", 800, fs=counting)
    full = OSError(errno.ENOSPC, "full")
    for at in range(1, len(counting.calls)):
        with pytest.raises(StoreWriteError):
            cut(base, tmp_path / "new", 800, fs=FaultyFs(at, full))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "counted"]


def test_a_base_that_changes_meanwhile_is_noticed(base, tmp_path):
    def other():
        path = base.entry("h.4.w").file
        tensors = load_file(path)
        tensors["h.4.w"] = tensors["h.4.w"].T.contiguous()
        os.unlink(path)
        save_file(tensors, path, metadata={"format": "pt"})
        os.truncate(path, path.stat().st_size - 100)
        return bytes(384)

    with pytest.raises(CheckpointCorrupt):
        cut(base, tmp_path / "new", 800, {"h.0.w": other})
    assert not (tmp_path / "new").exists()


def test_memory_holds_one_tensor(tmp_path):
    folder, size = tmp_path / "base", 8_000_000
    folder.mkdir()
    save_file({f"t{n}": torch.zeros(size, dtype=torch.uint8) for n in range(4)}, folder / SINGLE)
    base = Checkpoint.open(folder)
    layout = layout_of(base, size)
    replaced = {"t1": lambda: np.full(size, 7, np.uint8)}
    tracemalloc.start()
    try:
        new = reshard(base, tmp_path / "new", layout, replaced)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size <= peak < 1.2 * size
    assert len(new.weight_files) == 4
