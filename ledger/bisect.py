"""Finding the version after which something broke, by trying few of them.

Promise: O(log n) versions are tried, each made by adding or removing changes on the live model; no
model is loaded twice. If what is asked for came and went, that is said, not hidden.

Rules: the versions between a good and a bad one are those of the bad one's line, so a branch is
searched along its own versions, and the good one must lie there. A version is good where the
model's answer to the prompt is that of the good version (or begins with the text that is expected),
or where a command ends with 0 for its folder: 125 skips the version, 1 to 124 and 126, 127 are bad,
anything else stops, as with `git bisect run`. The command is split as a shell would, no shell runs
it, and the token for the Hub is not in its environment. After the search, a few untried versions
are tried on both sides: a bad one before or a good one after the break means that the answer
changed more than once.

    found = bisect(workspace, "Ada was born in", good=3, bad=40, expect="London")
    found.first_bad, found.edits, found.monotone
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from editors.requests import Probe
from ledger.errors import EditorFailure, InvalidInput
from ledger.evaluation.metrics import answers_with
from ledger.inspection import fact_line
from ledger.lines import Lines

if TYPE_CHECKING:
    from ledger.workspace import Workspace

SKIP, _MOST_BAD = 125, 127
_CHECKS = 3  # versions tried on each side of the break, to see whether it is the only one
_TOKENS = 16
_SECRET = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")  # a folder is judged without the Hub
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
    """The first bad version between `good` and `bad` on the line of `bad`, and what made it.

    Either `prompt` (with `expect`) or `run`. Raises: InvalidInput if the ends are not good and bad,
    EditorFailure if a command cannot be run or stops the search.
    """
    path = _path(workspace.journal.history().lines, good, bad)
    try:
        trials = _Trials(_question(workspace, prompt, good, expect, run), progress)
        for version, wanted in ((good, "good"), (bad, "bad")):
            if trials(version) != wanted:
                raise InvalidInput(
                    f"version {version} is {trials(version)}, not {wanted} "
                    f"({trials.tried[version].answer!r}): nothing to look for between them"
                )
        last, first = _narrowed(trials, path)
        odd = _odd(trials, path, last, first)
    finally:
        workspace.rest()
    return _view(workspace, trials, path[path.index(last) + 1 : path.index(first) + 1], last, odd)


def _path(lines: Lines, good: int, bad: int) -> tuple[int, ...]:
    """The versions from the good one to the bad one along its line."""
    line = lines.line(bad)
    if good in line[:-1]:
        return line[line.index(good) :]
    common = lines.common(good, bad)
    on_the_way = common in line[:-1] and common != good
    hint = f"version {common} is the newest that both came from" if on_the_way else "give one"
    raise InvalidInput(f"version {good} is not before version {bad} on its branch: {hint}")


def _narrowed(trials: _Trials, path: Sequence[int]) -> tuple[int, int]:
    """The last good and the first bad version; skipped ones may lie between them."""
    start, end = 0, len(path) - 1
    while True:
        between = [place for place in range(start + 1, end) if path[place] not in trials.tried]
        if not between:
            return path[start], path[end]
        middle = between[len(between) // 2]
        verdict = trials(path[middle])
        if verdict == "good":
            start = middle
        elif verdict == "bad":
            end = middle


def _odd(trials: _Trials, path: Sequence[int], last: int, first: int) -> tuple[int, ...]:
    """Tried versions on the wrong side of the break, some of them tried only for this."""
    ends = (0, path.index(last)), (path.index(first), len(path) - 1)
    for place in (*_spread(*ends[0]), *_spread(*ends[1])):
        trials(path[place])
    return tuple(
        version
        for version, step in sorted(trials.tried.items())
        if (step.verdict == "bad" and version < first)
        or (step.verdict == "good" and version > last)
    )


def _spread(start: int, end: int) -> Iterator[int]:
    """A few places between two."""
    yield from {start + (end - start) * n // (_CHECKS + 1) for n in range(1, _CHECKS + 1)}


def _view(
    workspace: Workspace,
    trials: _Trials,
    broke: Sequence[int],
    last: int,
    odd: tuple[int, ...],
) -> BisectView:
    """`broke` are the versions after the last good one up to the first bad one."""
    made = workspace.journal.history().changes
    # A switch leads to what its branch was: along the line it changes nothing.
    changes = [made[v - 1] for v in broke if made[v - 1].op != "switch"]
    edits = tuple(dict.fromkeys(edit for change in changes for edit in change.edits))
    return BisectView(
        last_good=last,
        first_bad=broke[-1],
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
    from ledger.export import export_plan

    with tempfile.TemporaryDirectory(prefix="kel-bisect-") as scratch:
        target = Path(scratch) / f"v{version}"
        plan = workspace.versions.plan(workspace.journal.history().active(version))
        export_plan(workspace, version, plan, target)
        environment = {name: text for name, text in os.environ.items() if name not in _SECRET}
        try:
            done = subprocess.run(  # noqa: S603 - the user's own command, and no shell
                [*command, str(target)],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=2,
                env=environment,
            )
        except OSError as error:
            raise EditorFailure(f"{command[0]} cannot be run: {error.strerror}") from error
    status = done.returncode
    if status < 0 or status > _MOST_BAD:
        raise EditorFailure(f"{command[0]} ended with {status} for v{version}: the search stops")
    word = {0: "good", SKIP: "skipped"}.get(status, "bad")
    return BisectStep(version, word, f"exit {status}")
