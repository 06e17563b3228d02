"""`kel stats`: killed and continued, shared by processes, in parts: the same C."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.contract.tiny import TEXTS
from tests.e2e.harness import ROOT, Kel, copied, rows
from tests.reference.formats_reference import canonical, read_object
from tests.sim.places import tables

KILLED = """
import os, signal, sys
import ledger.statistics, ledger.sums
from cli.main import main

ledger.statistics._KEEP_SECONDS = 0
keep, calls = ledger.sums.SumsFolder.keep, []

def kept(*args, **options):
    keep(*args, **options)
    calls.append(1)
    if len(calls) == 5:
        os.kill(os.getpid(), signal.SIGKILL)

ledger.sums.SumsFolder.keep = kept
main(sys.argv[1:])
"""


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(f"{text} {number}" for number in range(9) for text in TEXTS), "utf-8")
    return path


@pytest.fixture
def other(ledger: Path, tmp_path: Path, kel: Kel) -> Kel:
    """A second copy of the same ledger."""
    return Kel(copied(ledger, tmp_path / "other"))


def args(corpus: Path, *more: str) -> tuple[str, ...]:
    return ("stats", "--layer", "0", "--layer", "2", "--corpus", str(corpus), *more)


def oids(body: dict) -> list[tuple[str, str]]:
    return [(row["moment"], row["factor"]) for row in body["stats"]]


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *argv], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )


def test_a_killed_measurement_goes_on_and_ends_with_the_same_bits(kel, other, corpus, monkeypatch):
    before = rows(kel.place)
    done = run("-c", KILLED, "--ledger", str(kel.place), *args(corpus, "--tokens", "1500"))
    assert done.returncode == -9, done.stderr
    assert rows(kel.place) == before
    (kept,) = (kel.place / "cache").glob("stats-*")
    taken = []
    from editors.model import EditableModel

    forward = EditableModel.forward
    monkeypatch.setattr(
        EditableModel, "forward", lambda self, b, **o: taken.append(b) or forward(self, b, **o)
    )
    again = kel.json(*args(corpus, "--tokens", "1500"))
    resumed, _ = len(taken), taken.clear()
    whole = other.json(*args(corpus, "--tokens", "1500"))
    assert oids(again) == oids(whole)
    assert [row["checks"] for row in again["stats"]] == [row["checks"] for row in whole["stats"]]
    assert resumed <= len(taken) - 5
    assert not kept.exists()


def test_two_processes_measure_what_one_does(kel, other, corpus):
    command = ("-m", "cli.main", "--ledger", str(kel.place), *args(corpus, "--json"))
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = run(*torchrun, *command, "--tokens", "auto")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"kel.stats/1"') == 1
    body = other.json(*args(corpus, "--tokens", "auto"))
    assert [(row["moment"], row["factor"]) for row in body["stats"]] == [
        (row["moment_oid"], row["factor_oid"]) for row in recorded(kel)
    ]
    assert [entry["op"] for entry in kel.json("log")["entries"][:2]].count("stats") == 1


def recorded(kel: Kel) -> list[dict[str, str]]:
    return sorted(tables(kel.place)["stats"], key=lambda row: row["id"])


def test_parts_are_recorded_as_their_sum(kel, other, corpus, tmp_path):
    folders = [tmp_path / f"part-{number}" for number in (1, 2, 3)]
    before, all_of_it = rows(kel.place), ("--tokens", "100000")
    for number, folder in enumerate(folders, start=1):
        body = kel.json(*args(corpus, "--part", f"{number}/3", "--out", str(folder), *all_of_it))
        assert body["stats"] == []
        assert body["part"]["texts"] == 18
        again = kel.json(*args(corpus, "--part", f"{number}/3", "--out", str(folder), *all_of_it))
        assert again == body
    assert rows(kel.place) == before
    merge = [part for folder in folders for part in ("--merge", str(folder))]
    body = other.json("stats", *merge)
    read = [index_of(folder) for folder in folders]
    for place, row in enumerate(body["stats"]):
        total = read[0][1][place] + read[1][1][place] + read[2][1][place]
        count = sum(found[0] for found in read)
        moment, _ = read_object(
            other.place.joinpath("objects", row["moment"][:2], row["moment"][2:]).read_bytes()
        )
        assert row["count"] == count
        assert np.array_equal(moment["moment"], total / count)
    whole = other.json(*args(corpus, "--tokens", str(body["stats"][0]["count"])))
    assert whole["stats"][0]["corpus"] == body["stats"][0]["corpus"]
    kel.refused(2, "stats", *merge[:4], says=["of 3 parts these were given: 1, 2"])
    kel.refused(
        5, *args(corpus, "--part", "1/2", "--out", str(folders[0])), says=["something else"]
    )


def index_of(folder: Path) -> tuple[int, list[np.ndarray]]:
    """Count and sums of a part, read by docs/formats.md alone."""
    import json

    text = (folder / "sums.json").read_text("utf-8")
    index = json.loads(text)
    assert text == canonical(index)
    assert (index["schema"], index["done"]) == ("kel.sums/1", True)
    found = []
    for oid, parameter in zip(index["objects"], index["task"]["parameters"], strict=True):
        tensors, meta = read_object((folder / "objects" / oid[:2] / oid[2:]).read_bytes())
        assert meta == {"schema": "kel.sums/1", "parameter": parameter}
        assert set(tensors) == {"sum"}
        found.append(tensors["sum"])
    return index["count"], found


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("--tokens", "0"), "neither a number"),
        (("--tokens", "many"), "neither a number"),
        (("--part", "3/2", "--out", "x"), "no part"),
        (("--part", "1/2"), "go together"),
        (("--part", "1/2", "--out", "x", "--tokens", "auto"), "cannot tell"),
        (("--merge", ".", "--layer", "1"), "nothing else"),
        (("--method", "ft"), "uses no second moments"),
        (("--layer", "1", "--layer", "1"), "given twice"),
    ],
)
def test_what_makes_no_sense_is_refused(kel, argv, says, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    kel.refused(2, "stats", *argv, says=[says])
