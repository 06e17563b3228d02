"""A surgical export differs from its source in the replaced byte ranges, and nowhere else."""

import errno
import json
import os
import tracemalloc

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from store.checkpoints import Checkpoint
from store.errors import (
    CheckpointCorrupt,
    CheckpointError,
    CheckpointMissing,
    CheckpointUnsupported,
    StoreWriteError,
)
from store.filesystem import Filesystem
from store.surgery import rewrite

INDEX = "model.safetensors.index.json"
COMPANIONS = {
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "vocab.json", "merges.txt", "tokenizer.model", "LICENSE",
    "chat_template.jinja",
}  # fmt: skip
LEFT_OUT = {
    "pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "modeling_custom.py",
    "flax_model.msgpack", "tf_model.h5", "training_args.bin", ".gitattributes", "README.md",
}  # fmt: skip


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """What a sync is worth is proved by the power-loss model; here it would only cost time."""
    monkeypatch.setattr(os, "fsync", os.fstat)


@pytest.fixture
def base(tmp_path):
    """Three bf16 shards and the files that lie around them on the Hub."""
    folder = tmp_path / "base"
    folder.mkdir()
    torch.manual_seed(0)
    weight_map = {}
    for i in range(3):
        name = f"model-0000{i + 1}-of-00003.safetensors"
        tensors = {f"h.{2 * i + j}.w": torch.randn(16, 12).bfloat16() for j in range(2)}
        save_file(tensors, folder / name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(tensors, name)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    for name in COMPANIONS | LEFT_OUT:
        (folder / name).write_text("{}")
    (folder / "onnx").mkdir()
    return Checkpoint.open(folder)


def fresh(checkpoint, name, seed=1):
    return np.random.default_rng(seed).bytes(checkpoint.entry(name).nbytes)


def snapshot(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_only_the_byte_ranges_of_replaced_tensors_differ(base, tmp_path):
    new = {name: fresh(base, name) for name in ("h.1.w", "h.4.w")}
    before = snapshot(base.folder)
    edited = rewrite(base, tmp_path / "edited", new.items())
    for path in base.weight_files:
        expected = bytearray(path.read_bytes())
        for name, data in new.items():
            entry = base.entry(name)
            if entry.file == path:
                expected[entry.start : entry.end] = data
        assert (edited.folder / path.name).read_bytes() == expected
    assert snapshot(base.folder) == before
    assert (edited.folder / INDEX).read_bytes() == base.index.read_bytes()


def test_digests_change_for_the_replaced_tensors_only(base, tmp_path):
    edited = rewrite(base, tmp_path / "edited", [("h.2.w", fresh(base, "h.2.w"))])
    changed = {name for name in base.names() if base.digest(name) != edited.digest(name)}
    assert changed == {"h.2.w"}


def test_the_safetensors_library_reads_the_result(base, tmp_path):
    array = torch.randn(16, 12).bfloat16()
    rewrite(base, tmp_path / "edited", [("h.3.w", array.view(torch.uint8).numpy())])
    with safe_open(tmp_path / "edited" / base.entry("h.3.w").file.name, "pt") as file:
        assert torch.equal(file.get_tensor("h.3.w"), array)
        assert file.metadata() == {"format": "pt"}


def test_with_nothing_replaced_it_is_a_copy(base, tmp_path):
    edited = rewrite(base, tmp_path / "edited", [])
    kept = {n: d for n, d in snapshot(base.folder).items() if n not in LEFT_OUT}
    assert snapshot(edited.folder) == kept


def test_files_that_describe_the_model_go_along_and_pickles_and_code_do_not(base, tmp_path):
    edited = rewrite(base, tmp_path / "edited", [])
    names = {path.name for path in edited.folder.iterdir()}
    assert names == COMPANIONS | {INDEX} | {path.name for path in base.weight_files}


def test_documents_go_along_and_win_over_companions(base, tmp_path):
    def names(folder):
        return " ".join(sorted(path.name for path in folder.iterdir())).encode()

    documents = {"README.md": names, "config.json": lambda folder: b'{"edited":true}'}
    edited = rewrite(base, tmp_path / "edited", [], documents=documents)
    made = COMPANIONS - {"config.json"} | {INDEX} | {path.name for path in base.weight_files}
    assert (edited.folder / "README.md").read_text() == " ".join(sorted(made))
    assert (edited.folder / "config.json").read_text() == '{"edited":true}'


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("evil.py", CheckpointUnsupported), ("x.bin", CheckpointUnsupported),
        ("X.PT", CheckpointUnsupported),
        (INDEX, CheckpointError), ("model-00001-of-00003.safetensors", CheckpointError),
    ],
)  # fmt: skip
def test_documents_cannot_be_code_pickles_or_weights(base, tmp_path, name, error):
    with pytest.raises(error):
        rewrite(base, tmp_path / "edited", [], documents={name: lambda folder: b""})
    assert not (tmp_path / "edited").exists()


def wrong_requests(base):
    data = fresh(base, "h.0.w")
    return {
        "unknown tensor": ([("nothing", data)], CheckpointMissing),
        "too short": ([("h.0.w", data[:-1])], CheckpointError),
        "too long": ([("h.0.w", data + b"x")], CheckpointError),
        "empty": ([("h.0.w", b"")], CheckpointError),
        "twice": ([("h.0.w", data), ("h.0.w", data)], CheckpointError),
    }


