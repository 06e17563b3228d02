"""A bundle makes the same ledger elsewhere; one that was changed in any way makes none (P21)."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ledger import Ledger, chain
from ledger.errors import LedgerError
from ledger.manifest import read_manifest, write_manifest
from ledger.records import Rows, UserRecord
from tests.e2e.harness import FACT, QUICK, Kel, copied, picture, refolded

FAST, ALL = 300, 2000


@pytest.fixture(scope="module")
def older(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle before the last entry was made."""
    folder: Path = tmp_path_factory.mktemp("older")
    with Ledger.open(copied(template, folder / "l")) as ledger:
        ledger.export(folder / "bundle", form="bundle")
    return folder / "bundle"


@pytest.fixture(scope="module")
def bundle(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of every kind of row: edits, a rejected one, a revert, a tag, a test, statistics."""
    folder: Path = tmp_path_factory.mktemp("bundle")
    corpus = folder / "corpus.txt"
    corpus.write_text("Ada Lovelace was born in London and wrote the first program.\n" * 40)
    with Ledger.open(copied(template, folder / "l")) as ledger:
        ledger.stats([1], corpus=corpus, tokens=300)
        ledger.test()
        ledger.export(folder / "bundle", form="bundle")
    return folder / "bundle"


# --- there and back -------------------------------------------------------------------------------


def test_an_imported_ledger_is_the_exported_one(bundle: Path, bare: Kel, tmp_path: Path):
    said = bare.json("import", str(bundle), str(tmp_path / "l"))
    bare.place = tmp_path / "l"
    status = bare.json("status")
    assert (said["version"], said["active"]) == (status["version"], status["active"]) == (4, [1, 2])
    assert (said["entries"], said["replayed"]) == (status["entries"], True)
    assert said["head"] == status["head"]
    assert said["weights_digest"] == status["weights_digest"] == refolded(tmp_path / "l", 4)
    for version in range(5):
        assert bare.json("replay", "--to", f"v{version}")["matches"]
    assert bare("verify", "--weights", "--anchor", str(bundle)).status == 0
    bare.json("export", str(tmp_path / "again"), "--form", "bundle")
    assert picture(tmp_path / "again") == picture(bundle)
    assert bare.json("edit", *FACT, *QUICK, "--no-gate")["outcome"] == "applied"
    assert bare.json("reapply", "4")["version"] == 6


def test_a_bundle_of_another_machine_is_told_where_the_base_lies(
    bundle: Path, bare: Kel, tiny_base: Path, template: Path, tmp_path: Path
):
    moved = tmp_path / "moved"
    shutil.copytree(tiny_base, moved)
    shutil.copytree(tiny_base, tmp_path / "home" / "base")
    with Ledger.init(tmp_path / "mine", base=str(tmp_path / "home" / "base")) as ledger:
        ledger.export(tmp_path / "b", form="bundle")
    shutil.rmtree(tmp_path / "home")
    source, out = str(tmp_path / "b"), tmp_path / "l"
    bare.refused(4, "import", source, str(out), says=["is gone", "--base", "--no-replay"])
    assert not out.exists()
    assert not bare.json("import", source, str(out), "--no-replay")["replayed"]
    shutil.rmtree(out)
    bare.refused(2, "import", source, str(out), "--base", str(tmp_path / "nowhere" / "x"))
    assert bare.json("import", source, str(out), "--base", str(moved))["replayed"]
    bare.place = out
    assert bare.json("status")["base"]["path"] == str(moved)
    assert bare.json("edit", *FACT, *QUICK, "--no-gate")["outcome"] == "applied"
    assert bare("verify", "--weights").status == 0
    assert bare.json("methods")["methods"]
    (moved / "config.json").write_text("{}")
    bare.refused(4, "replay")


def test_another_base_is_refused(bundle: Path, bare: Kel, tiny_base: Path, tmp_path: Path):
    other = tmp_path / "other"
    shutil.copytree(tiny_base, other)
    data = bytearray((other / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (other / "model.safetensors").write_bytes(data)
    argv = ("import", str(bundle), str(tmp_path / "l"), "--base", str(other))
    bare.refused(4, *argv, says=["model.safetensors", "other bytes"])
    assert not (tmp_path / "l").exists()


def test_a_place_that_is_taken_and_a_release_of_another_form_are_refused(
    bundle: Path, kel: Kel, tmp_path: Path
):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    kel.refused(1, "import", str(bundle), str(tmp_path / "full"), says=["exists already"])
    kel.json("export", str(tmp_path / "merged"))
    says = ["form merged", "no bundle"]
    kel.refused(2, "import", str(tmp_path / "merged"), str(tmp_path / "l"), says=says)
    kel.refused(2, "import", str(tmp_path), str(tmp_path / "l"), says=["no manifest"])
    kel.refused(2, "export", str(tmp_path / "b"), "--form", "bundle", "--at", "v1", says=["head"])


def test_a_ledger_with_accounts_gives_no_bundle(kel: Kel, tmp_path: Path):
    with Ledger.open(kel.place) as ledger:
        user = UserRecord(name="ada", role="admin", password_hash="scrypt$x")
        ledger.journal.append("user", rows=Rows(users=(user,)))
    kel.refused(2, "export", str(tmp_path / "b"), "--form", "bundle", says=["passwords"])
    assert not (tmp_path / "b").exists()


@pytest.mark.promise("P21")
def test_an_older_bundle_is_whole_and_refused_by_an_anchor(
    older: Path, bundle: Path, bare: Kel, tmp_path: Path
):
    out = str(tmp_path / "l")
    argv = ("import", str(older), out, "--no-replay")
    bare.refused(4, *argv, "--anchor", str(newer(bundle, tmp_path)), says=["chain.truncated"])
    assert not Path(out).exists()
    bare.json("import", str(bundle), out, "--no-replay", "--anchor", str(older))


def newer(bundle: Path, folder: Path) -> Path:
    """A `kel.json` whose entry is the last of the newer bundle."""
    manifest = read_manifest(bundle)
    path = folder / "kel.json"
    path.write_bytes(write_manifest(manifest | {"entry": manifest["bundle"]["head"]}))
    return path


# --- mutations ------------------------------------------------------------------------------------

Mutator = Callable[[Path, random.Random], None]


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def flip(folder: Path, rng: random.Random) -> None:
    path = rng.choice(files(folder))
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def cut(folder: Path, rng: random.Random) -> None:
    path = rng.choice(files(folder))
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(len(data))] if rng.random() < 0.5 else data + b"\n")


def remove(folder: Path, rng: random.Random) -> None:
    rng.choice(files(folder)).unlink()


def add(folder: Path, rng: random.Random) -> None:
    place = rng.choice([folder, *(path for path in folder.rglob("*") if path.is_dir())])
    name = rng.choice(["x", "model.safetensors", "evil.py", ".hidden", "a" * 62, "ledger.jsonl2"])
    if rng.random() < 0.2:
        (place / name).symlink_to(rng.choice([place, files(folder)[0]]))
    else:
        (place / name).write_bytes(rng.randbytes(rng.randrange(20)))


def rename(folder: Path, rng: random.Random) -> None:
    path = rng.choice(files(folder))
    path.rename(path.with_name(rng.choice([path.name.upper() + "x", path.name[:-1], "kel2.json"])))


def swap(folder: Path, rng: random.Random) -> None:
    first, second = rng.sample(files(folder), 2)
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)


def link(folder: Path, rng: random.Random) -> None:
    path = rng.choice(files(folder))
    away = folder.with_name(folder.name + ".away")
    away.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(away)


def lines(folder: Path, rng: random.Random) -> None:
    """Reordered, repeated, left out, or an older head."""
    path = folder / "ledger.jsonl"
    found = path.read_bytes().splitlines(keepends=True)
    at = rng.randrange(len(found) - 1)
    kind = rng.randrange(4)
    if kind == 0:
        found[at : at + 2] = found[at : at + 2][::-1]
    elif kind == 1:
        found.insert(at, found[at])
    elif kind == 2:
        del found[at]
    else:
        del found[at + 1 :]
    path.write_bytes(b"".join(found))


def row(folder: Path, rng: random.Random) -> None:
    """One value of one row is another; sometimes the hashes of all entries follow from it."""
    path = folder / "ledger.jsonl"
    entries = [json.loads(line) for line in path.read_bytes().splitlines()]
    change(rng.choice(entries), rng)
    if rng.random() < 0.5:
        with contextlib.suppress(ValueError, TypeError, LookupError, AttributeError):
            previous = chain.ZERO
            for item in entries:
                item["entry"]["prev_hash"] = previous
                item["entry"]["rows_digest"] = chain.rows_digest(item["rows"])
                previous = item["entry"]["hash"] = chain.entry_hash(item["entry"])
    path.write_bytes(b"".join(chain.canonical_json(item) + b"\n" for item in entries))


def value(folder: Path, rng: random.Random) -> None:
    """One value of the manifest is another."""
    manifest = json.loads((folder / "kel.json").read_bytes())
    change(manifest, rng)
    (folder / "kel.json").write_bytes(write_manifest(manifest))


def change(document: Any, rng: random.Random) -> None:
    """Another value at a random place of a JSON document."""
    places: list[tuple[Any, Any]] = []

    def walk(item: Any) -> None:
        for key in item if isinstance(item, dict) else range(len(item)):
            if isinstance(item[key], dict | list) and item[key]:
                walk(item[key])
            else:
                places.append((item, key))

    walk(document)
    holder, key = rng.choice(places)
    old = holder[key]
    if isinstance(old, str) and old:
        at = rng.randrange(len(old))
        holder[key] = old[:at] + ("1" if old[at] != "1" else "2") + old[at + 1 :]
    else:
        holder[key] = {int: 77, float: 0.123, bool: not old}.get(type(old), "x")


def sign(folder: Path) -> None:
    """Make the manifest list what is there, and name the last entry that is there."""
    try:
        manifest = json.loads((folder / "kel.json").read_bytes())
        last = json.loads((folder / "ledger.jsonl").read_bytes().splitlines()[-1])["entry"]
        manifest["bundle"]["head"] = {"seq": last["seq"], "hash": last["hash"]}
    except (OSError, ValueError, LookupError, TypeError):
        return
    manifest["files"] = {
        path.relative_to(folder).as_posix(): {
            "size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in files(folder) if path.name != "kel.json"
    }  # fmt: skip
    (folder / "kel.json").write_bytes(write_manifest(manifest))


MUTATORS: list[Mutator] = [flip, cut, remove, add, rename, swap, link, lines, row, value]


def mutated(bundle: Path, folder: Path, number: int) -> tuple[Path, str]:
    rng = random.Random(number)
    target = folder / str(number)
    shutil.copytree(bundle, target)
    mutator = MUTATORS[number % len(MUTATORS)]
    before = state(target)
    signed = mutator is not value and rng.random() < 0.4
    while state(target) == before:  # signing may take a mutation of the manifest back
        mutator(target, rng)
        if signed:
            sign(target)
    return target, f"{number} {mutator.__name__}{' signed' if signed else ''}"


def state(folder: Path) -> dict[str, tuple[bool, bytes]]:
    return {
        path.relative_to(folder).as_posix(): (
            path.is_symlink(),
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(folder.rglob("*"))
    }


def accepted(bundle: Path, folder: Path, numbers: range) -> list[str]:
    """The mutations that a ledger was made of; there should be none.

    A history that was rewritten from some row on, with all hashes and the manifest made anew, is a
    ledger of its own; only an anchor tells it from the one it was made of.
    """
    taken = []
    for number in numbers:
        target, name = mutated(bundle, folder, number)
        out = folder / "out"
        anchor = newer(bundle, folder) if name.endswith("row signed") else None
        try:
            Ledger.import_bundle(target, out, replay=False, author="ada", anchor=anchor)
        except LedgerError:
            taken += [f"{name} left {path.name}" for path in folder.glob("*out*")]
        else:
            taken.append(name)
            shutil.rmtree(out)
        shutil.rmtree(target)
        if (away := folder / f"{number}.away").exists():
            os.unlink(away)
    return taken


@pytest.mark.promise("P21")
def test_P21_mutations_are_refused(bundle: Path, tmp_path: Path):
    assert accepted(bundle, tmp_path, range(FAST)) == []


@pytest.mark.promise("P21")
@pytest.mark.slow
def test_P21_two_thousand_mutations_are_refused(bundle: Path, tmp_path: Path):
    assert accepted(bundle, tmp_path, range(FAST, ALL)) == []


@pytest.mark.promise("P21", "P36")
def test_the_mutation_test_can_fail(bundle: Path, tmp_path: Path, monkeypatch):
    """Without the comparison of the manifest, some are taken in."""
    monkeypatch.setattr("ledger.importing.expected", lambda journal: b"")
    monkeypatch.setattr("ledger.importing.write_manifest", lambda manifest: b"")
    assert accepted(bundle, tmp_path, range(9, 60, 10))
