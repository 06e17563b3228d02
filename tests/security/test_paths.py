"""P16: no name that a release brings along leads out of its folder, whichever command reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ledger import Ledger
from ledger.errors import InvalidInput
from ledger.manifest import parse_manifest, write_manifest
from tests.e2e.harness import Kel, copied, picture
from tests.e2e.test_bundle import sign

pytestmark = pytest.mark.promise("P16")

OID = "a" * 64
BAD = [
    "../x", "..", ".", "", "/", "/etc/passwd", "//x", "a//b", "a/../b", "a/./b", "./a", "a/",
    "a/..", "..\\x", "a\\b", "C:x", "C:\\x", "\\\\host\\share", "~", "~root/x", "a\x00b",
    "a\nb", "a\rb", "a\x1b[2Jb", " a", "a ", "-rf", ".hidden", "nul\x00", "\u202ea",
    "\u0430.json", "\uff0e\uff0e/x", "a\ud800", "kel.json", "KEL.JSON", "README.MD", "x" * 300,
    "a/" * 60 + "a", "objects/../../x", f"objects/aa/../../../{OID}",
]  # fmt: skip


@pytest.fixture(scope="module")
def releases(template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A bundle and merged weights of the small ledger."""
    folder: Path = tmp_path_factory.mktemp("releases")
    with Ledger.open(copied(template, folder / "l")) as ledger:
        for form in ("bundle", "merged"):
            ledger.export(folder / form, form=form)
    return {form: folder / form for form in ("bundle", "merged")}


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """What lies around the folders that are read and written, and must stay as it is."""
    for name in ("x", "passwd", "etc/passwd", "objects/aa/x", "out.txt"):
        path = tmp_path / "around" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("alive")
    return tmp_path / "around"


def listing(manifest: dict[str, Any], name: str) -> dict[str, Any]:
    """The manifest with one file more, called so; its bytes are those of the card."""
    files = manifest["files"]
    return manifest | {"files": files | {name: files["README.md"]}}


@pytest.mark.parametrize("name", BAD, ids=ascii)
def test_a_manifest_of_a_bad_name_is_none(releases, name: str):
    for folder in releases.values():
        manifest = json.loads((folder / "kel.json").read_bytes())
        data = json.dumps(listing(manifest, name)).encode()
        with pytest.raises(InvalidInput) as caught:
            parse_manifest(data)
        assert len(str(caught.value)) < 200


def test_the_same_manifest_without_it_is_one(releases, figure):
    for folder in releases.values():
        assert parse_manifest((folder / "kel.json").read_bytes())["files"]
    assert len(BAD) >= 30
    figure("P16", f"{len(BAD)} bad names of files refused by every reader of a release")


@pytest.mark.parametrize("name", BAD[::4], ids=ascii)
@pytest.mark.parametrize("form", ["bundle", "merged"])
def test_no_command_follows_a_bad_name(
    kel: Kel, releases, canary: Path, tmp_path: Path, form: str, name: str, figure
):
    folder = copied(releases[form], canary / "release")
    manifest = json.loads((folder / "kel.json").read_bytes())
    try:
        data = write_manifest(listing(manifest, name))
    except ValueError:  # a lone surrogate has no canonical form
        data = json.dumps(listing(manifest, name)).encode()
    (folder / "kel.json").write_bytes(data)
    before, ledger = picture(canary), picture(kel.place)
    for verb in ("verify-release", "import"):
        argv = (verb, str(folder), *([str(canary / "out"), "--no-replay"] * (verb == "import")))
        result = kel(*argv)
        assert result.status in (2, 4), (argv, result)
        assert "unexpected" not in result.err
        assert "Traceback" not in result.err
        figure("P16", "{} commands on a release with a bad name: nothing around it changed", 1)
    assert picture(canary) == before
    assert picture(kel.place) == ledger


@pytest.mark.parametrize("oid", ["../" * 21 + "a", "/etc/passwd", "A" * 64, "a" * 63, OID + "/"])
def test_a_history_of_a_bad_object_is_not_taken_in(bare: Kel, releases, canary: Path, oid: str):
    """The row of an object is named so, and everything that is hashed is made anew."""
    folder = copied(releases["bundle"], canary / "release")
    text = (folder / "ledger.jsonl").read_text("utf-8")
    known = next(path for path in (folder / "objects").glob("*/*"))
    (folder / "ledger.jsonl").write_text(text.replace(known.parent.name + known.name, oid), "utf-8")
    sign(folder)
    before = picture(canary)
    result = bare("import", str(folder), str(canary / "out"), "--no-replay")
    assert result.status in (2, 4), result
    assert picture(canary) == before


@pytest.mark.parametrize("text", ["\\ud800", "\\u0000", "\\udc80\\ud800"])
def test_a_history_of_a_text_that_is_none_is_not_taken_in(
    bare: Kel, releases, canary: Path, text: str
):
    folder = copied(releases["bundle"], canary / "release")
    history = folder / "ledger.jsonl"
    history.write_text(history.read_text("utf-8").replace("Ada Lovelace", text), "utf-8")
    sign(folder)
    before = picture(canary)
    result = bare("import", str(folder), str(canary / "out"), "--no-replay")
    assert result.status in (2, 4), result
    assert "unexpected" not in result.err
    assert picture(canary) == before
