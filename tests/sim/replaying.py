"""A process of its own that knows a ledger's folder only, and replays versions of it.

python -m tests.sim.replaying FOLDER 1 4 9      # a line a version: number, matches, weights digest
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from ledger import Ledger


def main(folder: str, *versions: str) -> None:
    torch.set_num_threads(int(os.environ["KEL_TEST_THREADS"]))
    with Ledger.open(Path(folder), author="ann") as ledger:
        for version in versions:
            found = ledger.replay(f"v{version}")
            sys.stdout.write(f"{version} {found.matches} {found.weights_digest}\n")
    sys.stdout.write(f"threads {torch.get_num_threads()}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
