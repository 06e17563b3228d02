"""P2: whatever a power cut leaves behind, committed rows have their objects, whole.

The model (tests/sim/faulty_fs.py) enumerates every prefix of the recorded system calls and every
combination of effects that were not synced by then.
"""

import hashlib
import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from store.atomic import write_file
from store.checkpoints import Checkpoint
from store.gc import collect
from store.objects import ObjectStore
from store.surgery import rewrite
from tests.sim.faulty_fs import CrashState, RecordingFs, crash_states, materialise

pytestmark = pytest.mark.promise("P2")

BLOBS = [f"object {i} ".encode() * 9 for i in range(3)]


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """What a sync is worth is proved by the power-loss model; here it would only cost time."""
    monkeypatch.setattr(os, "fsync", os.fstat)


def oid_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def violations(state: CrashState, root: Path) -> list[str]:
    """I1: a committed object is there. I2: a visible object has the bytes of its name."""
    found = [f"lost {path.name}" for path in state.committed if path not in state.files]
    for path, data in state.files.items():
        if root / "objects" in path.parents and path.parent.name + path.name != oid_of(data):
            found.append(f"torn {path.name}")
    return found


def in_tmp(path: Path) -> bool:
    return path.parent.name == "tmp" or path.name.endswith(".tmp")


def recorded_edit(root: Path, data: bytes, skip=lambda kind, path: False) -> RecordingFs:
    """put, then COMMIT of a row that needs the object."""
    fs = RecordingFs(skip)
    store = ObjectStore(root, fs)
    fs.commit(store.path(store.put(data)))
    return fs


def examine(effects, root: Path) -> tuple[int, int]:
    """(states, states that violate an invariant)."""
    states = bad = 0
    for state in crash_states(effects, (root.parent,), in_tmp):
        states += 1
        bad += bool(violations(state, root))
    return states, bad


def sequences(root: Path, skip=lambda kind, path: False):
    """Three edits one after another."""
    return [e for data in BLOBS for e in recorded_edit(root, data, skip).effects]


def interleaved(traces, order):
    """Merge the traces: `order` names the trace that makes each next step."""
    iterators = [iter(trace) for trace in traces]
    return [next(iterators[i]) for i in order]


def orders(lengths, count: int, seed: int):
    rng = np.random.default_rng(seed)
    slots = np.repeat(np.arange(len(lengths)), lengths)
    return [rng.permutation(slots).tolist() for _ in range(count)]


def concurrent_traces(tmp_path: Path):
    """Traces of three writers in one store whose top folders exist already."""
    root = tmp_path / "store"
    ObjectStore(root).put(b"first")
    return root, [recorded_edit(root, data).effects for data in BLOBS]


def standing(root: Path):
    """Effects after which the store's top folders are durable."""
    fs = RecordingFs()
    for folder in (root, root / "objects", root / "tmp"):
        fs._note("mkdir", folder)
        fs._note("fsync_dir", folder.parent)
    return fs.effects


def test_P02_three_edits_survive_a_power_cut_at_any_instant(tmp_path):
    root = tmp_path / "store"
    states, bad = examine(sequences(root), root)
    assert bad == 0
    assert states > 100


def test_P02_writers_side_by_side_survive_a_power_cut_at_any_instant(tmp_path, figure):
    root, traces = concurrent_traces(tmp_path)
    total = 0
    for order in orders([len(t) for t in traces], count=60, seed=7):
        states, bad = examine([*standing(root), *interleaved(traces, order)], root)
        assert bad == 0
        total += states
    assert total >= 10_000
    figure("P2", f"3 edits side by side: {total:,} states of the disk, 0 violations")


@pytest.mark.promise("P36")
@pytest.mark.parametrize(
    "skip",
    [
        pytest.param(lambda kind, path: kind == "fsync", id="file not synced"),
        pytest.param(
            lambda kind, path: kind == "fsync_dir" and len(path.name) == 2,
            id="folder of the object not synced",
        ),
        pytest.param(
            lambda kind, path: kind == "fsync_dir" and path.name == "objects",
            id="new fan-out folder not synced in its parent",
        ),
        pytest.param(
            lambda kind, path: kind == "fsync_dir" and path.name == "store",
            id="objects folder not synced in the root",
        ),
    ],
)
def test_P36_a_missing_sync_is_found_by_the_model(tmp_path, skip, request, figure):
    root = tmp_path / "store"
    _, bad = examine(sequences(root, skip), root)
    assert bad > 0
    name = request.node.callspec.id
    figure("P2", f"fault sown, {name}: found in {bad} states")


@pytest.mark.promise("P36")
def test_P36_a_row_before_its_object_is_found_by_the_model(tmp_path, figure):
    root = tmp_path / "store"
    effects = recorded_edit(root, BLOBS[0]).effects
    assert effects[-1].kind == "commit"
    _, bad = examine([effects[-1], *effects[:-1]], root)
    assert bad > 0
    figure("P2", f"fault sown, row before its object: found in {bad} states")


