"""P10: the k-th system call fails, for every k; the store is as before, and the error is honest."""

import errno
import os

import numpy as np
import pytest
from safetensors.numpy import save_file

from store import atomic, surgery
from store.atomic import write_file
from store.checkpoints import Checkpoint
from store.errors import StoreWriteError
from store.filesystem import OS, Filesystem, copy_data, write_all
from store.gc import collect
from store.objects import ObjectStore
from store.surgery import rewrite
from tests.sim.faulty_fs import FaultyFs, open_descriptors

pytestmark = pytest.mark.promise("P10")

ERRNOS = ["ENOSPC", "EIO", "EROFS", "EMFILE", "EINTR"]
STOPS = {"KeyboardInterrupt": KeyboardInterrupt, "MemoryError": MemoryError}
FAULTS = [*ERRNOS, *STOPS]
DATA = b"some object " * 20


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """What a sync is worth is proved by the power-loss model; here it would only cost time."""
    monkeypatch.setattr(os, "fsync", os.fstat)


def make_fault(name: str) -> BaseException:
    if name in STOPS:
        return STOPS[name]()
    number = getattr(errno, name)
    return OSError(number, os.strerror(number))


def outcome(operation, fs, at) -> BaseException | None:
    """The typed error of the operation, or None when it succeeded."""
    try:
        operation(fs, at)
    except (StoreWriteError, *STOPS.values()) as error:
        return error
    return None


@pytest.fixture
def each_fault(figure):
    """`_each_fault`, counted for the table."""

    def counted(*args, **options):
        faults = _each_fault(*args, **options)
        figure("P10", "store: {} faults of the disk, each told and survived", faults)
        return faults

    return counted


def _each_fault(operation, check, *, name: str, mode: str) -> int:
    """Run `operation(fs)` with the fault at call 1, 2, ... until none is left; returns how many."""
    for at in range(1, 1000):
        fs = FaultyFs(at, make_fault(name), mode)
        before = open_descriptors()
        error = outcome(operation, fs, at)
        if error:
            assert fs.fired
            assert type(error) is STOPS.get(name, StoreWriteError)
            assert name not in ERRNOS or error.errno == getattr(errno, name)
        check(at, failed=error is not None, cleaned=mode != "forever")
        if not fs.fired:
            return at - 1
        assert open_descriptors() == before
    raise AssertionError("the operation never got through")


@pytest.mark.parametrize("mode", ["once", "forever", "after"])
@pytest.mark.parametrize("name", FAULTS)
def test_P10_put_fails_cleanly_at_every_call_and_succeeds_on_retry(
    tmp_path, name, mode, each_fault
):
    def operation(fs, at):
        ObjectStore(tmp_path / str(at), fs).put(DATA)

    def check(at, failed, cleaned):
        store = ObjectStore(tmp_path / str(at))
        assert not cleaned or not list(store.temps())
        assert all(store.get(oid) == DATA for oid in store.oids())
        assert store.get(store.put(DATA)) == DATA

    assert each_fault(operation, check, name=name, mode=mode) >= 11


@pytest.mark.parametrize("mode", ["once", "after"])
@pytest.mark.parametrize("name", FAULTS)
def test_P10_put_of_an_existing_object_leaves_it_alone(tmp_path, name, mode, each_fault):
    store = ObjectStore(tmp_path)
    oid = store.put(DATA)

    def check(at, failed, cleaned):
        assert store.get(oid) == DATA
        assert not list(store.temps())

    faults = each_fault(
        lambda fs, at: ObjectStore(tmp_path, fs).put(DATA), check, name=name, mode=mode
    )
    assert faults >= 4


