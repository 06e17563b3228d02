"""What a joint solution restores of sequential edits after some were taken out at random.

    python -m bench.resolve --edits 200 --out 20 --deltas rome.safetensors

Keys and values are those of real single edits (`bench.audit` makes and keeps them); each edit is
written by ROME's closed form on the weights that carry the earlier ones, with one C.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file

from bench.audit import Known, rome
from editors.covariance import SecondMoment
from editors.delta import Delta, LowRank
from ledger import Ledger
from ledger.records import EditRecord
from tests.property.delta_ledger import apply


def sequential(ledger: Ledger, known: Known, kept: Path, count: int) -> None:
    """Write edits one after the other."""
    tensors, live = load_file(kept), ledger.workspace.live
    layer = live.model.layer_index(known.parameter)
    moment: SecondMoment = ledger.workspace.statistics.second_moment(layer)
    used = {"statistics": {str(layer): ledger.workspace.statistics.used(layer)}}
    for place, (subject, prompt, target) in enumerate(known.facts[:count]):
        key, value = tensors[f"{place}.key"], tensors[f"{place}.value"]
        ledger.workspace.at_head()
        spread = moment.solve(key)
        residual = value.double() - live.model.weight(known.parameter).double() @ key.double()
        row = (spread / (key.double().T @ spread)).T
        change = LowRank(residual.float().contiguous(), row.float().contiguous())
        fact = EditRecord(subject=subject, prompt=prompt, target_new=target)
        delta = Delta({known.parameter: change}, {known.parameter: key}, {known.parameter: value})
        apply(ledger, delta, stated=[fact], environment=used)


def said(ledger: Ledger, edits: set[int]) -> tuple[float, int]:
    """Mean reliability of some active edits at the head, and how many hold whole."""
    _, plan = ledger.workspace.at_head()
    held = ledger.workspace.examiner.holding(ledger.journal.edits(sorted(edits)), plan)
    return sum(held.values()) / len(held), sum(value == 1 for value in held.values())


def missed(ledger: Ledger, parameter: str, edits: tuple[int, ...]) -> float:
    """The largest |W k - v| / |v| over constraints of some edits, W before its cast."""
    found = ledger.workspace.versions.constraints(edits, parameter)
    if found is None:
        raise LookupError(f"no keys of {parameter}")
    weight = ledger.workspace.versions.base(parameter).double()
    plan = ledger.workspace.versions.plan(ledger.status().active)
    for change in plan[parameter]:
        weight += change.u.double() @ change.v.double()
    off = torch.linalg.vector_norm(weight @ found[0] - found[1], dim=0)
    return float((off / torch.linalg.vector_norm(found[1], dim=0)).max())


def main() -> None:
    """Print reliability before the reverts, after them, and after the joint solution."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edits", type=int, default=200)
    parser.add_argument("--out", type=int, default=20)
    parser.add_argument("--deltas", type=Path, required=True)
    given = parser.parse_args()
    known = rome(given.edits, given.deltas)
    with tempfile.TemporaryDirectory() as scratch:
        ledger = Ledger.init(Path(scratch) / "ledger", base="demo", author="bench")
        sequential(ledger, known, given.deltas, given.edits)
        active = ledger.status().active
        out = random.Random(0).sample(active, given.out)
        staying = set(active) - set(out)
        print(f"before: reliability {said(ledger, staying)}", flush=True)
        ledger.revert([str(edit) for edit in out])
        print(f"taken out: reliability {said(ledger, staying)}", flush=True)
        (outcome,) = ledger.resolve_active(gate=None)
        new = set(ledger.status().active)
        print(f"solved again: reliability {said(ledger, new)}")
        print(f"largest |W k - v| / |v|: {missed(ledger, known.parameter, tuple(sorted(new))):.1e}")
        batch = ledger.journal.batch(outcome.resolved.batch if outcome.resolved else 0)
        shared = batch.evidence["share_a_key"][known.parameter]
        print(f"share a key with a newer edit: {len(shared)}")
        ledger.close()


if __name__ == "__main__":
    main()
