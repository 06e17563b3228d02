"""Finding the version after which something broke, by trying few of them.

Promise: O(log n) versions are tried, each made by adding or removing changes on the live model; no
model is loaded twice. If what is asked for came and went, that is said, not hidden.

Rules: between a good and a bad version, a version is good where the model's answer to the prompt is
that of the good version (or begins with the text that is expected), or where a command ends with 0
for its folder: 125 skips the version, 1 to 124 and 126, 127 are bad, anything else stops, as with
`git bisect run`. The command is split as a shell would, and no shell runs it. After the search, a
few untried versions are tried on both sides: a bad one before or a good one after the break means
that the answer changed more than once.

    found = bisect(workspace, "Ada was born in", good=3, bad=40, expect="London")
    found.first_bad, found.edits, found.monotone
"""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from editors.requests import Probe
from ledger.errors import EditorFailure, InvalidInput
from ledger.evaluation.metrics import answers_with
from ledger.export import export_plan
from ledger.inspection import fact_line
from ledger.workspace import Workspace

SKIP, _MOST_BAD = 125, 127
_CHECKS = 3  # versions tried on each side of the break, to see whether it is the only one
_TOKENS = 16
Progress = Callable[[str, float], None] | None


@dataclass(frozen=True)
class BisectStep:
    """A version that was tried: `good`, `bad` or `skipped`, and its answer or exit status."""

    version: int
    verdict: str
    answer: str


@dataclass(frozen=True)
class BisectView:
    """Where something broke: between two neighbouring versions (or with skipped ones between).

    `edits` are those of the changes that led there, `op` what was done with them if it is one
    change. Not `monotone`: it changed more than once, as the versions in `odd` show.
    """

    last_good: int
    first_bad: int
    op: str | None
    edits: tuple[int, ...]
    facts: Mapping[int, str]
    monotone: bool
    odd: tuple[int, ...]
    steps: tuple[BisectStep, ...]


@dataclass
class _Trials:
    """The versions that were tried, each once."""

    ask: Callable[[int], BisectStep]
    progress: Progress
    tried: dict[int, BisectStep] = field(default_factory=dict)

    def __call__(self, version: int) -> str:
        if version not in self.tried:
            if self.progress is not None:
                self.progress(f"v{version}", 0.0)
            self.tried[version] = self.ask(version)
        return self.tried[version].verdict


def bisect(
    workspace: Workspace,
    prompt: str | None,
    *,
    good: int,
    bad: int,
    expect: str | None = None,
    run: str | None = None,
    progress: Progress = None,
) -> BisectView:
    """The first bad version between `good` and `bad` (good < bad), and the edits that made it.

    Either `prompt` (with `expect`) or `run`. Raises: InvalidInput if the ends are not good and bad,
    EditorFailure if a command cannot be run or stops the search.
    """
    if not good < bad:
        raise InvalidInput(f"version {good} is not before version {bad}: give a good one before it")
    try:
        trials = _Trials(_question(workspace, prompt, good, expect, run), progress)
        for version, wanted in ((good, "good"), (bad, "bad")):
            if trials(version) != wanted:
                raise InvalidInput(
                    f"version {version} is {trials(version)}, not {wanted} "
                    f"({trials.tried[version].answer!r}): nothing to look for between them"
                )
        last, first = _narrowed(trials, good, bad)
        odd = _odd(trials, good, last, first, bad)
    finally:
        workspace.rest()
    return _view(workspace, trials, last, first, odd)


def _narrowed(trials: _Trials, good: int, bad: int) -> tuple[int, int]:
    """The last good and the first bad version; skipped ones may lie between them."""
    while True:
        between = [v for v in range(good + 1, bad) if v not in trials.tried]
        if not between:
            return good, bad
        middle = between[len(between) // 2]
        verdict = trials(middle)
        if verdict == "good":
            good = middle
        elif verdict == "bad":
            bad = middle


def _odd(trials: _Trials, good: int, last: int, first: int, bad: int) -> tuple[int, ...]:
    """Tried versions on the wrong side of the break, some of them tried only for this."""
    for version in (*_spread(good, last), *_spread(first, bad)):
        trials(version)
    return tuple(
        version
        for version, step in sorted(trials.tried.items())
        if (step.verdict == "bad" and version < first)
        or (step.verdict == "good" and version > last)
    )


def _spread(start: int, end: int) -> Iterator[int]:
    """A few versions between two."""
    yield from {start + (end - start) * n // (_CHECKS + 1) for n in range(1, _CHECKS + 1)}


def _view(
    workspace: Workspace, trials: _Trials, last: int, first: int, odd: tuple[int, ...]
) -> BisectView:
    history = workspace.journal.history()
    changes = history.changes[last:first]
    edits = tuple(dict.fromkeys(edit for change in changes for edit in change.edits))
    return BisectView(
        last_good=last,
        first_bad=first,
        op=changes[-1].op if len(changes) == 1 else None,
        edits=edits,
        facts={edit.id: fact_line(edit) for edit in workspace.journal.edits(edits)},
        monotone=not odd,
        odd=odd,
        steps=tuple(trials.tried[version] for version in sorted(trials.tried)),
    )


# --- asking -------------------------------------------------------------------------------------


def _question(
    workspace: Workspace, prompt: str | None, good: int, expect: str | None, run: str | None
) -> Callable[[int], BisectStep]:
    if (run is None) == (prompt is None):
        raise InvalidInput("give either a prompt to ask or a command to run")
    if prompt is None:
        if expect is not None:
            raise InvalidInput("an expected text goes with a prompt, not with a command")
        return lambda version: _ran(workspace, _command(run or ""), version)
    Probe(prompt)  # the same limits as any other prompt
    wanted = _answer(workspace, prompt, good) if expect is None else expect

    def asked(version: int) -> BisectStep:
        answer = _answer(workspace, prompt, version)
        right = answer == wanted if expect is None else answers_with(answer, wanted)
        return BisectStep(version, "good" if right else "bad", answer)

    return asked


def _answer(workspace: Workspace, prompt: str, version: int) -> str:
    workspace.at(version)
    (text,) = workspace.live.model.generate([prompt], _TOKENS)
    return text


def _command(run: str) -> list[str]:
    try:
        words = shlex.split(run)
    except ValueError as error:
        raise InvalidInput(f"the command {run!r} cannot be split into words: {error}") from error
    if not words:
        raise InvalidInput("the command to run is empty")
    return words


def _ran(workspace: Workspace, command: list[str], version: int) -> BisectStep:
    """The verdict of a command on a version's folder, which it is given as its last argument."""
    with tempfile.TemporaryDirectory(prefix="kel-bisect-") as scratch:
        target = Path(scratch) / f"v{version}"
        plan = workspace.versions.plan(workspace.journal.history().active(version))
        export_plan(workspace, version, plan, target)
        try:
            done = subprocess.run(  # noqa: S603 - the user's own command, and no shell
                [*command, str(target)], check=False, stdin=subprocess.DEVNULL, stdout=2
            )
        except OSError as error:
            raise EditorFailure(f"{command[0]} cannot be run: {error.strerror}") from error
    status = done.returncode
    if status < 0 or status > _MOST_BAD:
        raise EditorFailure(f"{command[0]} ended with {status} for v{version}: the search stops")
    word = {0: "good", SKIP: "skipped"}.get(status, "bad")
    return BisectStep(version, word, f"exit {status}")