def test_P02_an_object_found_there_is_made_durable_before_it_is_counted_on(tmp_path):
    """The first writer stopped before it synced any folder; the second one commits."""
    root = tmp_path / "store"
    first = recorded_edit(root, BLOBS[0]).effects
    renamed = next(i for i, e in enumerate(first) if e.kind == "rename")
    unsynced = [e for e in first[: renamed + 1] if e.kind != "fsync_dir" or e.path == tmp_path]
    second = recorded_edit(root, BLOBS[0]).effects
    assert not any(e.kind == "rename" for e in second)
    _, bad = examine([*unsynced, *second], root)
    assert bad == 0
    _, bad = examine([*unsynced, *(e for e in second if e.kind != "fsync_dir")], root)
    assert bad > 0


def test_P02_gc_between_edits_never_costs_a_committed_object(tmp_path):
    root = tmp_path / "store"
    kept = recorded_edit(root, BLOBS[0])
    garbage = RecordingFs()
    ObjectStore(root, garbage).put(BLOBS[1])
    sweep = RecordingFs()
    done = collect(
        ObjectStore(root, sweep), lambda: {oid_of(BLOBS[0])}, grace_seconds=0, now=lambda: 2**40
    )
    assert done.objects == (oid_of(BLOBS[1]),)
    again = recorded_edit(root, BLOBS[1])
    effects = [*kept.effects, *garbage.effects, *sweep.effects, *again.effects]
    states, bad = examine(effects, root)
    assert bad == 0
    assert states > 80


def test_P02_a_corrupt_namesake_is_replaced_without_an_instant_of_danger(tmp_path):
    root = tmp_path / "store"
    other = recorded_edit(root, BLOBS[0]).effects
    path = ObjectStore(root).path(oid_of(BLOBS[0]))
    path.chmod(0o644)
    path.write_bytes(b"rotten")
    repair = recorded_edit(root, BLOBS[0]).effects
    assert any(e.kind == "rename" for e in repair)
    rotten = [e for e in other if e.kind != "commit"]
    states = list(crash_states([*rotten, *repair], (root.parent,), in_tmp))
    assert not any(path not in state.files for state in states if state.committed)


def test_P02_after_a_power_cut_the_store_opens_and_goes_on(tmp_path):
    root = tmp_path / "store"
    states = list(crash_states(sequences(root), (tmp_path,), lambda path: False))
    for number, state in enumerate(states[:: max(1, len(states) // 150)]):
        copy = tmp_path / "after" / str(number)
        copy.mkdir(parents=True)
        materialise(state, root, copy)
        store = ObjectStore(copy)
        for path in state.committed:
            assert oid_of(store.get(path.parent.name + path.name)) == path.parent.name + path.name
        assert [store.get(store.put(data)) for data in BLOBS] == BLOBS
        collect(store, lambda: set(map(oid_of, BLOBS)), grace_seconds=0, now=lambda: 2**40)
        assert not list(store.temps())


def test_P02_a_small_file_is_old_or_new_never_a_mixture(tmp_path):
    path = tmp_path / "config.json"
    old, new = RecordingFs(), RecordingFs()
    write_file(path, b"old content", old)
    write_file(path, b"new content, longer than before", new)
    durable = len(list(crash_states(old.effects, (tmp_path,), in_tmp)))
    states = list(crash_states([*old.effects, *new.effects], (tmp_path,), in_tmp))
    found = {state.files.get(path) for state in states[durable:]}
    assert found == {b"old content", b"new content, longer than before"}


def test_P02_an_exported_folder_is_whole_or_absent(tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    save_file(
        {"a": np.ones(4, np.float32), "b": np.zeros(4, np.float32)}, base / "model.safetensors"
    )
    (base / "config.json").write_text("{}")
    fs, target = RecordingFs(), tmp_path / "out" / "edited"
    target.parent.mkdir()
    rewrite(Checkpoint.open(base), target, [("b", bytes(range(16)))], fs=fs)
    whole = {path.name: path.read_bytes() for path in target.iterdir()}
    found = set()
    for state in crash_states(fs.effects, (target.parent,), lambda path: False):
        files = {p.name: data for p, data in state.files.items() if p.parent == target}
        assert files in ({}, whole)
        found.add(bool(files))
    last = [s.files for s in crash_states(fs.effects, (target.parent,), lambda path: False)][-1]
    assert found == {True, False}
    assert {path.name for path in last if path.parent == target} == set(whole)


@pytest.mark.promise("P36")
def test_P36_an_export_without_syncs_is_found_by_the_model(tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    save_file({"a": np.ones(4, np.float32)}, base / "model.safetensors")
    target = tmp_path / "out" / "edited"
    target.parent.mkdir()
    fs = RecordingFs(skip=lambda kind, path: kind == "fsync")
    rewrite(Checkpoint.open(base), target, [("a", bytes(range(16)))], fs=fs)
    whole = (target / "model.safetensors").read_bytes()
    states = crash_states(fs.effects, (target.parent,), lambda path: False)
    assert any(s.files.get(target / "model.safetensors", whole) != whole for s in states)


def test_the_model_counts_every_subset_of_unsynced_names(tmp_path):
    fs = RecordingFs()
    for name in "abc":
        fs.mkdir(tmp_path / name)
    last = list(itertools.islice(crash_states(fs.effects, (tmp_path,), in_tmp), 1 + 2 + 4, None))
    assert len(last) == 8
