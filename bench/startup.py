"""How long a command takes to start, beside an interpreter that does nothing.

Rules: each command is a fresh process on a ledger with a few edits; none may import torch or
transformers, else the run is stopped.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

from bench.clock import in_turns
from bench.table import Row

COMMANDS = (["--help"], ["status"], ["log"], ["show", "1"])
LIMIT_MS = 300.0
RUN = "import sys; from cli.main import main; sys.exit(main(sys.argv[1:]))"
MAKE = (
    "import sys; from pathlib import Path; from bench.given import with_edits; "
    "from bench.live import edited; "
    "with_edits(Path(sys.argv[1]), 'demo', [dict([edited()])] * 20).close()"
)
CHECK = (
    "import sys; from cli.main import main; status = main(sys.argv[1:]); "
    "heavy = {'torch', 'transformers'} & set(sys.modules); sys.exit(status or bool(heavy))"
)


def measure(folder: Path) -> list[Row]:
    """One row per command."""
    ledger = folder / "ledger"
    _process(["-c", MAKE, str(ledger)])
    options = ["--ledger", str(ledger)]
    for command in COMMANDS:
        _process(["-c", CHECK, *options, *command])
    works = [["-c", "pass"], *(["-c", RUN, *options, *command] for command in COMMANDS)]
    nothing, *times = in_turns([partial(_process, work) for work in works], repeats=9)
    return [
        Row(
            "startup",
            f"kel {' '.join(command)}",
            taken * 1e3,
            "ms",
            "python -c pass",
            nothing * 1e3,
            limit=LIMIT_MS,
        )
        for command, taken in zip(COMMANDS, times, strict=True)
    ]


def _process(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, cwd=Path.cwd()
    )
    if done.returncode:
        raise RuntimeError(f"{arguments}: status {done.returncode}\n{done.stdout}{done.stderr}")
