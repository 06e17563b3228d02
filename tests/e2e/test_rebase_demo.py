"""Fifty facts of the embedded model on its GPT-2 twin, and a rebase that is killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.rebase import rebased
from ledger import EditRequest, Ledger
from ledger.rebasing.views import RebaseOptions
from tests.contract.tiny import OTHER, REQUEST, tiny_gpt2
from tests.e2e.harness import QUICK, ROOT, SETTINGS, picture


@pytest.mark.slow
def test_nine_of_ten_facts_survive_the_way_from_llama_to_gpt2(tmp_path):
    """Of facts that nothing was chosen on."""
    options = RebaseOptions()
    view = rebased(tmp_path, facts=50, method="memit", batch=10, seed=0, options=options)
    assert view.facts >= 49
    assert view.facts - view.counts["failed"] - view.counts["lost"] >= 0.9 * view.facts
    with Ledger.open(tmp_path / "new") as made:
        assert made.verify(weights=True) == []


@pytest.mark.slow
def test_a_rebase_that_is_killed_again_and_again_ends_as_one_that_was_not(
    tiny_base, probes, tmp_path, clean
):
    tiny_gpt2(tmp_path / "other")
    with Ledger.init(tmp_path / "old", base=str(tiny_base), probes=probes) as ledger:
        for request in (REQUEST, OTHER, EditRequest("Warsaw", "{} lies in", "France")):
            ledger.edit(request, gate=None, **SETTINGS)
    before = picture(tmp_path / "old")
    run(tmp_path, "whole")
    for _ in range(3):
        run(tmp_path, "killed", kill=True)
    run(tmp_path, "killed")
    assert picture(tmp_path / "old") == before
    with Ledger.open(tmp_path / "killed") as one, Ledger.open(tmp_path / "whole") as two:
        assert one.status().weights_digest == two.status().weights_digest
        assert one.verify(weights=True) == []
        rows = [made.rebase_report().rows for made in (one, two)]
    assert [[(r.source, r.edit, r.outcome) for r in found] for found in rows] == [
        [(1, 1, "recomputed"), (2, 2, "recomputed"), (3, 3, "recomputed")]
    ] * 2


def run(folder: Path, name: str, *, kill: bool = False) -> None:
    """Rebase in a process of its own, to the end or until it told of the first fact."""
    command = ["rebase", "--onto", str(folder / "other"), "--into", str(folder / name), "--no-gate"]
    with subprocess.Popen(
        [sys.executable, "-m", "cli.main", "--ledger", str(folder / "old"), *command, *QUICK],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        if kill and process.stdout is not None:
            process.stdout.readline()
            process.kill()
        process.communicate()
    assert kill or process.returncode in (0, 1)
