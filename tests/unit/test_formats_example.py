"""The worked example of docs/formats.md: every byte and hash on the page comes out again.

The computations under test are those of tests/reference/formats_reference.py, which imports none
of the project's packages; the project only makes the ledger that is compared.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from editors.delta import Delta, Dense, LowRank
from ledger.db import Database
from ledger.deltas import encode_delta
from ledger.journal import Journal
from ledger.records import BatchRecord, EditRecord, ObjectRecord, Rows
from ledger.versions import Versions
from ledger.weights import raw_bytes
from store.canonical import canonical_json
from store.objects import ObjectStore
from tests.reference import formats_reference as page
from tests.sim import example_ledger as example

PAGE = (Path(__file__).parents[2] / "docs" / "formats.md").read_text("utf-8")
EXAMPLE = PAGE[PAGE.index("## 16.") :]
HASHED = re.findall(r"```json\n(.+)\n```\n\nsha256 `([0-9a-f]{64})`", PAGE)
SHAPE = (2, 3)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(PLAIN)
def test_canonical_json_is_written_as_the_page_says(value):
    assert canonical_json(value) == page.canonical(value).encode("utf-8")


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> example.Example:
    return example.build(tmp_path_factory.mktemp("example"))


def test_every_text_of_the_page_has_the_hash_that_stands_below_it():
    assert len(HASHED) == 5
    for text, expected in HASHED:
        assert page.sha(text.encode("utf-8")) == expected
        assert page.canonical(json.loads(text)) == text


def test_the_object_on_the_page_has_the_bytes_that_are_stored(worked):
    length, header, data = re.findall(r"```text\n(.+)\n```", EXAMPLE)
    start = bytes.fromhex(length)
    shown = start + header.encode().ljust(int.from_bytes(start, "little")) + bytes.fromhex(data)
    (oid,) = re.findall(r"oid `([0-9a-f]{64})`", EXAMPLE)
    assert page.sha(shown) == oid == worked.oids[0]
    assert (worked.folder / "objects" / oid[:2] / oid[2:]).read_bytes() == shown
    tensors, meta = page.read_object(shown)
    assert tensors[f"{example.PARAMETER}.v"].tolist() == [[2.0**-8, 2.0**60, 0.0]]
    assert meta["templates"] == ["{}", "Well. {}"]


def test_the_hashes_on_the_page_are_those_of_the_ledger(worked):
    base, weights, edit, rows, entry = (expected for _, expected in HASHED)
    entries, edits = worked.tables["entry"], worked.tables["edit"]
    assert (base, edit) == (worked.base.digest, edits[0]["hash"])
    assert (rows, entry) == (entries[1]["rows_digest"], entries[1]["hash"])
    assert weights == entries[3]["weights_digest"]


def test_the_versions_on_the_page_are_those_of_the_ledger(worked):
    shown = re.findall(r"^\| (\d) \| (\S+) \| `(\S+)` \|$", EXAMPLE, re.MULTILINE)
    for entry, (version, tensor, weights) in zip(worked.tables["entry"], shown, strict=True):
        tensors = json.loads(entry["tensors"])
        assert tensor.strip("`") == tensors.get(example.PARAMETER, "none")
        assert (int(version), weights) == (entry["version"], entry["weights_digest"])


def test_the_weights_on_the_page_are_the_fold_in_numpy(worked):
    raw, folded = (bytes.fromhex(t) for t in re.findall(r"`([0-9a-f]{24})`", EXAMPLE))
    updates = [np.outer(u, v) for u, v in example.FACTORS]
    assert page.narrowed(np.array(example.WEIGHTS), "BF16") == raw
    assert page.fold(raw, "BF16", SHAPE, updates, conv1d=False) == folded
    assert bytes(raw_bytes(worked.folded.weights)) == folded
    assert page.tensor_digest("BF16", SHAPE, raw) in EXAMPLE
    another_order = [updates[1], updates[2], updates[0]]
    assert page.fold(raw, "BF16", SHAPE, another_order, conv1d=False) != folded


@pytest.mark.parametrize("dense", [False, True], ids=["low-rank", "dense"])
def test_the_edits_of_one_batch_share_its_delta_as_the_page_says(tmp_path, dense):
    made = example.build(tmp_path)
    u, v = np.float32([[3, 2**20], [1, 5]]), np.float32([[1, 2**-20, 7], [2**-9, 1, 3]])
    database, store = Database.open(tmp_path / "ledger.db"), ObjectStore(tmp_path)
    journal = Journal(database, store)
    change = Dense(torch.tensor(u @ v)) if dense else LowRank(torch.tensor(u), torch.tensor(v))
    delta = Delta({example.PARAMETER: change})
    data = encode_delta(delta, method="x", base_digest=made.base.digest)
    rows = Rows(
        objects=(ObjectRecord(oid=store.put(data), kind="delta", size=len(data)),),
        batch=BatchRecord(oid=store.put(data), method="x"),
        edits=(EditRecord(component=0), EditRecord(component=1)),
    )
    zero = "0" * 64
    journal.append("apply", expected_head=5, rows=rows, weights_digest=zero, tensors={})
    versions = Versions(journal, store, made.base_folder)
    tensors, _ = page.read_object(data)
    files, _ = page.read_file((made.base_folder / "model.safetensors").read_bytes())
    raw = files[example.PARAMETER][2]
    for active, columns in (((4, 5), (0, 1)), ((5,), (1,)))[: 1 if dense else 2]:
        (folded,) = versions.tensors(versions.plan(active))
        found = [page.updates(tensors, example.PARAMETER, column)[0] for column in columns]
        added = found[:1] if dense else found
        expected = page.fold(raw, "BF16", SHAPE, added, conv1d=False)
        assert bytes(raw_bytes(folded.weights)) == expected != raw
    database.close()
