"""How well and how fast an audit tells which edits a checkpoint carries.

`measure` is a section of `python -m bench`: time beside reading both checkpoints, and a joint
solution beside the Cholesky factor it needs. How right an audit is, `bench.truth` measures.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from bench.clock import in_turns
from bench.given import LARGE, synthetic, update
from bench.table import Row
from editors.covariance import SecondMoment
from ledger.auditing.explain import Tensors, explain
from ledger.auditing.regression import System
from ledger.consolidating import joint
from ledger.weights import fold

EDITS = 1000


def measure(folder: Path) -> list[Row]:
    """The audit of a parameter with 1,000 known edits, and one joint solution of 1,000."""
    base = synthetic(folder / "base", LARGE)
    name, shape = next(iter(LARGE.edited.items()))
    changes = [update(shape, seed) for seed in range(EDITS)]
    system = System.of(changes, transposed=False)
    half = [change for n, change in enumerate(changes) if n % 2]
    stored = _tensor(base, name)
    deployed = fold(stored, half, transposed=False)

    def read_both() -> None:
        for _ in range(2):
            for path in sorted(base.glob("*.safetensors")):
                with path.open("rb") as stream:
                    while stream.read(1 << 24):
                        pass

    def audited() -> None:
        read_both()
        explain(Tensors(stored, deployed, system), None)

    whole, reading = in_turns([audited, read_both], 2)
    what = f"{EDITS:,} known edits, {shape[0]} x {shape[1]}, 600 MB"
    rows = [Row("audit", what, whole, "s", "reading both checkpoints", reading, goal=2)]
    return [*rows, _solution()]


def _solution() -> Row:
    width = 4096
    keys = torch.randn(width, EDITS, dtype=torch.float64)
    weight, values = torch.randn(1024, width).double(), torch.randn(1024, EDITS).double()
    eye = torch.eye(width, dtype=torch.float64)
    moment = SecondMoment(eye, 0, eye, 0.0)
    square = torch.randn(width, width, dtype=torch.float64)
    square = square @ square.T + width * eye
    solved, factor = in_turns(
        [
            lambda: joint(weight, keys, values, moment, 0.0),
            lambda: torch.linalg.cholesky(square),
        ],
        2,
    )
    what = f"joint solution of {EDITS:,} edits, width {width}"
    return Row("resolve", what, solved, "s", "Cholesky of C in float64", factor, goal=3)


def _tensor(folder: Path, name: str) -> Tensor:
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            if name in file.keys():  # noqa: SIM118 - no mapping
                found: Tensor = file.get_tensor(name)
                return found
    raise LookupError(name)
