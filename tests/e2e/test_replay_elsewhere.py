"""P4: another process, with nothing but the ledger and the base, folds the recorded digests.

Whatever the number of threads, the seed of the hashes, the language and the time zone. Matrices
are large enough for torch to share work out to threads.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ledger import Ledger
from tests.e2e.harness import ROOT
from tests.property.delta_ledger import apply, plain_base, random_update, start
from tests.sim.given import quick_disk

pytestmark = pytest.mark.promise("P4")

SHAPE = (300, 500)
EDITS, VERSIONS = 30, 50
NAMES = tuple(f"model.layers.{n}.mlp.down_proj.weight" for n in range(2))
PLACES = (
    {"KEL_TEST_THREADS": "1", "PYTHONHASHSEED": "0", "LC_ALL": "C", "TZ": "UTC"},
    {"KEL_TEST_THREADS": "2", "PYTHONHASHSEED": "1", "LC_ALL": "C.UTF-8", "TZ": "Asia/Shanghai"},
    {"KEL_TEST_THREADS": "4", "PYTHONHASHSEED": "2", "LC_ALL": "tr_TR.UTF-8", "TZ": "UTC+12"},
    {"KEL_TEST_THREADS": "8", "PYTHONHASHSEED": "3", "LC_ALL": "de_DE.UTF-8", "TZ": "UTC-14"},
    {
        "KEL_TEST_THREADS": "3",
        "PYTHONHASHSEED": "4",
        "LANG": "zh_CN.UTF-8",
        "TZ": "America/St_Johns",
    },
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """30 edits in bfloat16 and 20 reverts and reapplies, 50 versions."""
    place = tmp_path_factory.mktemp("made")
    generator = torch.Generator().manual_seed(0)
    drawn = {name: torch.randn(SHAPE, generator=generator).bfloat16() for name in NAMES}
    base = plain_base(place / "base", drawn, "llama")
    with quick_disk(), start(place / "ledger", base) as ledger:
        for n in range(EDITS):
            rank = 70 if n == 4 else 1 + n % 3  # from 64 components on, torch shares out a tile
            apply(ledger, {NAMES[n % 2]: random_update(n, SHAPE, rank=rank, scale=0.01)}, rank)
        edits = [ledger.journal.edits_of_batch(n + 1)[0].id for n in range(EDITS)]
        for n in range(15):
            ledger.revert([str(edits[n])], retest=False)
            if n % 3 == 0:
                ledger.reapply([str(edits[n])])
        assert ledger.journal.history().head == VERSIONS
    yield place / "ledger"
    shutil.rmtree(place)


@pytest.mark.parametrize(
    ("versions", "places"),
    [
        ((1, 5, 30, 37, 50), PLACES[3:4]),
        pytest.param(tuple(range(1, VERSIONS + 1)), PLACES, marks=pytest.mark.slow),
    ],
)
def test_P04_every_version_is_replayed_in_a_process_of_its_own(made, versions, places, figure):
    with Ledger.open(made) as ledger:
        recorded = {n: ledger.journal.entry_of(n).weights_digest for n in versions}
    for place in places:
        lines = replayed(made, versions, place)
        threads = lines.pop()
        assert threads == f"threads {place['KEL_TEST_THREADS']}"
        assert lines == [f"{n} True {digest}" for n, digest in recorded.items()], place
    text = f"{len(versions)} of {len(versions)} versions equal in each of {len(places)} other "
    figure("P4", text + "processes: threads, hash seed, language, time zone")


def replayed(folder: Path, versions: tuple[int, ...], place: dict[str, str]) -> list[str]:
    """What a new process says; it finds no file that is not the ledger's or the base's."""
    shutil.rmtree(folder / "cache", ignore_errors=True)
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    run = subprocess.run(
        [sys.executable, "-m", "tests.sim.replaying", str(folder), *map(str, versions)],
        cwd=ROOT,
        env={**kept, "PYTHONPATH": str(ROOT), "HOME": "/", **place},
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    return run.stdout.splitlines()
