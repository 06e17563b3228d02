"""The table of promises: which tests prove P1 to P36, how they ended, and what they measured.

A test says what it proves with the marker `promise` and what it found with the fixture `figure`.
At the end of a run of the nightly tier (`KEL_TIER=nightly`), or with `--promises`, the table is
printed; a nightly run in which every promise had a test writes it into docs/reliability.md. What
was skipped is listed with its reason, and a whole run of fewer tests than there were is a failure.

    @pytest.mark.promise("P8")
    def test_every_edit_lands_once(figure):
        ...
        figure("P8", "{} edits of 8 writers, 0 lost", 200)     # summed over tests
        figure("P8", "{} seconds at most", 0.25)               # the largest of all tests
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from tests.databases import database_kind
from tests.promise_list import PROMISES, Promise

PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
NAMES = tuple(PROMISES)
PROMISE, FIGURE = "promise", "figure"
# A whole run of a tier has at least so many tests: one that finds fewer has lost some.
FLOORS = {
    ("sqlite", "not slow"): 7400,
    ("sqlite", ""): 7700,
    ("postgresql", "not slow and not nightly"): 250,
    ("postgresql", "not slow"): 950,
}


class Ledger:
    """What became of the tests of each promise."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Counter[str]] = defaultdict(Counter)
        self.figures: dict[str, dict[str, int | float]] = defaultdict(dict)
        self.skipped: dict[str, str] = {}
        self.files: Counter[str] = Counter()
        self.where: dict[str, set[str]] = defaultdict(set)

    def add(self, report: pytest.TestReport) -> None:
        """Count a test once: by its call, or by the phase that failed or was skipped."""
        outcome = report.outcome
        if report.when != "call" and outcome == "passed":
            return
        self.files[report.nodeid.split("::")[0]] += report.when != "teardown"
        if outcome == "skipped":
            reason = report.longrepr
            self.skipped[report.nodeid] = str(reason[2] if isinstance(reason, tuple) else reason)
        for kind, value in report.user_properties:
            if kind == PROMISE:
                self.outcomes[str(value)][outcome] += 1
                self.where[str(value)].add(report.nodeid.split("::")[0].removeprefix("tests/"))
            elif kind == FIGURE and outcome == "passed":
                name, text, number = cast(tuple[str, str, int | float], value)
                told = self.figures[name]
                told[text] = together(told[text], number) if text in told else number

    def rows(self) -> Iterator[str]:
        """The table, as Markdown."""
        yield "| | promise | tier | tests | passed | failed | skipped | measured | in `tests/` |"
        yield "|---|---|---|---|---|---|---|---|---|"
        for promise in PROMISES.values():
            counts = self.outcomes[promise.name]
            figures = self.figures[promise.name].items()
            found = "; ".join(text.replace("{}", shown(number)) for text, number in figures)
            ended = (sum(counts.values()), *(counts[o] for o in ("passed", "failed", "skipped")))
            where = ", ".join(f"`{file}`" for file in sorted(self.where[promise.name]))
            yield f"| {head(promise)} | {' | '.join(map(str, ended))} | {found} | {where} |"


def together(one: int | float, other: int | float) -> int | float:
    """Of counts the sum; of measured values the largest, which is the worst one."""
    return max(one, other) if isinstance(other, float) else one + other


def shown(number: int | float) -> str:
    return f"{number:.2g}" if isinstance(number, float) else f"{number:,}"


def head(promise: Promise) -> str:
    """The cells of the table that do not depend on a run."""
    return f"{promise.name} | {promise.text} | {promise.tier}"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--promises", action="store_true", help="print the table of promises")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "promise(*names): the promises P1 to P36 that a test proves")
    config.stash[LEDGER] = Ledger()


LEDGER: pytest.StashKey[Ledger] = pytest.StashKey()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Carry the promises of a test on its reports, which cross from worker to controller."""
    for name in sorted({str(name) for mark in item.iter_markers(PROMISE) for name in mark.args}):
        known(name)
        item.user_properties.append((PROMISE, name))


def known(name: str) -> None:
    if name not in PROMISES:
        raise pytest.UsageError(f"there is no promise {name!r}: P1 to P36 are in promise_list.py")


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[..., None]:
    """`figure("P8", "200 of 200")`: what a test measured, for the table.

    A number is written where the text has `{}`. Of all tests that say the same text counts are
    summed, and of values (floats) the largest is told.
    """

    def record(name: str, text: str, number: int | float = 0) -> None:
        known(name)
        assert ("{}" in text) == (isinstance(number, float) or number > 0), text
        request.node.user_properties.append((FIGURE, (name, text, number)))

    return record


class Watch:
    """Sees the reports of all workers, and tells at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self.config, self.ledger = config, config.stash[LEDGER]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.ledger.add(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A run that lost tests is a failure."""
        if self.lost() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def lost(self) -> str:
        """Says so if a whole run had fewer tests than it should; else nothing."""
        option = self.config.option
        whole = self.config.args_source is pytest.Config.ArgsSource.TESTPATHS
        floor = FLOORS.get((database_kind(), option.markexpr), 0)
        if not whole or option.keyword or option.collectonly or option.maxfail:
            return ""
        ran = sum(self.ledger.files.values())
        return f"only {ran} tests ran; there were {floor} and more" if ran < floor else ""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> Iterator[None]:
        yield
        tell = terminalreporter.write_line
        if self.lost():
            tell(self.lost(), red=True)
        nightly = os.environ.get("KEL_TIER") == "nightly"
        if not nightly and not self.config.option.promises:
            return
        terminalreporter.section("what ran")
        for file, count in sorted(self.ledger.files.items()):
            tell(f"{count:6} {file}")
        terminalreporter.section(f"skipped: {len(self.ledger.skipped)}")
        for test, reason in sorted(self.ledger.skipped.items()):
            tell(f"{test}: {reason}")
        if count := under_guard(terminalreporter.stats):
            self.ledger.figures["P29"]["{} tests passed under the guard: 0 connections"] = count
        terminalreporter.section("promises")
        for row in self.ledger.rows():
            tell(row)
        missing = [name for name in NAMES if not self.ledger.outcomes[name]]
        if not nightly or missing:
            tell(f"docs/reliability.md is as it was; no test of {', '.join(missing) or 'none'}")
        else:
            PAGE.write_text(renewed(PAGE.read_text("utf-8"), self.ledger), "utf-8")
            tell("docs/reliability.md was renewed")


def under_guard(stats: dict[str, list[Any]]) -> int:
    """Tests that passed. One that tried a connection fails, if only when it is torn down."""
    sprung = {report.nodeid for report in stats.get("error", [])}
    return sum(report.nodeid not in sprung for report in stats.get("passed", []))


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Watch in the process that the reports of all others come to."""
    if not hasattr(session.config, "workerinput"):
        session.config.pluginmanager.register(Watch(session.config), "promises-watch")


def renewed(page: str, ledger: Ledger) -> str:
    """The page with another table between its two markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    limits = (f"- **{p.name}** {p.uncovered}" for p in PROMISES.values())
    parts = (*ledger.rows(), "", "### What is not covered", "", *limits)
    return f"{before}{BEGIN}\n\n" + "\n".join(parts) + f"\n\n{END}{after}"
