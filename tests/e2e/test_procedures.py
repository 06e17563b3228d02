"""Each mishap of docs/operations.md happens, and the commands that the page names set it right."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from ledger import Ledger
from tests.e2e.harness import FACT, QUICK, Kel, copied, objects, picture
from tests.e2e.procedures import Procedure, headings

# Run in tests/e2e/test_operations.py, on a server.
ON_A_SERVER = {"A team on PostgreSQL", "Moving a ledger to a server, and back"}
HERE = {
    "Backup and restore", "Moving a ledger to another machine", "What nobody needs any more",
    "A full disk", "A lost base", "A lost or damaged object", "A damaged database",
    "Another key for a program",
}  # fmt: skip


@pytest.fixture
def kel(template: Path, clean: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kel:
    """The small ledger as ledgers/a of a working folder."""
    (tmp_path / "ledgers").mkdir()
    copied(template, tmp_path / "ledgers" / "a")
    monkeypatch.chdir(tmp_path)
    return Kel(tmp_path / "ledgers" / "a")


@pytest.fixture(scope="module")
def own_template(
    tiny_base: Path, probes: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A ledger with one edit on a base that may be lost; the base."""
    folder: Path = tmp_path_factory.mktemp("own")
    base = copied(tiny_base, folder / "base")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("KEL_AUTHOR", "ada")
        kel = Kel()
        kel.json("init", str(folder / "l"), "--base", str(base), "--probes", str(probes))
        Kel(folder / "l").json("edit", *FACT, *QUICK, "--no-gate")
    return folder / "l", base


@pytest.fixture
def own(own_template: tuple[Path, Path], kel: Kel, tmp_path: Path) -> Kel:
    """The same as ledgers/a, whose base is gone from its place and lies in models/tiny."""
    made, base = own_template
    shutil.rmtree(tmp_path / "ledgers" / "a")
    copied(made, tmp_path / "ledgers" / "a")
    copied(base, tmp_path / "models" / "tiny")
    base.rename(base.with_name("away"))
    return kel


@pytest.fixture(autouse=True)
def _bring_back(own_template: tuple[Path, Path]):
    yield
    away = own_template[1].with_name("away")
    if away.exists():
        away.rename(own_template[1])


def test_every_procedure_of_the_page_is_run():
    assert set(headings()) == ON_A_SERVER | HERE


def test_a_backup_is_restored_and_verified(kel: Kel, tmp_path: Path):
    procedure = Procedure("Backup and restore")
    procedure.run(0)
    with Ledger.open(kel.place) as ledger:
        ledger.tag("later")
    procedure.run(1)
    restored = Kel(tmp_path / "restored")
    assert restored.json("status")["entries"] == kel.json("status")["entries"] - 1
    assert restored.json("replay")["weights_digest"] == kel.json("replay")["weights_digest"]
    kel.refused(5, "db", "backup", "backups/a.db", says=["exists already"])


def test_a_folder_moves_to_where_the_base_lies_elsewhere(own: Kel, tmp_path: Path):
    Procedure("Moving a ledger to another machine").run(0)
    moved = Kel(tmp_path / "moved")
    assert moved.json("edit", *FACT[:-1], "Lima", *QUICK, "--no-gate")["outcome"] == "applied"
    own.refused(4, "replay", says=["is gone", "kel repair --base DIR"])


def test_a_bundle_moves_while_others_work(own: Kel, tmp_path: Path):
    head = own.json("status")["head"]
    Procedure("Moving a ledger to another machine").run(1)
    taken = Kel(tmp_path / "taken-in")
    assert taken.json("status")["head"] == head
    assert taken.json("replay")["matches"]


def test_garbage_goes_after_its_grace_time_and_nothing_else(kel: Kel):
    with Ledger.open(kel.place) as ledger:
        old, young = ledger.store.put(b"old"), ledger.store.put(b"young")
        os.utime(ledger.store.path(old), (0, time.time() - 15 * 24 * 3600))
    before = objects(kel.place)
    said, done = Procedure("What nobody needs any more").run(0)
    assert said.out.startswith("would remove 1 object ")
    assert done.out.startswith("removed 1 object ")
    assert set(before) - set(objects(kel.place)) == {old[2:]}
    assert young[2:] in objects(kel.place)
    assert kel.json("reapply", "4")["version"] == 5


def test_room_is_made_on_a_full_disk(kel: Kel):
    assert kel.json("replay")["matches"]  # keeps the dates of the base in the cache
    assert (kel.place / "cache").exists()
    Procedure("A full disk").run(0)
    assert not (kel.place / "cache").exists()
    assert kel.json("edit", *FACT, *QUICK, "--no-gate")["outcome"] == "applied"
    assert [c["status"] for c in kel("doctor", "--json").body["checks"] if c["name"] == "disk"]


