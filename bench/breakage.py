"""Does predicted disturbance rank actual breakage? Many edits on the embedded model, all kept.

Every edit's target probability is read right after the edit and again at the end; its drop is
compared with the drift that the stored factors predict.

Two other predictions from the same factors stand beside it: by which angle what was written has
`turn`ed, and whether what stands there now is nearer to what a `rival` wrote. A third runs the
model with nothing changed but what stands at the key, which tells how much of the drop that is.

python -m bench.breakage --edits 200 --method rome
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from bench.sequence import grown, opened
from editors.model import EditableModel
from editors.prompts import fill, target_row
from editors.requests import EditRequest
from editors.trace import Trace
from ledger.interference import everything
from ledger.running import request_of
from ledger.versions import Part


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
        wrote, moved = written(workspace.versions.parts(found.active))
        after, alone = [], []
        for place, request in enumerate(made):
            workspace.at(place + 1)
            after += probabilities(workspace.live.model, [request])
            moves = {name: all_[place] for name, all_ in moved.items()}
            alone.append(pushed(workspace.live.model, request, moves))
        end = probabilities(workspace.live.model, made)
    stands = torch.cat([wrote[n] + moved[n] for n in wrote], 1)
    own = torch.cat([*wrote.values()], 1)
    row = {edit: i for i, edit in enumerate(found.edits)}
    column = {edit: j for j, edit in enumerate(found.active)}
    stored = [float(found.effects.share[row[i], column[j]]) for i, j, _ in foreseen]
    return {
        "drift": found.effects.drift,
        "turn": 1 - torch.cosine_similarity(own, stands),
        "rival": nearer(own, stands, made),
        "after": torch.tensor(after, dtype=torch.float64),
        "alone": torch.tensor(alone, dtype=torch.float64),
        "end": torch.tensor(end, dtype=torch.float64),
        "foreseen": torch.tensor([share for _, _, share in foreseen], dtype=torch.float64),
        "stored": torch.tensor(stored, dtype=torch.float64),
    }


def written(parts: Sequence[Part]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What each of some sequential edits wrote at its key, and by how much later ones moved it.

    Shapes: parameter -> [n, d] both; every edit has rank one and a key.
    """
    own, moved = {}, {}
    for name in sorted({name for part in parts for name in part.keys}):
        u = torch.cat([part.changes[name].u for part in parts], 1).double()  # type: ignore[union-attr]
        v = torch.cat([part.changes[name].v for part in parts]).double()  # type: ignore[union-attr]
        inner = v @ torch.cat([part.keys[name] for part in parts], 1).double()  # [i, j]
        own[name] = (u * inner.diagonal()).T
        moved[name] = (u @ inner.tril(-1)).T
    return own, moved


def pushed(model: EditableModel, request: EditRequest, moves: Mapping[str, Tensor]) -> float:
    """p(target | prompt) where outputs of projections at the subject's end are moved by [d]."""
    filled = fill(request)
    end = target_row(model, filled.text, request.target_new, subject=filled.subject).subject

    def adding(move: Tensor) -> Callable[[Tensor], Tensor]:
        def edited(output: Tensor) -> Tensor:
            output = output.clone()
            output[0, end] += move.to(output)
            return output

        return edited

    edits = {model.projection(model.layer_index(n)): adding(move) for n, move in moves.items()}
    with Trace(model.model, edit_outputs=edits):
        return probabilities(model, [request])[0]


def nearer(own: Tensor, stands: Tensor, made: Sequence[EditRequest]) -> Tensor:
    """How much nearer what stands at a key is to what another edit wrote, in units of its own.

    The other answers the same prompt with another target. Shapes: [n, d] both -> [n].
    """
    rival = torch.tensor(
        [[a.prompt == b.prompt and a.target_new != b.target_new for b in made] for a in made]
    )
    away = torch.cdist(stands, own).masked_fill(~rival, torch.inf).amin(dim=1)
    size = torch.linalg.vector_norm(stands - own, dim=1)
    return (size - away.clamp_max(1e9)) / torch.linalg.vector_norm(own, dim=1)


def report(found: dict[str, Tensor]) -> list[str]:
    """The rank correlation, and breakage by quarters of predicted drift."""
    drift, drop = found["drift"], found["after"] - found["end"]
    lost = (found["after"] >= 0.5) & (found["end"] < 0.5)
    others = ", ".join(f"{name} {spearman(found[name], drop):.3f}" for name in ("turn", "rival"))
    told = spearman(found["after"] - found["alone"], drop)
    lines = [
        f"edits {len(drift)}, rank correlation of drift and drop {spearman(drift, drop):.3f}",
        f"of other predictors: {others}",
        f"of the drop if later edits moved nothing but what stands at the key: {told:.3f}",
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
