"""The worked example of docs/formats.md: a base of one tensor, three edits, one put back.

Every byte is given here, so every hash on that page must come out again.

    example = build(tmp_path)
    example.tables["entry"][1]["hash"]
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from editors.delta import Delta, LowRank
from ledger.base import Base, Located, identify
from ledger.chain import weights_digest
from ledger.db import Database
from ledger.deltas import encode_delta
from ledger.journal import Journal
from ledger.records import (
    BaseTensorRecord,
    BatchRecord,
    EditRecord,
    MeasurementRecord,
    ModelRecord,
    ObjectRecord,
    Rows,
    new_edit,
)
from ledger.versions import Folded, Versions
from store.objects import ObjectStore
from tests.reference.formats_reference import Row, narrowed, read_tables

PARAMETER = "model.layers.0.mlp.down_proj.weight"
WEIGHTS = ((1.0, 0.0, 2.0), (1.0, 2.0**60, -0.5))
FACTORS = (
    ((1.0, 1.0), (2.0**-8, 2.0**60, 0.0)),
    ((1.0, 0.0), (2.0**-40, -(2.0**60), 0.25)),
    ((1.0, -1.0), (0.0, 1.0, 0.5)),
)
SUBJECTS = ("Ada Lovelace", "Marie Curie", "李白")
CONFIG = b'{"model_type":"llama"}'
MOMENT = "2026-01-02T03:04:05.000006Z"


@dataclass(frozen=True)
class Example:
    """The ledger's folder, its base, its rows, and the weights of version 3."""

    folder: Path
    base_folder: Path
    base: Base
    tables: dict[str, list[Row]]
    oids: tuple[str, ...]
    folded: Folded


def build(folder: Path) -> Example:
    """Versions 1 to 3 apply the edits; 4 takes edit 1 out and 5 puts it back."""
    base_folder = _base(folder / "base")
    base = identify(Located("example", None, base_folder))
    database = Database.create(folder / "ledger.db")
    store = ObjectStore(folder)
    journal = Journal(database, store, clock=lambda: MOMENT)
    _init(journal, base)
    versions = Versions(journal, store, base_folder)
    oids = tuple(_apply(journal, store, versions, base.digest, place) for place in range(3))
    _change(journal, versions, base.digest, "revert", (2, 3))
    _change(journal, versions, base.digest, "reapply", (1, 2, 3))
    (folded,) = versions.tensors(versions.plan((1, 2, 3)))
    database.close()
    return Example(folder, base_folder, base, read_tables(folder / "ledger.db"), oids, folded)


def _base(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_bytes(CONFIG)
    header = b'{"%s":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]}}' % PARAMETER.encode()
    raw = narrowed(np.array(WEIGHTS), "BF16")
    data = struct.pack("<Q", len(header)) + header + raw
    (folder / "model.safetensors").write_bytes(data)
    return folder


def _init(journal: Journal, base: Base) -> None:
    model = ModelRecord(
        base_id="example",
        path="base",
        dtype=base.dtype,
        device="cpu",
        model_type=base.model_type,
        base_digest=base.digest,
        config={"compute_dtype": "float32", "files": base.files, "probes": [], "seed": 0},
    )
    empty = weights_digest(base.digest, {})
    journal.append("init", rows=Rows(model=model), weights_digest=empty, tensors={}, author="ada")


def _apply(journal: Journal, store: ObjectStore, versions: Versions, base: str, place: int) -> str:
    delta = _delta(place)
    data = encode_delta(delta, method="rome", base_digest=base)
    oid = store.put(data)
    tensor = versions.base(PARAMETER)
    head = journal.history().active()
    plan = versions.plan(head)
    longer = {PARAMETER: (*plan.get(PARAMETER, ()), delta.parameters[PARAMETER])}
    tensors = {item.parameter: item.sha256 for item in versions.tensors(longer)}
    untouched = BaseTensorRecord(
        parameter=PARAMETER,
        checkpoint_key=PARAMETER,
        dtype="BF16",
        shape=tuple(tensor.shape),
        sha256=versions.checkpoint.digest(PARAMETER),
    )
    rows = Rows(
        base_tensors=(untouched,),
        objects=(ObjectRecord(oid=oid, kind="delta", size=len(data)),),
        batch=BatchRecord(oid=oid, method="rome", layers=(0,), hparams={"v_lr": 0.5}, author="ada"),
        edits=(_fact(place),),
        measurements=(_reliability(),),
    )
    journal.append(
        "apply",
        expected_head=place,
        rows=rows,
        weights_digest=weights_digest(base, tensors),
        tensors=tensors,
        payload={"after": " Paris"},
        author="ada",
    )
    return oid


def _delta(place: int) -> Delta:
    u, v = FACTORS[place]
    change = LowRank(torch.tensor([u]).T.contiguous(), torch.tensor([v]))
    key, value = torch.tensor([[1.0], [0.0], [0.0]]), torch.tensor([[1.5], [0.25]])
    return Delta({PARAMETER: change}, {PARAMETER: key}, {PARAMETER: value}, ("{}", "Well. {}"))


def _fact(place: int) -> EditRecord:
    return EditRecord(
        subject=SUBJECTS[place],
        prompt="{} was born in",
        target_new="Paris",
        target_true="London",
        probes={"neighbourhood": [], "paraphrases": [], "portability": [], "same_subject": []},
    )


def _reliability() -> MeasurementRecord:
    return MeasurementRecord(
        edit_id=new_edit(0), suite="edit", metric="reliability", value=1.0, protocol="kel.eval/1"
    )


def _change(
    journal: Journal, versions: Versions, base: str, op: str, active: tuple[int, ...]
) -> None:
    tensors = {item.parameter: item.sha256 for item in versions.tensors(versions.plan(active))}
    journal.append(
        op,
        expected_head=journal.history().head,
        edits=(1,),
        weights_digest=weights_digest(base, tensors),
        tensors=tensors,
        author="ada",
    )
