"""docs/formats.md is enough to check a real ledger without this program.

The computations under test are those of tests/reference/formats_reference.py, which imports none
of the project's packages; the project only makes the ledgers that are checked.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ledger import Gate, Ledger
from tests.contract.tiny import OTHER, REQUEST, TEXTS, TINY
from tests.reference import formats_reference as page

PAGE = (Path(__file__).parents[2] / "docs" / "formats.md").read_text("utf-8")
FEW = {"v_num_grad_steps": 2, "second_moment": "identity", "max_update_ratio": 1e4}


@dataclass(frozen=True)
class Real:
    """A ledger made by the editors, its base, and two exported versions."""

    folder: Path
    base: Path
    conv1d: bool
    tables: dict[str, list[page.Row]]
    exports: dict[int, Path]

    def object(self, oid: str) -> bytes:
        return (self.folder / "objects" / oid[:2] / oid[2:]).read_bytes()

    def fold(self, version: int) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
        """parameter -> dtype, shape, bytes of a version, from the stored objects alone."""
        stored, _ = page.read_file((self.base / "model.safetensors").read_bytes())
        batches = {row["id"]: row for row in self.tables["batch"]}
        edits = {row["id"]: row for row in self.tables["edit"]}
        keys = {row["parameter"]: row["checkpoint_key"] for row in self.tables["base_tensor"]}
        added: dict[str, list[Any]] = {}
        for edit in page.active(self.tables["entry"], version):
            tensors, _ = page.read_object(self.object(batches[edits[edit]["batch_id"]]["oid"]))
            for parameter in sorted({name.rpartition(".")[0] for name in tensors}):
                added.setdefault(parameter, []).extend(page.updates(tensors, parameter, None))
        found = {}
        for parameter, updates in added.items():
            dtype, shape, raw = stored[keys[parameter]]
            bits = page.fold(raw, dtype, shape, updates, conv1d=self.conv1d)
            found[parameter] = (dtype, shape, bits)
        return found


@pytest.fixture(
    scope="module",
    params=[("llama", torch.bfloat16), ("gpt2", torch.float32), ("gpt2-square", torch.float16)],
    ids=["llama-bf16", "gpt2-f32", "gpt2-square-f16"],
)
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Real:
    kind, dtype = request.param
    folder = tmp_path_factory.mktemp("real")
    base, home = folder / "base", folder / "ledger"
    TINY[kind](base, dtype=dtype)
    probes, corpus = folder / "probes.txt", folder / "corpus.txt"
    probes.write_text("The capital of\nMarie Curie\n", "utf-8")
    corpus.write_text("\n".join(TEXTS * 4), "utf-8")
    with Ledger.init(home, base=str(base), probes=probes, author="ann") as ledger:
        _history(ledger, corpus)
        exports = {version: folder / f"v{version}" for version in (4, 5)}
        for version, target in exports.items():
            ledger.export(target, at=str(version))
        assert ledger.verify(weights=True) == []
    tables = page.read_tables(home / "ledger.db")
    return Real(home, base, kind.startswith("gpt2"), tables, exports)


def _history(ledger: Ledger, corpus: Path) -> None:
    ledger.edit(REQUEST, layer=0, overrides=FEW, gate=None)
    ledger.edit(OTHER, layer=1, overrides=FEW, gate=None, note="改")
    ledger.edit(OTHER, method="ft-l", layer=0, overrides={"steps": 2}, gate=None)
    ledger.revert(["1"])
    ledger.reapply(["1"])
    refused = ledger.edit(REQUEST, layer=1, overrides=FEW, gate=Gate(min_reliability=1.0))
    assert refused.outcome == "rejected"
    ledger.tag("draft", "3")
    ledger.stats([0], corpus=corpus, tokens=600)
    ledger.test()


def test_every_object_is_canonical_and_named_by_its_sha256(real):
    kinds = {"delta": "kel.delta/1", "moment": "kel.moment/1", "factor": "kel.moment/1"}
    paths = [path for path in (real.folder / "objects").rglob("*") if path.is_file()]
    assert {p.parent.name + p.name for p in paths} == {r["oid"] for r in real.tables["object"]}
    for row in real.tables["object"]:
        data = real.object(row["oid"])
        assert (page.sha(data), len(data)) == (row["oid"], row["size"])
        _, meta = page.read_object(data)
        assert meta["schema"] == kinds[row["kind"]]
        assert meta["base"] == page.base_digest(real.base)


def test_the_base_and_its_tensors_have_their_digests(real):
    (model,) = real.tables["model"]
    assert page.base_digest(real.base) == model["base_digest"]
    stored, _ = page.read_file((real.base / "model.safetensors").read_bytes())
    assert len(real.tables["base_tensor"]) == 2
    for row in real.tables["base_tensor"]:
        assert page.tensor_digest(*stored[row["checkpoint_key"]]) == row["sha256"]


@pytest.mark.promise("P4")
def test_every_version_folds_to_its_recorded_digests(real):
    base = page.base_digest(real.base)
    seen = {entry["version"] for entry in real.tables["entry"]}
    assert seen == {0, 1, 2, 3, 4, 5}
    for entry in real.tables["entry"]:
        folded = real.fold(entry["version"])
        tensors = {name: page.tensor_digest(*found) for name, found in folded.items()}
        assert json.loads(entry["tensors"]) == tensors
        assert page.weights_digest(base, tensors) == entry["weights_digest"]


def test_the_rows_have_their_hashes_and_the_entries_their_chain(real):
    batches = {row["id"]: row for row in real.tables["batch"]}
    for edit in real.tables["edit"]:
        assert page.edit_hash(edit, batches[edit["batch_id"]]) == edit["hash"]
    entries = sorted(real.tables["entry"], key=lambda row: row["seq"])
    previous = "0" * 64
    for number, entry in enumerate(entries, start=1):
        assert (entry["seq"], entry["prev_hash"]) == (number, previous)
        assert page.rows_digest(real.tables, number) == entry["rows_digest"]
        assert page.entry_hash(entry) == entry["hash"]
        previous = entry["hash"]
    ops = [entry["op"] for entry in entries]
    assert ops == ["init", *["apply"] * 3, "revert", "reapply", "reject", "tag", "stats", "test"]


def test_an_export_differs_from_the_base_in_the_folded_bits_only(real):
    stored, _ = page.read_file((real.base / "model.safetensors").read_bytes())
    keys = {row["parameter"]: row["checkpoint_key"] for row in real.tables["base_tensor"]}
    for version, folder in real.exports.items():
        exported, _ = page.read_file((folder / "model.safetensors").read_bytes())
        wanted = {keys[name]: found for name, found in real.fold(version).items()}
        assert wanted
        assert exported == {**stored, **wanted}


def test_the_manifest_names_the_version_and_is_anchored_in_the_history(real):
    for version, folder in real.exports.items():
        text = (folder / "kel.json").read_text("utf-8")
        found = json.loads(text)
        assert text == json.dumps(found, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
        (entry,) = [r for r in real.tables["entry"] if r["seq"] == found["entry"]["seq"]]
        assert (entry["version"], entry["hash"]) == (version, found["entry"]["hash"])
        assert (found["schema"], found["version"]) == ("kel.release/1", version)
        assert found["weights_digest"] == entry["weights_digest"]
        assert found["tensors"] == json.loads(entry["tensors"])
        hashes = {row["id"]: row["hash"] for row in real.tables["edit"]}
        carried = [(fact["edit"], fact["hash"]) for fact in found["facts"]]
        active = page.active(real.tables["entry"], version)
        assert carried == [(edit, hashes[edit]) for edit in active]


def test_the_factor_of_a_second_moment_multiplies_to_the_moment_and_its_jitter(real):
    (row,) = real.tables["stats"]
    pair = [page.read_object(real.object(row[f"{name}_oid"])) for name in ("moment", "factor")]
    (moment, meta), (factor, other) = pair
    assert meta == other
    assert [meta[name] for name in ("count", "jitter")] == [row["count"], row["jitter"]]
    C, L = moment["moment"], factor["factor"]
    assert C.dtype == L.dtype == np.float64
    assert np.array_equal(L, np.tril(L))
    shifted = C + row["jitter"] * np.diag(C).mean() * np.eye(len(C))
    np.testing.assert_allclose(L @ L.T, shifted, rtol=1e-9, atol=1e-12 * np.abs(C).max())
    corpus = "\n".join(line.strip() for line in TEXTS * 4)
    assert page.sha(corpus.encode()) == row["corpus_sha256"] == meta["corpus_sha256"]


def test_the_fingerprint_of_a_request_is_as_the_page_says(real):
    first = next(entry for entry in real.tables["entry"] if entry["op"] == "apply")
    probes = {"neighbourhood": [], "portability": []}
    probes["same_subject"] = [
        {"prompt": p.prompt, "answer": p.answer} for p in REQUEST.same_subject
    ]
    request: dict[str, Any] = {"subject": "Ada Lovelace", "prompt": "{} was born in"}
    request |= {"target_new": "Paris, France", "target_true": "London"}
    request |= {"paraphrases": list(REQUEST.paraphrases)}
    document = {"request": request | probes, "method": "rome", "layer": 0}
    expected = page.digest(document | {"overrides": FEW})
    assert json.loads(first["payload"])["fingerprint"] == expected


def test_a_measurement_is_of_the_documented_protocol_and_metrics(real):
    names = set(re.findall(r"^\| `([a-z_]+)` \|", _section("12"), re.MULTILINE))
    for row in real.tables["measurement"]:
        assert f"    {row['protocol']}\n" in _section("12")
        assert row["metric"].removesuffix("_free") in names
        assert row["suite"] in ("edit", "earlier", "test")


def _section(number: str) -> str:
    """The section of the page with this number."""
    parts = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    return next(part for part in parts if part.startswith(f"{number}."))
