"""P6, P16: what is read is what was stored, and no name leads out of the store."""

import errno
import hashlib
import os
import random
import stat

import pytest

from store import objects
from store.atomic import put_object, refresh_object, write_file
from store.errors import (
    ObjectCorrupt,
    ObjectMissing,
    ObjectRejected,
    StoreReadError,
    StoreWriteError,
)
from store.layout import Layout
from store.objects import ObjectStore
from tests.sim.faulty_fs import open_descriptors

DATA = b"forty bytes of an object, every bit counts"
GOOD = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """What a sync is worth is proved by the power-loss model; here it would only cost time."""
    monkeypatch.setattr(os, "fsync", os.fstat)


@pytest.fixture
def store(tmp_path):
    return ObjectStore(tmp_path / "store")


def overwrite(store, oid, data):
    store.path(oid).chmod(0o644)
    store.path(oid).write_bytes(data)
    store.path(oid).chmod(0o444)  # as it was: what rots keeps its rights


def test_what_was_put_is_got_and_listed(store):
    oids = [store.put(data) for data in (b"", b"x", DATA, bytes(100_000))]
    assert [store.get(oid) for oid in oids] == [b"", b"x", DATA, bytes(100_000)]
    assert list(store.oids()) == sorted(oids)
    assert [store.size(oid) for oid in oids] == [0, 1, len(DATA), 100_000]
    assert all(store.has(oid) for oid in oids)
    assert not list(store.temps())


def test_the_name_is_the_sha256_and_the_place_follows_from_it(store, tmp_path):
    assert store.put(DATA) == GOOD
    place = tmp_path / "store" / "objects" / GOOD[:2] / GOOD[2:]
    assert store.path(GOOD) == place
    assert place.read_bytes() == DATA
    assert stat.S_IMODE(place.stat().st_mode) & 0o222 == 0


def test_putting_syncs_the_file_and_every_folder_above_it_up_to_the_root(store, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino))
    store.put(DATA)
    path = store.path(GOOD)
    inodes = [place.stat().st_ino for place in (path, *path.parents[:3])]
    assert store.layout.root == path.parents[2]
    assert synced[-4:] == inodes


def test_a_store_that_does_not_exist_yet_is_empty(store):
    assert list(store.oids()) == []
    assert list(store.temps()) == []
    assert not store.has(GOOD)
    with pytest.raises(ObjectMissing, match="restore it") as caught:
        store.get(GOOD)
    assert caught.value.oid == GOOD
    assert not store.layout.root.exists()


def test_putting_again_changes_nothing_but_the_age(store):
    store.put(DATA)
    os.utime(store.path(GOOD), (1, 1))
    before = store.path(GOOD).stat()
    assert store.put(DATA) == GOOD
    after = store.path(GOOD).stat()
    assert after.st_ino == before.st_ino
    assert after.st_mtime > 1e9


def test_putting_again_repairs_a_corrupt_object(store):
    store.put(DATA)
    overwrite(store, GOOD, b"rotten")
    assert store.put(DATA) == GOOD
    assert store.get(GOOD) == DATA


def test_bytes_that_do_not_fit_their_name_are_never_written(store):
    with pytest.raises(ObjectRejected) as caught:
        put_object(store.layout, "0" * 64, DATA)
    assert caught.value.code == "oid"
    assert not store.layout.root.exists()


@pytest.mark.promise("P20")
def test_an_object_above_the_limit_is_refused(store, monkeypatch, figure):
    monkeypatch.setattr(objects, "MAX_OBJECT_BYTES", len(DATA))
    assert store.put(DATA) == GOOD
    with pytest.raises(ObjectRejected) as caught:
        store.put(DATA + b"x")
    assert caught.value.code == "size"
    figure("P20", "{} sizes beyond a limit: each refused", 1)


@pytest.mark.promise("P20")
def test_a_file_above_the_limit_is_corrupt_without_being_read(store, monkeypatch, figure):
    store.put(DATA)
    monkeypatch.setattr(objects, "MAX_OBJECT_BYTES", len(DATA) - 1)
    with pytest.raises(ObjectCorrupt, match=f"{len(DATA)} bytes"):
        store.get(GOOD)
    figure("P20", "{} sizes beyond a limit: each refused", 1)