@pytest.mark.parametrize("case", ["unknown tensor", "too short", "too long", "empty", "twice"])
def test_a_wrong_replacement_leaves_nothing_behind(base, tmp_path, case):
    replaced, error = wrong_requests(base)[case]
    with pytest.raises(error):
        rewrite(base, tmp_path / "edited", replaced)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, RuntimeError, OSError])
def test_an_error_of_the_caller_passes_through_and_leaves_nothing_behind(base, tmp_path, error):
    def failing():
        yield "h.0.w", fresh(base, "h.0.w")
        raise error

    with pytest.raises(error) as caught:
        rewrite(base, tmp_path / "edited", failing())
    assert caught.type is error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base"]


@pytest.mark.parametrize("kind", ["full folder", "file", "link", "dangling link"])
def test_an_occupied_target_is_refused_and_kept(base, tmp_path, kind):
    target = tmp_path / "edited"
    (tmp_path / "elsewhere").mkdir()
    if kind == "full folder":
        target.mkdir()
        (target / "precious").write_text("keep")
    elif kind == "file":
        target.write_text("keep")
    else:
        target.symlink_to(tmp_path / ("elsewhere" if kind == "link" else "nowhere"))
    with pytest.raises(StoreWriteError, match="choose a new folder") as caught:
        rewrite(base, target, [])
    assert caught.value.errno == errno.EEXIST
    assert not list((tmp_path / "elsewhere").iterdir())
    assert not list(tmp_path.glob(".*"))
    assert kind != "full folder" or (target / "precious").read_text() == "keep"


def test_an_empty_target_folder_is_filled(base, tmp_path):
    (tmp_path / "edited").mkdir()
    assert rewrite(base, tmp_path / "edited", []).names() == base.names()


def test_a_target_in_a_missing_folder_is_a_typed_error(base, tmp_path):
    with pytest.raises(StoreWriteError):
        rewrite(base, tmp_path / "nowhere" / "edited", [])


def test_a_relative_target_works(base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rewrite(base, base.folder.relative_to(tmp_path) / ".." / "edited", [])
    assert (tmp_path / "edited" / INDEX).exists()


def test_a_quantised_model_is_refused(base, tmp_path):
    (base.folder / "config.json").write_text('{"quantization_config":{"bits":4}}')
    with pytest.raises(CheckpointUnsupported, match="quantised"):
        rewrite(base, tmp_path / "edited", [])


def test_linking_shares_untouched_files_only(base, tmp_path):
    edited = rewrite(base, tmp_path / "edited", [("h.0.w", fresh(base, "h.0.w"))], link=True)
    shared = {path.name for path in base.weight_files if path.samefile(edited.folder / path.name)}
    assert shared == {path.name for path in base.weight_files[1:]}
    assert base.digest("h.0.w") != edited.digest("h.0.w")


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_linking_falls_back_to_a_copy_across_file_systems(base, tmp_path, number):
    class NoLinks(Filesystem):
        def link(self, source, target):
            raise OSError(number, os.strerror(number))

    edited = rewrite(base, tmp_path / "edited", [], link=True, fs=NoLinks())
    assert not any(p.samefile(edited.folder / p.name) for p in base.weight_files)
    assert edited.digest("h.5.w") == base.digest("h.5.w")


def test_without_linking_nothing_is_shared(base, tmp_path):
    edited = rewrite(base, tmp_path / "edited", [])
    assert not any(p.samefile(edited.folder / p.name) for p in base.weight_files)


def test_links_of_a_hub_cache_become_files(base, tmp_path):
    linked = tmp_path / "linked"
    linked.mkdir()
    for path in base.folder.iterdir():
        (linked / path.name).symlink_to(path)
    edited = rewrite(
        Checkpoint.open(linked), tmp_path / "edited", [("h.0.w", fresh(base, "h.0.w"))]
    )
    assert not any(path.is_symlink() for path in edited.folder.iterdir())
    assert edited.digest("h.1.w") == base.digest("h.1.w")


def test_at_most_one_replaced_tensor_is_in_memory(tmp_path):
    size = 8_000_000
    (tmp_path / "base").mkdir()
    tensors = {f"t{i}": torch.zeros(size, dtype=torch.uint8) for i in range(5)}
    save_file(tensors, tmp_path / "base" / "model.safetensors")
    base = Checkpoint.open(tmp_path / "base")

    def replaced():
        for name in base.names():
            yield name, np.full(size, 7, np.uint8)

    tracemalloc.start()
    try:
        edited = rewrite(base, tmp_path / "edited", replaced())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size <= peak < 1.2 * size
    assert edited.raw("t4").tobytes() == b"\x07" * size


def test_a_source_that_changed_since_it_was_opened_is_noticed(base, tmp_path):
    path = base.weight_files[0]
    other = {"h.0.w": torch.randn(12, 16).bfloat16(), "h.1.w": torch.randn(16, 12).bfloat16()}
    save_file(other, path)
    with pytest.raises(CheckpointCorrupt, match="changed"):
        rewrite(base, tmp_path / "edited", [])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["base"]


def test_a_source_that_grows_while_it_is_copied_is_noticed(base, tmp_path):
    class Growing(Filesystem):
        def copy(self, source, fd):
            size = super().copy(source, fd)
            with source.open("ab") as file:
                file.write(b"more")
            return size

    with pytest.raises(CheckpointCorrupt, match="while it was copied"):
        rewrite(base, tmp_path / "edited", [], fs=Growing())
    assert not (tmp_path / "edited").exists()
