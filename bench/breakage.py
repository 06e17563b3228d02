"""Does predicted disturbance rank actual breakage? Many edits on the embedded model, all kept.

Every edit's target probability is read right after the edit and again at the end; its drop is
compared with the drift that the stored factors predict.

python -m bench.breakage --edits 200 --method rome
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from bench.sequence import grown, opened
from editors.model import EditableModel
from editors.prompts import target_row
from editors.requests import EditRequest
from ledger.interference import everything
from ledger.running import request_of


def spearman(one: Tensor, two: Tensor) -> float:
    """Rank correlation, ties given their mean rank. Shapes: [n], [n]."""
    return float(torch.corrcoef(torch.stack([_ranks(one), _ranks(two)]))[0, 1])


def _ranks(values: Tensor) -> Tensor:
    _, group, sizes = torch.unique(values, return_inverse=True, return_counts=True)
    ends = sizes.cumsum(0).double()
    return (ends - (sizes - 1) / 2)[group]


def probabilities(model: EditableModel, requests: Sequence[EditRequest]) -> list[float]:
    """p(target | prompt) of each request, over all of the target's tokens."""
    found = []
    for request in requests:
        row = target_row(model, request.text, request.target_new)
        with torch.no_grad(), model.evaluating():
            at = torch.tensor(list(row.positions), device=model.device)
            logits = model.forward(model.batch([row.ids]), at=at).double()
        told = logits.log_softmax(-1)[torch.arange(len(row.labels)), list(row.labels)]
        found.append(float(told.sum().exp()))
    return found


def sequence(folder: Path, method: str, count: int, seed: int) -> dict[str, Tensor]:
    """Edits one after another without a gate; per edit its drift, p after it and p at the end.

    A ledger that is there already is continued; of its edits nothing is foreseen.
    """
    with opened(folder) as ledger:
        foreseen = [
            (edit, item.edit, item.share)
            for edit, _, shares in grown(ledger, method, count, seed)
            for item in shares
        ]
        workspace, history = ledger.workspace, ledger.journal.history()
        found = everything(workspace.versions, history)
        made = [request_of(edit) for edit in ledger.journal.edits(found.active)]
        after = []
        for version, request in enumerate(made, start=1):
            workspace.at(version)
            after += probabilities(workspace.live.model, [request])
        end = probabilities(workspace.live.model, made)
    row = {edit: i for i, edit in enumerate(found.edits)}
    column = {edit: j for j, edit in enumerate(found.active)}
    stored = [float(found.effects.share[row[i], column[j]]) for i, j, _ in foreseen]
    return {
        "drift": found.effects.drift,
        "after": torch.tensor(after, dtype=torch.float64),
        "end": torch.tensor(end, dtype=torch.float64),
        "foreseen": torch.tensor([share for _, _, share in foreseen], dtype=torch.float64),
        "stored": torch.tensor(stored, dtype=torch.float64),
    }


def report(found: dict[str, Tensor]) -> list[str]:
    """The rank correlation, and breakage by quarters of predicted drift."""
    drift, drop = found["drift"], found["after"] - found["end"]
    lost = (found["after"] >= 0.5) & (found["end"] < 0.5)
    lines = [
        f"edits {len(drift)}, rank correlation of drift and drop {spearman(drift, drop):.3f}",
        "| predicted drift | edits | mean drop of p(target) | fell below 1/2 |",
        "|---|---|---|---|",
    ]
    for quarter in torch.tensor_split(drift.argsort(), 4):
        low, high = float(drift[quarter[0]]), float(drift[quarter[-1]])
        mean, share = float(drop[quarter].mean()), int(lost[quarter].sum())
        lines.append(f"| {low:.3f} to {high:.3f} | {len(quarter)} | {mean:.3f} | {share} |")
    if len(found["foreseen"]) > 1:
        told = spearman(found["foreseen"], found["stored"])
        lines.append(
            f"pairs foreseen above 0.1: {len(found['stored'])}, rank correlation {told:.3f}"
        )
    return lines


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edits", type=int, default=200)
    parser.add_argument("--method", default="rome")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ledger", type=Path, help="keep the ledger there, or go on with it")
    options = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="kel-bench-") as folder:
        place = options.ledger or Path(folder) / "ledger"
        found = sequence(place, options.method, options.edits, options.seed)
    for line in report(found):
        print(line)
    print(f"{options.method}, seed {options.seed}, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
