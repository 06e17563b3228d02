"""The break is found in few trials, and more than one break is told."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from editors.delta import LowRank
from ledger import Ledger
from ledger.errors import EditorFailure, InvalidInput
from tests.property.delta_ledger import apply
from tests.sim.tiny_ledger import tiny_ledger

PROMPT = "The capital of France is"
QUIET, LOUD = 1e-6, 3.0


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with tiny_ledger(tmp_path) as made:
        yield made


def grow(ledger: Ledger, sizes: list[float]) -> None:
    """One version for each size; a loud change alters any answer, a quiet one none."""
    name = ledger.workspace.live.model.parameter_name(0)
    shape = tuple(ledger.workspace.live.model.weight(name).shape)
    for seed, size in enumerate(sizes):
        random = torch.Generator().manual_seed(seed)
        u = torch.randn(shape[0], 1, generator=random) * size
        apply(ledger, {name: LowRank(u, torch.randn(1, shape[1], generator=random))})


@pytest.mark.parametrize("place", [1, 2, 7, 12])
def test_the_edit_that_broke_it_is_found_in_few_trials(ledger, place):
    count = 12
    grow(ledger, [LOUD if n == place else QUIET for n in range(1, count + 1)])
    view = ledger.bisect(PROMPT, good="base", bad="HEAD")
    assert (view.last_good, view.first_bad) == (place - 1, place)
    assert (view.op, view.edits, view.monotone) == ("apply", (place,), True)
    assert list(view.facts) == [place]
    assert len(view.steps) <= 2 + math.ceil(math.log2(count)) + 6
    assert ledger.workspace.live.show(
        ledger.workspace.versions.plan(ledger.status().active)
    ) == dict(ledger.journal.entry_of(count).tensors)
    answers = {step.version: step.answer for step in view.steps}
    assert answers[place] == ledger.ask(PROMPT, at=f"v{place}", max_new_tokens=16).text


def test_a_revert_may_be_what_broke_it(ledger):
    grow(ledger, [QUIET, LOUD, QUIET])
    ledger.revert(["2"])
    view = ledger.bisect(PROMPT, good="v2", bad="HEAD")
    assert (view.first_bad, view.op, view.edits) == (4, "revert", (2,))


def test_what_came_and_went_is_told(ledger):
    grow(ledger, [QUIET, LOUD])
    ledger.revert(["2"])
    ledger.reapply(["2"])
    view = ledger.bisect(PROMPT, good="base", bad="HEAD")
    assert view.first_bad in (2, 4)
    assert not view.monotone
    assert view.odd


def test_an_expected_text_decides_instead_of_the_good_answer(ledger):
    grow(ledger, [QUIET, LOUD, QUIET])
    right = ledger.ask(PROMPT, at="base", max_new_tokens=16).text
    view = ledger.bisect(PROMPT, good="base", bad="HEAD", expect=right)
    assert view.first_bad == 2
    with pytest.raises(InvalidInput, match="is bad, not good"):
        ledger.bisect(PROMPT, good="base", bad="HEAD", expect="nothing that it says")


def test_a_command_is_given_the_folder_and_decides_by_its_exit_status(ledger, tmp_path):
    grow(ledger, [QUIET] * 5)
    check = tmp_path / "check it.py"
    check.write_text(
        "import json, pathlib, sys\n"
        "folder = pathlib.Path(sys.argv[-1])\n"
        "version = json.loads((folder / 'kel.json').read_text())['version']\n"
        "assert (folder / 'model.safetensors').is_file()\n"
        "print('to standard error')\n"
        "sys.exit({3: 125}.get(version, int(version >= 4)))\n"
    )
    run = f"{sys.executable} '{check}' --flag"
    view = ledger.bisect(run=run, good="base", bad="HEAD")
    assert (view.last_good, view.first_bad, view.op) == (2, 4, None)
    assert view.edits == (3, 4)
    assert {s.version: s.verdict for s in view.steps}[3] == "skipped"
    assert view.monotone


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"run": "no-such-command-here"}, EditorFailure, "cannot be run"),
        ({"run": "'unfinished"}, InvalidInput, "split"),
        ({"run": " "}, InvalidInput, "empty"),
        ({"run": "x", "prompt": PROMPT}, InvalidInput, "either"),
        ({"run": "x", "expect": "y"}, InvalidInput, "goes with a prompt"),
        ({}, InvalidInput, "either"),
        ({"prompt": PROMPT}, InvalidInput, "is good, not bad"),
        ({"prompt": PROMPT, "good": "v1", "bad": "base"}, InvalidInput, "is not before"),
    ],
)
def test_what_cannot_be_searched_is_refused(ledger, given, error, says):
    grow(ledger, [QUIET])
    ends = {"good": "base", "bad": "v1"}
    with pytest.raises(error, match=says):
        ledger.bisect(**{**ends, **given})


def test_a_command_that_dies_stops_the_search(ledger):
    grow(ledger, [QUIET])
    dying = f'{sys.executable} -c "import os; os.kill(os.getpid(), 9)"'
    with pytest.raises(EditorFailure, match="ended with -9 for v0"):
        ledger.bisect(run=dying, good="base", bad="v1")
