"""Real ledgers whose edits are given deltas: nothing is optimised, nothing is measured.

ledger = start(tmp_path / "ledger", base_folder)
(edit,) = apply(ledger, {"h.0.w": LowRank(u, v)})
ledger.revert([str(edit)])
wanted(ledger, "h.0.w", ledger.journal.history().active())     # the bits, by the fold by hand
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from editors.delta import Delta, LowRank, ParameterDelta
from ledger import Ledger
from ledger.chain import weights_digest
from ledger.deltas import decode_delta, encode_delta
from ledger.records import BaseTensorRecord, BatchRecord, EditRecord, ObjectRecord, Rows
from ledger.weights import NAMES
from tests.property import fold_by_hand as hand


def plain_base(folder: Path, tensors: Mapping[str, torch.Tensor], model_type: str) -> Path:
    """A folder that is a base as far as folding goes; there is no model in it."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(f'{{"model_type": "{model_type}"}}')
    (folder / "tokenizer.json").write_text("{}")
    save_file(dict(tensors), folder / "model.safetensors")
    return folder


def start(folder: Path, base: Path, **options: Any) -> Ledger:
    return Ledger.init(folder, base=str(base), author="ann", **options)


def apply(
    ledger: Ledger,
    changes: Mapping[str, ParameterDelta] | Delta,
    facts: int = 1,
    *,
    stated: Sequence[EditRecord] = (),
    environment: Mapping[str, Any] | None = None,
    tensors: Mapping[str, str] | None = None,
) -> tuple[int, ...]:
    """One batch of `facts` edits (or those `stated`) on the head; returns their numbers.

    `tensors` are the digests of the new version where they are known already.
    """
    workspace, journal = ledger.workspace, ledger.journal
    base_digest = workspace.record.base_digest
    delta = changes if isinstance(changes, Delta) else Delta(changes)
    data = encode_delta(delta, method="given", base_digest=base_digest)
    oid = ledger.store.put(data)
    stored = decode_delta(ledger.store.get(oid)).parameters
    history = journal.history()
    if tensors is None:
        plan = dict(workspace.versions.plan(history.active()))
        for name, change in stored.items():
            plan[name] = (*plan.get(name, ()), change)
        tensors = {t.parameter: t.sha256 for t in workspace.versions.tensors(plan)}
    entry = journal.append(
        "apply",
        expected_head=history.head,
        rows=Rows(
            base_tensors=tuple(_untouched(ledger, name) for name in stored),
            objects=(ObjectRecord(oid=oid, kind="delta", size=len(data)),),
            batch=BatchRecord(
                oid=oid,
                method="given",
                layers=(0,),
                hparams={},
                seed=0,
                author="ann",
                environment=dict(environment or {}),
            ),
            edits=tuple(stated) or tuple(_fact(place) for place in range(facts)),
        ),
        weights_digest=weights_digest(base_digest, tensors),
        tensors=tensors,
        author="ann",
    )
    return entry.edits


def _untouched(ledger: Ledger, name: str) -> BaseTensorRecord:
    versions = ledger.workspace.versions
    tensor = versions.base(name)
    return BaseTensorRecord(
        parameter=name,
        checkpoint_key=versions.key(name),
        dtype=NAMES[tensor.dtype],
        shape=tuple(tensor.shape),
        sha256=versions.checkpoint.digest(versions.key(name)),
    )


def _fact(place: int) -> EditRecord:
    return EditRecord(
        component=place, subject=f"Rome {place}", prompt="{} lies in", target_new="France"
    )


def wanted(ledger: Ledger, parameter: str, active: tuple[int, ...]) -> hand.Bits:
    """The bits of a parameter, folded by hand from the base's file and the stored objects."""
    versions = ledger.workspace.versions
    entry = versions.checkpoint.entry(versions.key(parameter))
    base = load_file(entry.file)[entry.name]
    updates = []
    for edit in ledger.journal.edits(active):
        batch = ledger.journal.batch(edit.batch_id)
        change = decode_delta(ledger.store.get(str(batch.oid))).parameters.get(parameter)
        alone = len(ledger.journal.edits_of_batch(batch.id)) == 1
        if change is not None:
            updates.append(change if alone else column(change, edit.component))
    return hand.fold(hand.bits_of(base), entry.dtype, updates, transposed=versions.transposed)


def column(change: ParameterDelta, place: int) -> LowRank:
    """What one fact of a batch adds."""
    assert isinstance(change, LowRank)
    return LowRank(
        change.u[:, place : place + 1].contiguous(), change.v[place : place + 1].contiguous()
    )


def random_update(seed: int, shape: tuple[int, int], rank: int = 1, scale: float = 1.0) -> LowRank:
    rng = np.random.default_rng(seed)
    u, v = rng.standard_normal((shape[0], rank)) * scale, rng.standard_normal((rank, shape[1]))
    return LowRank(torch.from_numpy(u.astype(np.float32)), torch.from_numpy(v.astype(np.float32)))
