"""Two processes edit at once: one wins; the other is told so, or computes again and lands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.harness import FACT, QUICK, ROOT, Kel, objects

pytestmark = pytest.mark.promise("P8")

# A process that has computed its edit waits for a word before its first commit.
WAITING = """
import sys
from cli.main import main
from ledger import editing
commit = editing.commit
def wait(*args):
    editing.commit = commit
    print("computed", flush=True)
    sys.stdin.readline()
    return commit(*args)
editing.commit = wait
sys.exit(main(sys.argv[1:]))
"""
OTHER = ("--subject", "Marie Curie", "--prompt", "{} worked in", "--target", "Warsaw")
THIRD = ("--subject", "Ada Lovelace", "--prompt", "{} wrote the first", "--target", "old city")


def start(ledger: Path, *argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WAITING, "--ledger", str(ledger), "edit", *argv],
        env={**os.environ, "PYTHONPATH": str(ROOT), "KEL_AUTHOR": "bob"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_edit_that_comes_second_is_5_or_with_retry_lands_on_top(kel: Kel, ledger: Path):
    quick = (*QUICK, "--no-gate")
    patient = start(ledger, *OTHER, *quick, "--retry", "2")
    hasty = start(ledger, *THIRD, *quick)
    for process in (patient, hasty):
        assert process.stdout is not None
        assert process.stdout.readline() == "computed\n"
    head = kel.json("status")["version"]
    assert kel.json("edit", *FACT, *quick)["version"] == head + 1
    before = kel.json("log")["entries"]
    out, err = hasty.communicate("go\n", timeout=120)
    assert (hasty.returncode, out) == (5, "")
    (line,) = err.splitlines()
    assert line.startswith(f"kel: computed on version {head}, but the head is version {head + 1}")
    assert kel.json("log")["entries"] == before
    out, err = patient.communicate("go\n", timeout=120)
    assert (patient.returncode, err) == (0, "")
    assert out.startswith("applied")
    entries = kel.json("log")["entries"]
    assert [(entry["version"], entry["op"]) for entry in entries[:2]] == [
        (head + 2, "apply"),
        (head + 1, "apply"),
    ]
    assert (entries[0]["author"], entries[1]["author"]) == ("bob", "ada")
    assert kel.json("replay")["matches"]
    findings = kel.json("verify", "--weights")["findings"]
    assert {finding["code"] for finding in findings} <= {"object.garbage"}
    assert len(objects(ledger)) >= len(entries[0]["edits"])