@pytest.mark.parametrize("mode", ["once", "after"])
@pytest.mark.parametrize("name", FAULTS)
def test_P10_a_small_file_keeps_its_old_content_or_has_the_new(tmp_path, name, mode, each_fault):
    path = tmp_path / "config.json"

    def operation(fs, at):
        path.write_bytes(b"old")
        write_file(path, b"new", fs)

    def check(at, failed, cleaned):
        assert path.read_bytes() in (b"old", b"new")
        assert [p.name for p in tmp_path.iterdir()] == ["config.json"]

    assert each_fault(operation, check, name=name, mode=mode) == 5


@pytest.fixture
def base(tmp_path):
    folder = tmp_path / "base"
    folder.mkdir()
    tensors = {f"t{i}": np.full((4, 4), i, np.float32) for i in range(3)}
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type":"tiny"}')
    (folder / "tokenizer.json").write_text("{}")
    return Checkpoint.open(folder)


@pytest.mark.parametrize("mode", ["once", "after"])
@pytest.mark.parametrize("name", FAULTS)
def test_P10_export_appears_whole_or_not_at_all_at_every_call(
    tmp_path, base, name, mode, each_fault
):
    out = tmp_path / "out"
    out.mkdir()

    def operation(fs, at):
        rewrite(base, out / str(at), [("t1", bytes(64)), ("t2", bytes(64))], fs=fs)

    def check(at, failed, cleaned):
        assert not list(out.glob(".*"))
        assert (out / str(at)).exists() != failed
        if failed:
            rewrite(base, out / str(at), [("t1", bytes(64))])
        assert bytes(Checkpoint.open(out / str(at)).raw("t1")) == bytes(64)

    assert each_fault(operation, check, name=name, mode=mode) >= 15
    assert bytes(base.raw("t1")) != bytes(64)


@pytest.mark.parametrize("name", FAULTS)
def test_P10_a_disk_that_stays_broken_shows_no_half_folder(tmp_path, base, name, each_fault):
    out = tmp_path / "out"
    out.mkdir()

    def check(at, failed, cleaned):
        # Renamed, then nothing works any more: it cannot be taken back, but it is whole.
        if (out / str(at)).exists():
            assert bytes(Checkpoint.open(out / str(at)).raw("t0")) == bytes(64)

    each_fault(
        lambda fs, at: rewrite(base, out / str(at), [("t0", bytes(64))], fs=fs),
        check,
        name=name,
        mode="forever",
    )


@pytest.mark.parametrize("name", FAULTS)
def test_P10_gc_interrupted_anywhere_can_be_repeated(tmp_path, name, each_fault):
    def collected(fs, at):
        root = tmp_path / str(at)
        store = ObjectStore(root)
        kept = {store.put(b"kept")}
        for i in range(3):
            store.put(f"garbage {i}".encode())
        (root / "tmp" / "left.tmp").write_bytes(b"half")
        return collect(ObjectStore(root, fs), lambda: kept, grace_seconds=0, now=lambda: 2.0**40)

    def check(at, failed, cleaned):
        store = ObjectStore(tmp_path / str(at))
        kept = {store.put(b"kept")}
        collect(store, lambda: kept, grace_seconds=0, now=lambda: 2.0**40)
        assert set(store.oids()) == kept
        assert not list(store.temps())

    assert each_fault(collected, check, name=name, mode="once") == 4


def test_P10_a_full_disk_is_called_that(tmp_path):
    fs = FaultyFs(5, make_fault("ENOSPC"), "forever")
    with pytest.raises(StoreWriteError, match=r"disk is full; nothing was changed") as caught:
        ObjectStore(tmp_path, fs).put(DATA)
    assert caught.value.errno == errno.ENOSPC


def test_P10_a_failed_fsync_is_not_repeated(tmp_path):
    fs = FaultyFs(6, make_fault("EIO"))
    with pytest.raises(StoreWriteError):
        ObjectStore(tmp_path, fs).put(DATA)
    assert fs.calls == ["mkdir", "mkdir", "mkdir", "open_excl", "write", "fsync", "unlink"]