@pytest.mark.promise("P6")
def test_P06_every_single_bit_counts(store, figure):
    store.put(DATA)
    overwrite(store, GOOD, DATA)
    for bit in range(8 * len(DATA)):
        flipped = bytearray(DATA)
        flipped[bit // 8] ^= 1 << bit % 8
        store.path(GOOD).write_bytes(flipped)
        with pytest.raises(ObjectCorrupt):
            store.get(GOOD)
    store.path(GOOD).write_bytes(DATA)
    assert store.get(GOOD) == DATA
    figure("P6", "each of {} bits of an object, and each length of it: noticed", 8 * len(DATA))


@pytest.mark.promise("P6")
def test_P06_every_truncation_and_every_extension_is_noticed(store):
    store.put(DATA)
    overwrite(store, GOOD, DATA)
    for length in range(len(DATA)):
        store.path(GOOD).write_bytes(DATA[:length])
        with pytest.raises(ObjectCorrupt):
            store.get(GOOD)
    for tail in (b"\x00", b"\n", DATA):
        store.path(GOOD).write_bytes(DATA + tail)
        with pytest.raises(ObjectCorrupt):
            store.get(GOOD)


@pytest.mark.promise("P6")
def test_P06_random_flips_in_a_large_object_are_noticed(store):
    rng = random.Random(6)
    data = rng.randbytes(20_000)
    oid = store.put(data)
    overwrite(store, oid, data)
    with store.path(oid).open("r+b") as file:
        for _ in range(2000):
            at = rng.randrange(len(data))
            file.seek(at)
            file.write(bytes([data[at] ^ (1 << rng.randrange(8))]))
            file.flush()
            with pytest.raises(ObjectCorrupt):
                store.get(oid)
            file.seek(at)
            file.write(data[at : at + 1])


@pytest.mark.promise("P6")
def test_P06_two_objects_exchanged_are_both_noticed(store):
    one, two = store.put(b"one"), store.put(b"two")
    store.path(one).rename(store.layout.root / "aside")
    store.path(two).rename(store.path(one))
    (store.layout.root / "aside").rename(store.path(two))
    for oid in (one, two):
        with pytest.raises(ObjectCorrupt, match="sha256"):
            store.get(oid)


def test_strangers_in_the_object_folder_are_not_listed(store):
    store.put(DATA)
    (store.layout.objects / "README").write_text("hello")
    (store.layout.objects / "zz").mkdir()
    (store.layout.objects / "zz" / ("0" * 62)).touch()
    (store.layout.objects / GOOD[:2] / "short").touch()
    (store.layout.objects / "aa").touch() if GOOD[:2] != "aa" else None
    assert list(store.oids()) == [GOOD]


def test_unfinished_files_are_listed_and_folders_among_them_are_not(store):
    store.put(DATA)
    (store.layout.tmp / "b.tmp").touch()
    (store.layout.tmp / "a.tmp").touch()
    (store.layout.tmp / "folder").mkdir()
    assert [path.name for path in store.temps()] == ["a.tmp", "b.tmp"]


def test_temporary_names_do_not_repeat(tmp_path):
    layout = Layout(tmp_path)
    assert len({layout.new_temp() for _ in range(1000)}) == 1000


def test_a_disk_that_cannot_be_read_is_not_a_corrupt_object(store, monkeypatch):
    store.put(DATA)

    def broken(*args, **kwargs):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(objects.os, "open", broken)
    with pytest.raises(StoreReadError) as caught:
        store.get(GOOD)
    assert caught.value.errno == errno.EIO


def test_reading_leaves_no_descriptor_open(store):
    store.put(DATA)
    before = open_descriptors()
    for _ in range(50):
        store.get(GOOD)
        store.has("0" * 64)
    assert open_descriptors() == before


def test_many_objects_are_read_with_one_open_each_and_nothing_left_open(store, monkeypatch):
    oids = sorted(store.put(str(number).encode()) for number in range(300))
    folders = {oid[:2] for oid in oids}
    opens, before = [], open_descriptors()
    real = os.open
    monkeypatch.setattr(os, "open", lambda *a, **named: opens.append(a) or real(*a, **named))
    with store.opened() as get:
        for oid in oids:
            assert hashlib.sha256(get(oid)).hexdigest() == oid
    assert len(opens) == len(oids) + len(folders) + 1
    assert open_descriptors() == before


def test_P06_what_is_wrong_with_one_of_many_objects_is_that_one_s_alone(store):
    oids = sorted(store.put(str(number).encode()) for number in range(20))
    lost, altered, linked, gone = oids[1], oids[5], oids[9], oids[12]
    store.path(lost).unlink()
    overwrite(store, altered, b"other bytes")
    store.path(linked).rename(store.path(linked).with_suffix(".away"))
    store.path(linked).symlink_to(store.path(linked).with_suffix(".away"))
    store.path(gone).unlink()
    store.path(gone).parent.rename(store.layout.root / "away")
    wrong: dict[str, object] = {lost: ObjectMissing, altered: ObjectCorrupt}
    wrong |= {linked: ObjectCorrupt, "x": ObjectRejected}
    before = open_descriptors()
    with store.opened() as get:
        for oid in (*oids, *reversed(oids), "x"):
            try:
                found: object = hashlib.sha256(get(oid)).hexdigest()
            except (ObjectMissing, ObjectCorrupt, ObjectRejected) as error:
                found = type(error)
            inside = oid[:2] == gone[:2]
            assert found == (ObjectMissing if inside else wrong.get(oid, oid))
    assert open_descriptors() == before


def test_refreshing_an_absent_object_says_so(store):
    assert refresh_object(store.layout, GOOD) is False
    store.put(b"other")
    assert refresh_object(store.layout, GOOD) is False


def test_a_small_file_is_replaced_with_the_mode_asked_for(tmp_path):
    path = tmp_path / "secret"
    write_file(path, b"one", mode=0o600)
    write_file(path, b"two", mode=0o600)
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["secret"]


def test_a_small_file_is_written_through_a_linked_folder_but_not_through_a_linked_file(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "victim").write_bytes(b"keep")
    (tmp_path / "real" / "config").symlink_to(tmp_path / "victim")
    write_file(tmp_path / "link" / "config", b"new")
    assert (tmp_path / "real" / "config").read_bytes() == b"new"
    assert (tmp_path / "victim").read_bytes() == b"keep"


def test_a_small_file_in_a_missing_folder_is_a_typed_error(tmp_path):
    with pytest.raises(StoreWriteError) as caught:
        write_file(tmp_path / "nowhere" / "config", b"x")
    assert caught.value.errno == errno.ENOENT
