"""Every promise has tests, the page on reliability names each, and no test goes missing unseen."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests import promises
from tests.promise_list import PROMISES

TESTS = Path(__file__).parents[1]
PAGE = promises.PAGE.read_text("utf-8")

pytestmark = pytest.mark.promise("P36")


@pytest.fixture(scope="module")
def trees() -> dict[Path, list[ast.AST]]:
    """The syntax of every file below tests/."""
    files = sorted(TESTS.rglob("*.py"))
    return {file: list(ast.walk(ast.parse(file.read_text("utf-8")))) for file in files}


def marked(nodes: list[ast.AST]) -> Iterator[str]:
    """The promises that the markers of a test file name."""
    for node in nodes:
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.promise":
            assert node.args, f"line {node.lineno}: a promise without a name"
            yield from (str(ast.literal_eval(argument)) for argument in node.args)


def test_the_promises_are_36():
    assert list(PROMISES) == [f"P{number}" for number in range(1, 37)]


def test_every_promise_has_a_marked_test_and_every_mark_is_known(trees):
    files = [file for file in trees if is_tests(file.name)]
    assert {name for file in files for name in marked(trees[file])} == set(PROMISES)


def test_every_test_file_holds_tests_and_every_test_is_in_one(trees):
    """A function that the name of its file hides from the collection would never run."""
    for file, nodes in trees.items():
        functions = (node for node in nodes if isinstance(node, ast.FunctionDef))
        assert any(is_tests(f.name) for f in functions) == is_tests(file.name), file


def is_tests(name: str) -> bool:
    return name.startswith("test_")


def test_the_page_names_every_promise_as_the_list_does():
    written = promises.renewed(PAGE, promises.Ledger())
    for line in written.splitlines():
        if line.startswith("- **P"):
            assert line in PAGE, "renew docs/reliability.md: make nightly"
    for promise in PROMISES.values():
        assert f"| {promises.head(promise)} |" in PAGE


def test_the_page_keeps_what_is_written_by_hand():
    ledger = promises.Ledger()
    once = promises.renewed(PAGE, ledger)
    assert promises.renewed(once, ledger) == once
    assert once.partition(promises.BEGIN)[0] == PAGE.partition(promises.BEGIN)[0]
    assert once.partition(promises.END)[2] == PAGE.partition(promises.END)[2]
    assert promises.END in once


def report(outcome: str, when: str = "call", *properties: tuple[str, object]) -> pytest.TestReport:
    made = SimpleNamespace(
        nodeid=f"tests/t.py::{outcome}-{when}",
        outcome=outcome,
        when=when,
        longrepr=("t.py", 3, "no server"),
        user_properties=list(properties),
    )
    return cast(pytest.TestReport, made)


def test_the_table_counts_each_test_once_and_takes_figures_of_those_that_passed():
    ledger = promises.Ledger()
    mine, measured = ("promise", "P8"), ("figure", ("P8", "{} edits", 1200))
    for when in ("setup", "call", "teardown"):
        ledger.add(report("passed", when, mine, measured))
    ledger.add(report("failed", "call", mine, ("figure", ("P8", "3 of 200", 0))))
    ledger.add(report("skipped", "setup", mine))
    ledger.add(report("passed", "call", measured, ("figure", ("P8", "8 writers", 0))))
    (row,) = [row for row in ledger.rows() if row.startswith("| P8 ")]
    assert row.endswith("| 3 | 1 | 1 | 1 | 2,400 edits; 8 writers | `t.py` |")
    assert ledger.skipped == {"tests/t.py::skipped-setup": "no server"}
    assert sum(ledger.files.values()) == 4


def test_of_values_the_largest_is_told():
    ledger = promises.Ledger()
    for value in (2e-7, 3.4e-6, 0.0):
        ledger.add(report("passed", "call", ("figure", ("P30", "worst {}", value))))
    (row,) = [row for row in ledger.rows() if row.startswith("| P30 ")]
    assert "| worst 3.4e-06 |" in row


def test_a_test_counts_as_guarded_unless_its_end_was_an_error():
    stats: dict[str, list[Any]] = {
        "passed": [SimpleNamespace(nodeid=name) for name in ("a", "b", "c")],
        "error": [SimpleNamespace(nodeid="b")],
    }
    assert promises.under_guard(stats) == 2
    assert promises.under_guard({}) == 0


def watch(ran: int, **changes: Any) -> promises.Watch:
    option = {"markexpr": "not slow", "keyword": "", "collectonly": False, "maxfail": 0, **changes}
    source = pytest.Config.ArgsSource.TESTPATHS
    config: Any = SimpleNamespace(option=SimpleNamespace(**option), args_source=source, stash={})
    config.stash[promises.LEDGER] = promises.Ledger()
    config.stash[promises.LEDGER].files["tests/t.py"] = ran
    return promises.Watch(config)


def test_a_whole_run_that_lost_tests_is_told():
    floors = {tier: floor for (kind, tier), floor in promises.FLOORS.items() if kind == "sqlite"}
    floor = floors["not slow"]
    assert "only 12 tests ran" in watch(12).lost()
    assert watch(floor).lost() == ""
    assert watch(12, keyword="chain").lost() == ""
    assert floors[""] > floor > 5000


def test_a_figure_of_an_unknown_promise_is_refused(figure):
    with pytest.raises(pytest.UsageError, match="there is no promise 'P99'"):
        figure("P99", "nothing")
