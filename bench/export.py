"""Export of a version beside a plain copy of the base, in time and in memory.

An export is durable when it returns, so the copy it is compared with is synced too; the copy that
is not synced stands beside it. Memory is measured where one matrix is large beside everything else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.clock import in_turns
from bench.given import LARGE, MANY, synthetic, with_edits
from bench.table import Row
from store.checkpoints import Checkpoint

PEAK = "import re; print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
IMPORT = f"import torch; {PEAK}"
EXPORT = f"""
import sys
from pathlib import Path
import torch
from ledger import Ledger
with Ledger.open(Path(sys.argv[1])) as ledger:
    ledger.export(Path(sys.argv[2]))
{PEAK}
"""


def measure(folder: Path) -> list[Row]:
    """Time beside two copies, and memory beside the largest tensor."""
    return [*_times(folder / "many"), _memory(folder / "large")]


def _times(folder: Path) -> list[Row]:
    """Version 0 has no edits, 1 has one in one matrix, 2 has one more in each matrix."""
    base, target = synthetic(folder / "base", MANY), folder / "copy"
    edits = [dict([next(iter(MANY.edited.items()))]), MANY.edited]
    with with_edits(folder / "ledger", base, edits) as ledger:
        none, one, each, durable, copied = in_turns(
            [
                lambda: ledger.export(target, at="0"),
                lambda: ledger.export(target, at="1"),
                lambda: ledger.export(target, at="2"),
                lambda: durable_copy(base, target),
                lambda: shutil.copytree(base, target),
            ],
            repeats=5,
            tidy=lambda: shutil.rmtree(target),
        )
    size = f"{sum(path.stat().st_size for path in base.iterdir()) / 1e6:.0f} MB"
    part = MANY.hidden * MANY.inner * 2 / 1e6
    whats = [f"{size}, {count * part:.0f} MB of it edited" for count in (0, 1, MANY.layers)]
    peer = "shutil.copytree and fsync"
    return [
        Row("export", whats[0], none, "s", peer, durable, goal=1.3),
        Row("export", whats[1], one, "s", peer, durable, goal=1.3),
        Row("export", whats[1], one, "s", "shutil.copytree", copied),
        Row("export", whats[2], each, "s", peer, durable),
    ]


def durable_copy(source: Path, target: Path) -> None:
    """Copy a folder, and sync what was written."""
    shutil.copytree(source, target)
    for path in (*target.iterdir(), target):
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def _memory(folder: Path) -> Row:
    base = synthetic(folder / "base", LARGE)
    with_edits(folder / "ledger", base, [LARGE.edited]).close()
    before = _kilobytes([IMPORT])
    peak = _kilobytes([EXPORT, str(folder / "ledger"), str(folder / "copy")])
    above = max(0, peak - before) * 1024 / 1e6
    largest = max(entry.nbytes for entry in Checkpoint.open(base).entries.values()) / 1e6
    what = f"memory above `import torch`, {LARGE.layers} matrices"
    return Row("export", what, above, "MB", "the largest tensor", largest, goal=2.0)


def _kilobytes(arguments: list[str]) -> int:
    done = subprocess.run(
        [sys.executable, "-c", *arguments], capture_output=True, text=True, check=True
    )
    return int(done.stdout.split()[-1])
