"""The wheel holds the program and the data it reads, nothing else, and works by itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.guards import ROOT
from tests.unit.test_docs import FOREIGN_PATH

PACKAGES = ("store", "editors", "ledger", "migrations", "cli")
# What stands beside them in the checkout and must stay there.
BESIDE = ("tests", "bench", "docs")
MOST_BYTES = 12_000_000
SECRETS = re.compile(rb"hf_[A-Za-z0-9]{20,}|BEGIN [A-Z ]*PRIVATE KEY|CANARY")
PROGRAM = """
import sys
from pathlib import Path
import cli, ledger, migrations, store
from cli.main import main
places = {str(Path(m.__file__).parents[1]) for m in (cli, ledger, migrations, store)}
assert places == {sys.argv[1]}, places
main(["--version"])
assert main(["init", "l", "--base", "demo", "--quiet"]) == 0
for line in ("log", "status", "tag first", "verify", "db check", "demo facts --limit 2"):
    assert main([*line.split(), "--ledger", "l"]) == 0, line
from cli.web.pages import _environment
for name in _environment().list_templates():
    _environment().get_template(name)
from cli.web.texts import words
assert words("zh") and words("en")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the checkout, without the network."""
    source: Path = tmp_path_factory.mktemp("source")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in (*PACKAGES, *BESIDE):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE", "SECURITY.md"):
        shutil.copy(ROOT / name, source)
    out: Path = tmp_path_factory.mktemp("wheel")
    build = ("--no-build-isolation", "--no-deps", "--no-index", "-w", str(out), str(source))
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", *build],
        capture_output=True, text=True, timeout=300, check=False, cwd=out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (found,) = out.glob("*.whl")
    return found


def members(wheel: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            yield name, archive.read(name)


def test_it_holds_the_five_packages_with_their_data_and_nothing_else(wheel: Path):
    held = {name for name, _ in members(wheel)}
    info = {name for name in held if ".dist-info/" in name}
    there = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held - info == there
    names = {Path(name).name for name in info}
    assert names == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "top_level.txt", "LICENSE"}
    assert wheel.stat().st_size < MOST_BYTES


def test_it_says_what_it_is(wheel: Path):
    found = {
        Path(name).name: data.decode() for name, data in members(wheel) if ".dist-info/" in name
    }
    assert "Name: knowledge-edit-ledger\n" in found["METADATA"]
    assert "License-Expression: MIT\n" in found["METADATA"]
    assert found["LICENSE"] == (ROOT / "LICENSE").read_text("utf-8")
    assert found["entry_points.txt"].strip() == "[console_scripts]\nkel = cli.main:main"
    assert set(found["top_level.txt"].split()) == set(PACKAGES)


def test_it_holds_no_secret_and_no_path_of_the_machine_that_built_it(wheel: Path):
    for name, data in members(wheel):
        assert not SECRETS.search(data), name
        assert str(ROOT).encode() not in data, name
        if name.endswith((".py", ".json", ".html", ".toml", ".css", "METADATA")):
            assert not FOREIGN_PATH.search(data.decode()), name


def test_the_search_for_secrets_finds_them():
    for text in (b"x hf_" + b"a" * 34, b"CANARY", b"-----BEGIN RSA PRIVATE KEY-----"):
        assert SECRETS.search(text)
    assert not SECRETS.search(b"https://example.org/a hf_hub_download")


def test_it_works_alone(wheel: Path, tmp_path: Path):
    """Unpacked, which is all that installing a wheel of Python files is, away from the checkout."""
    target, here = tmp_path / "site", tmp_path / "here"
    here.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    environment = {**os.environ, "PYTHONPATH": str(target), "KEL_AUTHOR": "ada"}
    environment = {name: v for name, v in environment.items() if name != "KEL_LEDGER"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, str(target)],
        cwd=here, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    version, *told = done.stdout.splitlines()
    assert version == f"kel {wheel.name.split('-')[1]}"
    assert "everything is as recorded" in told
