"""What a joint solution restores of sequential edits after some were taken out at random.

    python -m bench.resolve --edits 200 --out 20 --method rome

The edits are real ones, made one on top of the other (`bench.sequence`); a ledger of such edits
that is kept elsewhere is copied, and continued where it has fewer.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import time
from collections.abc import Collection
from pathlib import Path

import torch

from bench.sequence import grown, opened
from ledger import Ledger


def said(ledger: Ledger, edits: Collection[int]) -> str:
    """Mean reliability of some active edits at the head, and how many hold whole."""
    _, plan = ledger.workspace.at_head()
    held = ledger.workspace.examiner.holding(ledger.journal.edits(sorted(edits)), plan)
    whole = sum(value == 1 for value in held.values())
    return f"reliability {sum(held.values()) / len(held):.3f}, {whole} of {len(held)} whole"


def missed(ledger: Ledger, edits: Collection[int]) -> float:
    """The largest |W k - v| / |v| over constraints of some edits, W before its cast."""
    versions, worst = ledger.workspace.versions, 0.0
    plan = versions.plan(ledger.status().active)
    for parameter, changes in plan.items():
        found = versions.constraints(tuple(sorted(edits)), parameter)
        if found is None:
            raise LookupError(f"no keys of {parameter}")
        weight = versions.base(parameter).double()
        for change in changes:
            weight += change.u.double() @ change.v.double()
        off = torch.linalg.vector_norm(weight @ found[0] - found[1], dim=0)
        worst = max(worst, float((off / torch.linalg.vector_norm(found[1], dim=0)).max()))
    return worst


def main() -> None:
    """Print reliability before the reverts, after them, and after the joint solution."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edits", type=int, default=200)
    parser.add_argument("--out", type=int, default=20)
    parser.add_argument("--method", default="rome")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ridge", type=float, default=0.0)
    parser.add_argument("--ledger", type=Path, help="begin with a copy of this one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "ledger"
        if given.ledger:
            shutil.copytree(given.ledger, place)
        with opened(place) as ledger:
            for _ in grown(ledger, given.method, given.edits, given.seed):
                pass
            report(ledger, given.out, given.seed, given.ridge)


def report(ledger: Ledger, out: int, seed: int, ridge: float) -> None:
    """Take some edits out, solve the others again, and print what holds."""
    active = ledger.status().active
    gone = random.Random(seed).sample(active, out)
    staying = set(active) - set(gone)
    print(f"before: {said(ledger, staying)}", flush=True)
    ledger.revert([str(edit) for edit in gone])
    print(f"taken out: {said(ledger, staying)}", flush=True)
    started = time.perf_counter()
    outcomes = list(ledger.resolve_active(gate=None, ridge=ridge))
    seconds = time.perf_counter() - started
    new = set(ledger.status().active)
    print(f"solved again: {said(ledger, new)}, in {seconds:.0f} s with its tests")
    print(f"largest |W k - v| / |v|: {missed(ledger, new):.1e}")
    for outcome in outcomes:
        batch = ledger.journal.batch(outcome.resolved.batch if outcome.resolved else 0)
        shared = {name: len(edits) for name, edits in batch.evidence["share_a_key"].items()}
        print(f"share a key with a newer edit: {shared}")


if __name__ == "__main__":
    main()