def test_a_base_is_found_again_after_every_byte_was_compared(own: Kel, tmp_path: Path):
    weights = tmp_path / "models" / "tiny" / "model.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    own.refused(4, "repair", "--base", "models/tiny", says=["model.safetensors", "other bytes"])
    weights.write_bytes(good)
    lost, found, verified = Procedure("A lost base").run(0)
    assert "base.changed" in lost.out
    assert str(tmp_path / "models" / "tiny") in found.out
    assert verified.out.startswith("everything is as recorded")
    assert own.json("edit", *FACT[:-1], "Lima", *QUICK, "--no-gate")["outcome"] == "applied"


def oid_of(kel: Kel, edit: int) -> tuple[str, Path]:
    delta = kel.json("show", str(edit))["delta"]
    return delta["oid"], Path(delta["path"])


@pytest.mark.parametrize("source", ["backup", "bundle", "copy"])
def test_lost_objects_come_back_from_any_copy(kel: Kel, tmp_path: Path, source: str):
    if source == "backup":
        Procedure("Backup and restore").run(0)
    elif source == "bundle":
        kel.json("export", "backups", "--form", "bundle")
    else:
        copied(kel.place, tmp_path / "backups")
    whole = picture(kel.place)
    (first, gone), (second, altered) = oid_of(kel, 1), oid_of(kel, 4)
    gone.unlink()
    altered.chmod(0o644)
    altered.write_bytes(b"rotten")
    _, repaired, _ = Procedure("A lost or damaged object").run(0)
    assert [line.split()[-1] for line in repaired.out.splitlines()] == sorted([first, second])
    assert picture(kel.place) == whole
    assert kel.json("repair", "--objects", "backups")["repaired"] == []


def test_a_copy_gives_nothing_but_what_is_recorded(kel: Kel, tmp_path: Path):
    (oid, gone), (other, _) = oid_of(kel, 1), oid_of(kel, 2)
    copied(kel.place, tmp_path / "copy")
    bad = tmp_path / "copy" / gone.relative_to(kel.place)
    bad.chmod(0o644)
    bad.write_bytes(b"something else")
    (tmp_path / "copy" / "objects" / "ff").mkdir(exist_ok=True)
    (tmp_path / "copy" / "objects" / "ff" / ("f" * 62)).write_bytes(b"stranger")
    gone.unlink()
    before = picture(kel.place)
    result = kel("repair", "--objects", "copy", "--json")
    assert (result.status, result.body["repaired"], result.body["lost"]) == (4, [], [oid])
    assert picture(kel.place) == before
    assert other in {f"{p.parent.name}{p.name}" for p in (kel.place / "objects").glob("*/*")}


def test_an_edit_without_any_copy_is_taken_out(kel: Kel):
    oid_of(kel, 2)[1].unlink()
    Procedure("A lost or damaged object").run(1)
    assert kel.json("status")["active"] == [1]


@pytest.mark.parametrize("damage", ["bytes", "row"])
def test_a_damaged_database_is_replaced_by_its_backup(kel: Kel, damage: str):
    Procedure("Backup and restore").run(0)
    head = kel.json("status")["head"]
    file = kel.place / "ledger.db"
    if damage == "bytes":
        data = bytearray(file.read_bytes())
        data[4096:8192] = b"\xff" * 4096
        file.write_bytes(data)
    else:
        with sqlite3.connect(file) as connection:
            connection.execute("DROP TRIGGER edit_no_update")
            connection.execute("UPDATE edit SET target_new = 'Rome' WHERE id = 1")
        connection.close()
    Procedure("A damaged database").run(0)
    assert kel.json("status")["head"] == head


def test_a_token_is_exchanged(kel: Kel):
    procedure = Procedure("Another key for a program")
    with Ledger.open(kel.place) as ledger:
        ledger.access.accounts.add("ada", "reader", "correct horse", author="root")
        old = ledger.access.tokens.add("ada", "laptop", "read")
        (listed,) = ledger.access.tokens.all()
    shown, made = procedure.run(0, ID=listed.id)
    assert listed.id in shown.out
    new = made.out.split()[0]
    with Ledger.open(kel.place) as ledger:
        both = [ledger.access.tokens.holder(secret) for secret in (old, new)]
    assert [token.scope for token in both] == ["read", "read"]
    procedure.run(1, ID=listed.id)
    with Ledger.open(kel.place) as ledger:
        assert ledger.access.tokens.holder(old) is None
        assert ledger.access.tokens.holder(new) == both[1]
    assert new not in kel("user", "token", "list").out


@pytest.mark.parametrize(
    ("argv", "status", "says"),
    [
        ((), 2, "say what to put back"),
        (("--objects", "."), 2, "holds no folder objects/"),
        (("--objects", "nowhere"), 2, "does not exist"),
        (("--base", "nowhere"), 2, "does not exist"),
        (("--base", "."), 4, "lost"),
    ],
)
def test_what_is_no_copy_and_no_base_is_refused(kel: Kel, argv, status: int, says: str):
    kel.refused(status, "repair", *argv, says=[says])


def test_an_embedded_base_has_no_place(bare: Kel, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bare.json("init", "l", "--base", "demo")
    Kel(tmp_path / "l").refused(2, "repair", "--base", ".", says=["comes with the program"])
