"""Ctrl-C at any moment: nothing half-written, the live model back at the head, exit 130.

The interrupt is raised by the k-th call of whatever the verb passes through, for k = 1, 2, ...
until the verb gets through: progress reports, model runs, weight writes, the steps of the store and
of the database.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import ledger.db
import ledger.editing
import ledger.journal
import ledger.measuring
import ledger.postgres
from cli.output import Progress
from editors.model import EditableModel
from ledger import Ledger
from ledger.weights import digest
from store import atomic
from tests.e2e.harness import FACT, QUICK, ROOT, Kel, Result, copied, picture, rows

pytestmark = pytest.mark.promise("P10", "P35")


class Stop:
    """Raises KeyboardInterrupt at call number `at`, once; remembers the names of the calls."""

    def __init__(self) -> None:
        self.arm(0)

    def __call__(self, name: str, *_: object) -> None:
        if self.fired:
            return
        self.passed.append(name)
        if len(self.passed) == self.at:
            self.fired = True
            raise KeyboardInterrupt

    def arm(self, at: int) -> None:
        self.at, self.passed, self.fired = at, list[str](), False

    @property
    def committed(self) -> bool:
        """Whether the interrupt came after the commit."""
        return "write-committed" in self.passed


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> Stop:
    """Set into every place where the interrupt may come."""
    stop = Stop()
    for module in (atomic, ledger.db, ledger.journal, ledger.postgres):
        monkeypatch.setattr(module, "_point", stop)
    for module in (ledger.editing, ledger.measuring):
        monkeypatch.setattr(module, "predict", before(stop, "predict", module.predict))
    each = before(stop, "predict", ledger.measuring.predict_each)
    monkeypatch.setattr(ledger.measuring, "predict_each", each)
    monkeypatch.setattr(Progress, "stage", before(stop, "progress", Progress.stage))
    monkeypatch.setattr(EditableModel, "set_weight_", halfway(stop))
    return stop


def before(stop: Stop, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def stopped(*args: Any, **kwargs: Any) -> Any:
        stop(name)
        return function(*args, **kwargs)

    return stopped


def halfway(stop: Stop) -> Callable[..., None]:
    """Writing weights into the live model, with a stop where half of them are written."""
    write = EditableModel.set_weight_

    def written(model: EditableModel, parameter: str, weight: torch.Tensor) -> None:
        half = model.weight(parameter).clone()
        half[: len(half) // 2] = weight[: len(half) // 2]
        write(model, parameter, half)
        stop("half-written")
        write(model, parameter, weight)

    return written


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each ledger that was closed with a live model: whether that stood at the head."""
    found: list[bool] = []
    close = Ledger.close

    def closed(opened: Ledger) -> None:
        if "live" in getattr(opened.__dict__.get("workspace"), "__dict__", ()):
            found.append(at_head(opened))
        close(opened)

    monkeypatch.setattr(Ledger, "close", closed)
    return found


def at_head(opened: Ledger) -> bool:
    """Whether the live model has the recorded bits of the head, in all that edits ever touched."""
    live, journal = opened.workspace.live.model, opened.journal
    head = journal.last_entry()
    for version in range(head.version):
        assert set(journal.entry_of(version).tensors) <= set(head.tensors)
    return all(digest(live.weight(name)) == sha for name, sha in head.tensors.items())


WRITING = {"write-begun", "inserted-entry", "write-flushed", "write-committed"}
EDITING = WRITING | {
    "progress", "predict", "half-written", "tmp-open", "tmp-fsynced", "renamed", "inserted-edit",
}  # fmt: skip


@pytest.mark.parametrize(
    ("argv", "points"),
    [
        (("edit", *FACT, *QUICK, "--no-gate"), EDITING),
        (("edit", *FACT, *QUICK, "--dry-run"), {"progress", "predict", "half-written"}),
        (("revert", "1"), WRITING),
        (("reapply", "4"), WRITING),
        (("tag", "x"), WRITING | {"inserted-tag"}),
        (("test",), WRITING | {"predict", "half-written", "inserted-measurement"}),
    ],
    ids=["edit", "dry run", "revert", "reapply", "tag", "test"],
)
def test_an_interrupted_command_is_130_and_tells_the_truth(
    kel: Kel,
    template: Path,
    stop: Stop,
    standing: list[bool],
    argv: tuple[str, ...],
    points: set[str],
):
    passed: set[str] = set()
    was = kel.json("status")["entries"]
    for at in range(1, 200):
        again(template, kel.place)
        stop.arm(at)
        result = kel(*argv)
        if not stop.fired:
            break
        passed.add(stop.passed[-1])
        assert (result.status, result.out) == (130, "")
        if stop.committed:
            assert last(result).startswith("kel: interrupted; 1 entry had been recorded")
        else:
            assert last(result) == "kel: interrupted; nothing was changed"
        assert kel.json("status")["entries"] == was + stop.committed
        assert kel("verify").status == 0
    assert passed >= points
    assert result.status in (0, 1, 3)
    assert all(standing)
    assert len(standing) >= 8 or argv[0] not in ("edit", "test")


def last(result: Result) -> str:
    """What is said last; a dry run tells what it foresees before it computes."""
    return result.err.splitlines()[-1]


def again(template: Path, place: Path | None) -> None:
    """The ledger as it was at first."""
    assert place is not None
    shutil.rmtree(place)
    copied(template, place)


def test_an_interrupted_export_leaves_no_folder(kel: Kel, stop: Stop, tmp_path: Path):
    target = tmp_path / "place" / "out"
    target.parent.mkdir()
    before_ = picture(kel.place)
    for at in range(1, 50):
        stop.arm(at)
        result = kel("export", str(target))
        if not stop.fired:
            break
        assert (result.status, list(target.parent.iterdir())) == (130, [])
        assert "the ledger was not changed" in result.err
    assert at > 3
    assert result.status == 0
    assert picture(kel.place) == before_


def test_ctrl_c_in_a_running_process_is_130_and_changes_nothing(ledger: Path, tmp_path: Path):
    """A long fine-tuning, interrupted once it has checked the base."""
    before_ = rows(ledger)
    checked = ledger / "cache" / "base.json"
    checked.unlink(missing_ok=True)
    long = ("--method", "ft", "--layer", "0", "--set", "steps=10000", "--set", "stop_loss=0")
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "edit", *FACT, *long, "--set", "lr=1e-9"],
        cwd=ledger,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not checked.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err == "kel: interrupted; nothing was changed\n"
    assert rows(ledger) == before_


def test_an_interrupt_inside_source_run_from_a_string_keeps_the_exit_status(tmp_path: Path):
    """After `python -m`, CPython would end the process with SIGINT though this was caught."""
    (tmp_path / "stopped.py").write_text(
        "import sys, ledger, cli.main\n"
        "ledger.Ledger.open = lambda *_: exec('raise KeyboardInterrupt')\n"
        "sys.exit(cli.main.main(['status']))\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "stopped"],
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))},
        capture_output=True,
        text=True,
        timeout=60,
    )
    told = (run.returncode, run.stdout, run.stderr.strip())
    assert told == (130, "", "kel: interrupted")
