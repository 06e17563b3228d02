"""P6, P16: no name and no link leads out of the store, or into it."""

import errno
import hashlib
import os

import pytest

from store import atomic
from store.atomic import put_object, refresh_object
from store.errors import ObjectCorrupt, ObjectRejected, StoreWriteError
from store.layout import check_oid, is_oid
from store.objects import ObjectStore
from tests.sim.faulty_fs import open_descriptors

DATA = b"forty bytes of an object, every bit counts"
GOOD = hashlib.sha256(DATA).hexdigest()

BAD_OIDS = [
    "", "a", GOOD[:-1], GOOD + "0", GOOD.upper(), GOOD[:-1] + "g", GOOD + "\n", "\n" + GOOD[:-1],
    " " + GOOD[:-1], GOOD[:-1] + " ", GOOD[:-1] + "\x00", "../" * 21 + "a", "/" + GOOD[:-1],
    "ab/" + GOOD[:61], ".." + GOOD[:62], "../../../../etc/passwd", "/etc/passwd", "~" + GOOD[:-1],
    "C:\\" + GOOD[:61], "\\\\host\\" + GOOD[:57], "0x" + GOOD[:62], "-" + GOOD[:-1],
    "+" + GOOD[:-1], "_" + GOOD[:-1], GOOD[:-1] + "\u0430", "\uff10" * 64, "\u0660" * 64,
    "\ud800" + GOOD[:-1], GOOD[:32] + "." + GOOD[:31], "a" * 100_000, None, 7, b"a" * 64,
    GOOD.encode(), [GOOD], 0.5,
]  # fmt: skip


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """What a sync is worth is proved by the power-loss model; here it would only cost time."""
    monkeypatch.setattr(os, "fsync", os.fstat)


@pytest.fixture
def store(tmp_path):
    return ObjectStore(tmp_path / "store")


def plant(kind, path, victim):
    """Put another kind of file where an object belongs."""
    if kind == "symlink":
        path.symlink_to(victim)
    elif kind == "dangling":
        path.symlink_to(victim.with_name("nowhere"))
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "empty":
        path.touch()


@pytest.mark.parametrize("kind", ["symlink", "fifo", "dangling"])
def test_putting_again_replaces_what_is_not_a_file(store, tmp_path, kind):
    (tmp_path / "victim").write_bytes(DATA)
    store.put(b"other")
    path = store.path(GOOD)
    path.parent.mkdir()
    plant(kind, path, tmp_path / "victim")
    assert store.put(DATA) == GOOD
    assert not path.is_symlink()
    assert store.get(GOOD) == DATA
    assert (tmp_path / "victim").read_bytes() == DATA


def test_putting_where_a_folder_lies_says_so(store):
    store.path(GOOD).mkdir(parents=True)
    with pytest.raises(StoreWriteError) as caught:
        store.put(DATA)
    assert caught.value.errno == errno.EISDIR
    assert not list(store.temps())


@pytest.mark.promise("P6")
@pytest.mark.parametrize("kind", ["symlink", "dangling", "loop", "folder", "fifo", "empty"])
def test_P06_another_kind_of_file_in_place_of_an_object_is_corrupt(store, tmp_path, kind):
    """Even a link to the right bytes: where it leads may change after the check."""
    (tmp_path / "victim").write_bytes(DATA)
    store.put(b"other")
    store.path(GOOD).parent.mkdir()
    plant(kind, store.path(GOOD), tmp_path / "victim")
    before = open_descriptors()
    with pytest.raises(ObjectCorrupt) as caught:
        store.get(GOOD)
    assert caught.value.oid == GOOD
    assert GOOD in list(store.oids())
    assert store.has(GOOD) == (kind == "empty")
    assert open_descriptors() == before


@pytest.mark.promise("P16")
def test_P16_a_linked_fan_out_folder_is_not_entered(store, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / GOOD[2:]).write_bytes(DATA)
    store.put(b"other")
    store.path(GOOD).parent.symlink_to(outside)
    with pytest.raises(ObjectCorrupt):
        store.get(GOOD)
    with pytest.raises(StoreWriteError):
        store.put(DATA)
    assert GOOD not in list(store.oids())
    assert sorted(p.name for p in outside.iterdir()) == [GOOD[2:]]


@pytest.mark.promise("P16")
@pytest.mark.parametrize("folder", ["objects", "tmp"])
def test_P16_a_linked_top_folder_is_not_written_through(store, tmp_path, folder):
    outside = tmp_path / "outside"
    outside.mkdir()
    store.layout.root.mkdir()
    (store.layout.root / folder).symlink_to(outside)
    with pytest.raises(StoreWriteError):
        store.put(DATA)
    assert not list(outside.iterdir())


@pytest.mark.promise("P16")
def test_P16_a_folder_exchanged_for_a_link_before_the_rename_is_not_entered(
    store, tmp_path, monkeypatch
):
    outside = tmp_path / "outside"
    outside.mkdir()

    def exchange(name):
        if name == "tmp-fsynced":
            store.path(GOOD).parent.rmdir()
            store.path(GOOD).parent.symlink_to(outside)

    monkeypatch.setattr(atomic, "_point", exchange)
    with pytest.raises(StoreWriteError):
        store.put(DATA)
    assert not list(outside.iterdir())
    assert not list(store.temps())


def test_the_root_itself_may_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "disk")
    store = ObjectStore(tmp_path / "store")
    assert store.get(store.put(DATA)) == DATA


@pytest.mark.promise("P16")
@pytest.mark.parametrize("oid", BAD_OIDS, ids=lambda oid: repr(oid)[:30])
def test_P16_a_bad_id_is_refused_everywhere_and_touches_nothing(store, tmp_path, oid, figure):
    canary = tmp_path / "canary"
    canary.write_bytes(b"alive")
    calls = [store.get, store.has, store.size, store.path, store.layout.path, check_oid]
    calls += [
        lambda o: put_object(store.layout, o, DATA),
        lambda o: refresh_object(store.layout, o),
    ]
    for call in calls:
        with pytest.raises(ObjectRejected) as caught:
            call(oid)
        assert caught.value.code == "oid"
        assert len(str(caught.value)) < 200
    assert [p.name for p in tmp_path.iterdir()] == ["canary"]
    assert canary.read_bytes() == b"alive"
    figure("P16", "{} calls with a bad id of an object: refused, nothing touched", len(calls))


@pytest.mark.promise("P16")
def test_P16_there_are_enough_bad_ids_and_a_good_one_passes():
    assert len(BAD_OIDS) >= 30
    assert check_oid(GOOD) == GOOD
    assert is_oid(GOOD)
