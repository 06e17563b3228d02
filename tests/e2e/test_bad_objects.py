"""What is stored is not what was recorded: exit 4 with the object's name; a newer schema: exit 7.

The ledger of these tests has edits 1 and 2 active and 4 reverted.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.harness import FACT, QUICK, Kel, picture
from tests.sim.places import ask

Damage = Callable[[Path, Path], object]


def missing(path: Path, other: Path) -> None:
    path.unlink()


def cut(path: Path, other: Path) -> None:
    replace(path, path.read_bytes()[:-1])


def emptied(path: Path, other: Path) -> None:
    replace(path, b"")


def altered(path: Path, other: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    replace(path, bytes(data))


def longer(path: Path, other: Path) -> None:
    replace(path, path.read_bytes() + b"\0")


def swapped(path: Path, other: Path) -> None:
    mine, its = path.read_bytes(), other.read_bytes()
    replace(path, its)
    replace(other, mine)


def a_folder(path: Path, other: Path) -> None:
    path.unlink()
    path.mkdir()


def a_link(path: Path, other: Path) -> None:
    """A link to the right bytes is refused as well: what it leads to may change."""
    path.rename(path.with_name("moved"))
    path.symlink_to(path.with_name("moved"))


def a_fifo(path: Path, other: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES = (missing, cut, emptied, altered, longer, swapped, a_folder, a_link, a_fifo)


def replace(path: Path, data: bytes) -> None:
    """Objects are read-only files."""
    path.unlink()
    path.write_bytes(data)


def damaged(kel: Kel, edit: int, other: int, damage: Damage) -> str:
    """Damage the delta of an edit; returns the object's name."""
    mine, its = (kel.json("show", str(number))["delta"] for number in (edit, other))
    damage(Path(mine["path"]), Path(its["path"]))
    return str(mine["oid"])


@pytest.mark.promise("P6")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_delta_that_is_not_what_was_stored_stops_all_that_need_it(
    kel: Kel, tmp_path: Path, damage: Damage
):
    oid = damaged(kel, 1, 4, damage)
    for argv in (
        ("ask", "Ada is"),
        ("revert", "2"),
        ("replay",),
        ("replay", "--to", "v1"),
        ("test",),
        ("edit", *FACT, *QUICK),
        ("export", str(tmp_path / "out")),
    ):
        kel.refused(4, *argv, says=[oid, "restore it"])
    assert not (tmp_path / "out").exists()
    result = kel("verify", "--json")
    found = {f["subject"]: f for f in result.body["findings"] if f["severity"] == "error"}
    assert result.status == 4
    assert found[oid]["code"] in ("object.missing", "object.corrupt")
    assert len(found) == (2 if damage is swapped else 1)
    assert oid in kel("verify").out


@pytest.mark.parametrize("damage", [missing, altered])
def test_an_edit_whose_delta_is_damaged_can_still_be_taken_out_and_not_put_back(
    kel: Kel, damage: Damage
):
    oid = damaged(kel, 2, 4, damage)
    kel.json("revert", "2")
    assert kel.json("status")["active"] == [1]
    assert kel.json("replay")["matches"]
    kel.refused(4, "reapply", "2", says=[oid])


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_revert_says_where_it_cannot_tell_what_moves(kel: Kel, damage: Damage):
    oid = damaged(kel, 2, 4, damage)
    (note,) = kel.json("revert", "2")["notes"]
    assert note.startswith("which edits move cannot be told")
    assert oid in note


@pytest.mark.parametrize("damage", [missing, altered])
def test_a_revert_does_not_need_what_was_taken_out_before(kel: Kel, damage: Damage):
    damaged(kel, 4, 2, damage)
    assert kel.json("revert", "2")["notes"] == []


@pytest.mark.parametrize("damage", [missing, altered])
def test_a_delta_that_no_version_in_use_needs_is_found_by_verify(kel: Kel, damage: Damage):
    oid = damaged(kel, 4, 1, damage)
    assert kel.json("replay")["matches"]
    kel.refused(4, "reapply", "4", says=[oid])
    result = kel("verify", "--json")
    assert (result.status, [f["subject"] for f in result.body["findings"]]) == (4, [oid])


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_was_recorded_of_a_damaged_edit_can_be_read(kel: Kel, damage: Damage):
    damaged(kel, 1, 2, damage)
    shown = kel.json("show", "1")
    assert shown["fact"]["subject"] == "Ada Lovelace"
    assert shown["delta"]["rank"] is None
    assert [kel(name).status for name in ("log", "status")] == [0, 0]


# --- the database --------------------------------------------------------------------------------

EVERY = (
    ("status",), ("log",), ("show", "1"), ("diff", "v0", "v1"), ("tag",), ("tag", "x"),
    ("ask", "Ada"), ("edit", *FACT), ("revert", "1"), ("reapply", "4"), ("undo",), ("replay",),
    ("test",), ("verify",), ("export", "out"), ("stats",), ("gc",),
)  # fmt: skip


@pytest.mark.parametrize("argv", EVERY, ids=" ".join)
def test_a_newer_schema_is_7_for_every_command(kel: Kel, tmp_path, monkeypatch, argv):
    monkeypatch.chdir(tmp_path)
    ask(kel.place, "UPDATE alembic_version SET version_num = '9999'")
    kel.refused(7, *argv, says=["9999", "Install the newer program"])


@pytest.mark.parametrize("data", [b"not a database" * 100, b"SQLite format 3\0" + b"\xff" * 500])
def test_a_file_that_is_no_database_is_refused_as_it_is(kel: Kel, data: bytes):
    assert kel.place is not None
    (kel.place / "ledger.db").write_bytes(data)
    before = picture(kel.place)
    for argv in (("status",), ("verify",), ("revert", "1")):
        result = kel(*argv)
        assert result.status == 4
        assert "ledger.db" in result.err + result.out
    assert picture(kel.place) == before
