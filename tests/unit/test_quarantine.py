"""No test is skipped without a line in tests/QUARANTINE.md, and no line is without its test."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS / "QUARANTINE.md").read_text("utf-8")
WAYS = {"skip", "skipif", "xfail", "importorskip", "skipIf", "skipUnless", "SkipTest"}
HOLDERS = {"pytest", "mark", "unittest", "case"}


def skips(source: str) -> Iterator[str]:
    """The function (or "module") around each call, decorator or mark that skips; once each."""
    tree = ast.parse(source)
    spans = {
        node.name: range(min((node.lineno, *(d.lineno for d in node.decorator_list))), last + 1)
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and (last := node.end_lineno)
    }
    for node in ast.walk(tree):
        if _skips(node):
            yield next((name for name, span in spans.items() if node.lineno in span), "module")


def _skips(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute) and node.attr in WAYS:
        holder = node.value
        return (getattr(holder, "attr", None) or getattr(holder, "id", None)) in HOLDERS
    if isinstance(node, ast.ImportFrom) and node.module in {"pytest", "unittest"}:
        return any(alias.name in WAYS for alias in node.names)
    return isinstance(node, ast.keyword) and node.arg == "allow_module_level"


def found() -> set[str]:
    return {
        f"{path.relative_to(TESTS).as_posix()}::{name}"
        for path in sorted(TESTS.rglob("*.py"))
        if path != Path(__file__)
        for name in skips(path.read_text("utf-8"))
    }


def test_the_list_is_what_the_tests_skip():
    listed = re.findall(r"^\| `([^`]+)` \| ", PAGE, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == found()


def test_every_line_says_when_and_why():
    for line in PAGE.splitlines():
        if line.startswith("| `"):
            _, when, why = (cell.strip() for cell in line.strip("|").split("|"))
            assert len(when) > 20
            assert len(why) > 5


@pytest.mark.parametrize(
    "line",
    [
        "    pytest.skip('no')",
        "    pytest.importorskip('x')",
        "    pytest.xfail('no')",
        "    raise unittest.SkipTest",
        "    a = pytest.param(1, marks=pytest.mark.skip)",
        "    from pytest import skip",
    ],
)
def test_each_way_of_skipping_is_seen(line: str):
    assert set(skips(f"def test_x():\n{line}\n")) == {"test_x"}


def test_marks_are_seen_and_other_skips_are_none():
    assert list(skips("@pytest.mark.skipif(True, reason='x')\ndef test_x(): pass")) == ["test_x"]
    assert list(skips("pytestmark = pytest.mark.xfail")) == ["module"]
    assert list(skips("def f(self):\n    self.skip('x')\n    Trace(skip={})")) == []
