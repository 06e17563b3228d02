"""P36: the tests can fail: each of sixteen seeded bugs is noticed by a test of the fast tier."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutants.catalogue import MUTANTS, Change, Mutant
from tests.security.guards import ROOT

pytestmark = pytest.mark.promise("P36")
PARTS = ("store", "editors", "ledger", "cli", "migrations", "tests")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the program and its tests; the embedded model is linked."""
    root: Path = tmp_path_factory.mktemp("mutants") / "tree"
    for part in PARTS:
        ignored = shutil.ignore_patterns("__pycache__", "model", "model-gpt2")
        shutil.copytree(ROOT / part, root / part, ignore=ignored)
    for name in ("model", "model-gpt2"):
        (root / "ledger" / "demo" / name).symlink_to(ROOT / "ledger" / "demo" / name)
    for name in ("pyproject.toml", "README.md", "README.zh-CN.md", "docs"):
        (root / name).symlink_to(ROOT / name)
    return root


def outcome(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run tests of the fast tier of the copy; nothing compiled is kept, as sources change back."""
    environment = {
        **os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1", "PYTEST_ADDOPTS": "",
    }  # fmt: skip
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, *arguments], cwd=tree, env=environment, capture_output=True, text=True,
        timeout=280, check=False,
    )  # fmt: skip


def names(mutant: Mutant) -> str:
    return re.sub(r"\W+", "-", mutant.name)


def test_there_are_sixteen_bugs():
    assert len(MUTANTS) == len({mutant.name for mutant in MUTANTS}) == 16
    assert [mutant.name for mutant in MUTANTS if not mutant.killers] == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=names)
def test_each_bug_still_fits_the_program(mutant: Mutant):
    """Each change finds its text, gives another program that compiles, and its tests exist."""
    for path, text in mutant.texts(ROOT).items():
        assert ast.dump(ast.parse(text)) != ast.dump(ast.parse(path.read_text("utf-8")))
    for killer in mutant.killers:
        path, _, name = killer.partition("::")
        assert f"def {name}(" in (ROOT / path).read_text("utf-8")


def test_a_bug_whose_text_is_gone_is_told():
    for old in ("not there", "a"):
        with pytest.raises(LookupError, match="times, not once"):
            Change("x.py", old, "b").applied("a a")


@pytest.mark.slow
def test_without_a_bug_all_of_them_pass(tree: Path):
    done = outcome(tree, *(killer for mutant in MUTANTS for killer in mutant.killers))
    assert done.returncode == 0, done.stdout


@pytest.fixture
def bugged(tree: Path, mutant: Mutant) -> Iterator[Path]:
    """The copy with one bug."""
    changed = mutant.texts(tree)
    before = {path: path.read_text("utf-8") for path in changed}
    for path, text in changed.items():
        path.write_text(text, "utf-8")
    yield tree
    for path, text in before.items():
        path.write_text(text, "utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=names)
def test_P36_a_bug_is_noticed(bugged: Path, mutant: Mutant, figure):
    """By a test that fails, not by tests that cannot be collected."""
    done = outcome(bugged, "--maxfail=1", *mutant.killers)
    assert done.returncode == 1, done.stdout
    assert re.search(r"\d+ failed", done.stdout), done.stdout
    figure("P36", f"each of {len(MUTANTS)} sown bugs found by the fast tier")
