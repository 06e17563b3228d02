"""P1: the command itself, killed at any moment, never loses what it had acknowledged.

`kel edit` and `kel revert` run in a process of their own on a tiny model and are killed after a
random time, again and again on one ledger. Acknowledged is what ended with exit status 0.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest
from tqdm import tqdm

from ledger import Ledger
from tests.e2e.harness import QUICK, Kel, copied

pytestmark = [pytest.mark.promise("P1"), pytest.mark.slow]

KILLS, RESET_EVERY = 200, 8


def command(number: int) -> tuple[str, ...]:
    """Three edits, then the first edit is taken out or put back."""
    if number % 4 == 3:
        return ("revert" if number % 8 == 3 else "reapply", "1")
    fact = ("--subject", f"City {number}", "--prompt", "{} lies in", "--target", "Paris")
    return ("edit", *fact, *QUICK, "--no-gate", "-m", f"number {number}")


def in_a_process(place: Path, argv: tuple[str, ...], kill_after: float | None) -> int | None:
    """The exit status; None if it was killed."""
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            # A fork shares the lock of the progress bars, and would take it into its grave.
            tqdm.set_lock(threading.RLock())
            status = Kel(place)(*argv).status
        finally:
            os._exit(status)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else None


def seconds(place: Path, argv: tuple[str, ...]) -> float:
    """How long an undisturbed run takes."""
    started = time.monotonic()
    assert in_a_process(place, argv, None) == 0
    return time.monotonic() - started


def test_P01_two_hundred_kills_of_the_command_lose_nothing(
    template: Path, tmp_path: Path, clean, figure
):
    rng, place = random.Random(1), tmp_path / "ledger"
    kills = number = recorded = 0
    longest = seconds(copied(template, place), command(0)) * 1.2
    while kills < KILLS:
        if number % RESET_EVERY == 0:
            shutil.rmtree(place)
            copied(template, place)
        argv = command(number)
        before = entries(place)
        status = in_a_process(place, argv, rng.uniform(0, longest))
        assert status in (None, 0, 5), argv  # 5: the revert before was killed, or was not
        kills += status is None
        now = entries(place)
        assert now[: len(before)] == before
        assert len(now) <= len(before) + 1
        recorded += status is None and len(now) > len(before)
        assert status != 0 or now != before
        number += 1
    figure(
        "P1",
        f"{kills} kills of the command at random moments, {recorded} of them after the commit, "
        f"{number - kills} commands acknowledged or refused, 0 lost",
    )


def entries(place: Path) -> list[str]:
    """The hashes of all entries of a ledger that verifies."""
    with Ledger.open(place) as opened:
        assert {found.severity for found in opened.verify()} <= {"info"}
        return [entry.hash for entry in opened.journal.entries()]