class ShortWrites(Filesystem):
    """Takes a few bytes at a time, as a signal or a pipe-like file system may."""

    def write(self, fd, data):
        return super().write(fd, data[:7])

    def pwrite(self, fd, data, offset):
        return super().pwrite(fd, data[:5], offset)


def test_P10_short_writes_are_continued(tmp_path, base):
    store = ObjectStore(tmp_path / "store", ShortWrites())
    assert store.get(store.put(DATA)) == DATA
    fresh = bytes(range(64))
    edited = rewrite(base, tmp_path / "edited", [("t1", fresh)], fs=ShortWrites())
    assert bytes(edited.raw("t1")) == fresh


def test_P10_a_disk_that_takes_nothing_is_an_error_not_a_loop(tmp_path):
    class Stuck(Filesystem):
        def write(self, fd, data):
            return 0

    with pytest.raises(StoreWriteError):
        ObjectStore(tmp_path, Stuck()).put(DATA)


def test_every_named_point_of_a_put_is_passed_in_order(tmp_path, monkeypatch):
    passed = []
    monkeypatch.setattr(atomic, "_point", passed.append)
    store = ObjectStore(tmp_path)
    store.put(DATA)
    assert passed == list(atomic.POINTS[:6])
    passed.clear()
    store.put(DATA)
    assert passed == ["dir-fsynced", "refreshed"]
    passed.clear()
    collect(store, set, grace_seconds=0, now=lambda: 2.0**40)
    assert passed == ["removed"]


def test_every_named_point_of_an_export_is_passed_in_order(tmp_path, base, monkeypatch):
    passed = []
    monkeypatch.setattr(atomic, "_point", passed.append)
    rewrite(base, tmp_path / "edited", [("t1", bytes(64))])
    assert passed == list(surgery.POINTS)


@pytest.mark.parametrize("point", [*atomic.POINTS[:6], *surgery.POINTS])
def test_P10_an_interrupt_at_any_point_leaves_no_temporary_file(tmp_path, base, monkeypatch, point):
    def stop(name):
        if name == point:
            raise KeyboardInterrupt

    monkeypatch.setattr(atomic, "_point", stop)
    store = ObjectStore(tmp_path / "store")
    before = open_descriptors()
    if point in atomic.POINTS:
        with pytest.raises(KeyboardInterrupt):
            store.put(DATA)
    else:
        with pytest.raises(KeyboardInterrupt):
            rewrite(base, tmp_path / "edited", [("t1", bytes(64))])
    assert not list(store.temps())
    assert not (tmp_path / "edited").exists()
    assert not list(tmp_path.glob(".*"))
    assert open_descriptors() == before


@pytest.mark.parametrize("missing", ["reflink", "both"])
def test_copying_falls_back_where_the_kernel_cannot_help(tmp_path, monkeypatch, missing):
    def unsupported(*args):
        raise OSError(errno.EOPNOTSUPP, "not here")

    monkeypatch.setattr("store.filesystem.fcntl.ioctl", unsupported)
    if missing == "both":
        monkeypatch.setattr(os, "copy_file_range", unsupported, raising=False)
    content = os.urandom(100_001)
    (tmp_path / "a").write_bytes(content)
    fd = OS.open_excl(tmp_path / "b", 0o644)
    with (tmp_path / "a").open("rb") as source:
        assert copy_data(source.fileno(), fd) == len(content)
    os.close(fd)
    assert (tmp_path / "b").read_bytes() == content


def test_copying_reports_a_real_fault(tmp_path, monkeypatch):
    def broken(*args):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr("store.filesystem.fcntl.ioctl", broken)
    (tmp_path / "a").write_bytes(b"x")
    fd = OS.open_excl(tmp_path / "b", 0o644)
    with (tmp_path / "a").open("rb") as source, pytest.raises(OSError, match="broken"):
        copy_data(source.fileno(), fd)
    write_all(OS, fd, b"")
    os.close(fd)
