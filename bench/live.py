"""Taking an edit out of a running model and putting it back, beside loading the model again."""

from __future__ import annotations

from pathlib import Path

from bench.clock import in_turns
from bench.given import with_edits
from bench.table import Row
from editors.model import EditableModel
from ledger.base import demo_folder
from store.checkpoints import Checkpoint

EDITS = 20
LAYER = 3


def edited() -> tuple[str, tuple[int, int]]:
    """The matrix of the embedded model that is edited here, and its shape."""
    name = f"model.layers.{LAYER}.mlp.down_proj.weight"
    rows, columns = Checkpoint.open(demo_folder()).entry(name).shape
    return name, (rows, columns)


def measure(folder: Path) -> list[Row]:
    """Revert of an edit in the middle, reapply, and back to the base."""
    name, shape = edited()
    with with_edits(folder / "ledger", "demo", [{name: shape}] * EDITS) as ledger:
        ledger.revert([str(EDITS // 2)])
        workspace = ledger.workspace
        history = ledger.journal.history()
        plans = [workspace.versions.plan(history.active(v)) for v in (EDITS, EDITS + 1, 0)]
        live, compute = workspace.live, workspace.record.config["compute_dtype"]
        live.show(plans[0])
        reapplied, reverted, _, load = in_turns(
            [
                lambda: live.show(plans[0]),
                lambda: live.show(plans[1]),
                lambda: live.show(plans[2]),
                lambda: EditableModel.load(demo_folder(), dtype=compute),
            ],
            repeats=9,
        )
    peer = "EditableModel.load"
    return [
        Row("live", f"revert one of {EDITS} edits", reverted * 1e3, "ms", peer, load * 1e3),
        Row("live", f"reapply {EDITS} edits to the base", reapplied * 1e3, "ms", peer, load * 1e3),
    ]
