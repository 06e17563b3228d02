"""What an analysis finds is kept whole, shown again without the model, and summed up rightly."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.documents import plain
from editors.analysis.activations import rise_at
from editors.errors import InvalidHparams, InvalidRequest
from editors.prompts import encode
from ledger import Ledger
from ledger.analysis.kept import Analysis, newest
from ledger.analysis.tables import table, write_csv
from ledger.analysis.tracing import ROLES, mean_effects, roles
from ledger.errors import IntegrityFailure, InvalidInput, UnknownRevision
from ledger.options import Asked
from ledger.views import AnalysisView
from store.tensors import encode as encode_object
from tests.sim.tiny_ledger import FACTS, tiny_ledger

ASKED = [Asked(fact.subject, fact.prompt) for fact in FACTS]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with tiny_ledger(tmp_path_factory.mktemp("analysis")) as made:
        made.edit(FACTS[2], method="ft", layer=1, overrides={"lr": 0.05, "steps": 3,
                  "max_update_ratio": 1e4}, gate=None)  # fmt: skip
        yield made


def analyses(ledger: Ledger, **options: Any) -> dict[str, AnalysisView]:
    return {
        "trace": ledger.trace(ASKED, draws=2, **options),
        "lens": ledger.lens(FACTS[0].text, at=["base", "HEAD"], words=["Warsaw"], **options),
        "activations": ledger.activations([f.text for f in FACTS], threshold=0.01, **options),
        "layers": ledger.layers(FACTS, **options),
    }


# --- keeping ------------------------------------------------------------------------------------


def test_an_analysis_is_one_entry_one_object_and_its_figures(ledger: Ledger) -> None:
    before = ledger.status()
    found = analyses(ledger, note="why")
    after = ledger.status()
    assert (after.version, after.weights_digest) == (before.version, before.weights_digest)
    assert after.entries == before.entries + 4
    for kind, view in found.items():
        assert view.kind == kind
        (entry,) = ledger.journal.entries(after=(view.entry or 0) - 1, limit=1)
        assert (entry.op, entry.note, entry.version) == ("analysis", "why", 1)
        assert dict(entry.payload) == {
            "kind": kind, "versions": list(view.versions), "object": view.object,
        }  # fmt: skip
        rows = ledger.journal.measurements(entry_seq=entry.seq)
        assert {row.metric: row.value for row in rows} == view.metrics
        assert {row.suite for row in rows} <= {kind}
        assert all(row.protocol.startswith(f"kel.{kind}/1") for row in rows)
        assert ledger.analysis(kind, entry.seq) == view
        assert ledger.analysis(kind) == view
    assert ledger.verify() == []
    assert ledger.gc(grace_seconds=0).objects == ()


def test_a_dry_run_finds_the_same_and_keeps_nothing(ledger: Ledger) -> None:
    entries = ledger.status().entries
    found = analyses(ledger, dry_run=True)
    assert ledger.status().entries == entries
    kept = analyses(ledger)
    for kind, view in found.items():
        assert (view.entry, view.object) == (None, None)
        assert (view.content, view.metrics) == (kept[kind].content, kept[kind].metrics)
        json.dumps(plain(view), allow_nan=False)


def test_the_same_analysis_twice_is_one_object(ledger: Ledger) -> None:
    one, two = (ledger.trace(ASKED[:1], draws=2) for _ in range(2))
    assert one.object == two.object
    assert two.entry == (one.entry or 0) + 1
    assert ledger.trace(ASKED[:1], draws=2, seed=1).object != one.object


def test_bytes_are_read_back_as_they_were_written() -> None:
    made = Analysis("lens", (0, 2), {"x": 1}, {"t": ["北京"]}, {"a": np.ones((1, 2))}, {"m": 0.5})
    read = Analysis.decoded(made.encoded("0" * 64))
    for name in ("kind", "versions", "settings", "texts", "metrics"):
        assert getattr(read, name) == getattr(made, name)
    assert np.array_equal(read.arrays["a"], made.arrays["a"])
    other = encode_object({"a": np.ones(1)}, {"schema": "kel.delta/1"})
    with pytest.raises(IntegrityFailure, match=r"not kel\.analysis/1"):
        Analysis.decoded(other)


def test_what_is_not_there_is_said(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(UnknownRevision, match="no lens in entry 1: make one with `kel lens`"):
        newest(ledger.journal, ledger.store, "lens", 1)
    with tiny_ledger(tmp_path) as empty, pytest.raises(UnknownRevision, match="no trace"):
        empty.analysis("trace")


# --- trace --------------------------------------------------------------------------------------


def test_means_over_facts_are_by_role_with_their_errors(ledger: Ledger) -> None:
    view = ledger.trace(ASKED, draws=2)
    singles = [ledger.trace([asked], draws=2, sigmas=3.0, dry_run=True) for asked in ASKED]
    assert view.content["counts"][view.content["rows"].index("last subject token")] == 3
    _, kept = newest(ledger.journal, ledger.store, "trace")
    tokens = [len(fact["tokens"]) for fact in view.content["facts"]]
    assert kept.arrays["mlp"].shape == (sum(tokens), 3)
    assert tokens == [len(single.content["rows"]) for single in singles]
    starts = [0, tokens[0], tokens[0] + tokens[1]]
    lasts = [s + fact["subject"][1] for s, fact in zip(starts, view.content["facts"], strict=True)]
    rows = kept.arrays["mlp"][lasts]
    place = view.content["rows"].index("last subject token")
    assert view.content["effects"]["mlp"][place] == pytest.approx(rows.mean(axis=0).tolist())
    assert mean_effects(kept, "mlp") == pytest.approx(rows.mean(axis=0).tolist())
    half = 1.96 * rows.std(axis=0, ddof=1) / math.sqrt(3)
    assert view.content["errors"]["mlp"][place] == pytest.approx(half.tolist())
    gaps = [fact["clean"] - fact["corrupted"] for fact in view.content["facts"]]
    assert view.metrics["total_effect"] == pytest.approx(sum(gaps) / 3)


def test_roles_cover_every_token_from_the_subject_on_once() -> None:
    for length in range(1, 9):
        for first in range(length):
            for last in range(first, length):
                found = roles({"subject": [first, last], "tokens": ["x"] * length})
                assert list(found) == list(ROLES)
                assert [p for places in found.values() for p in places] == [*range(first, length)]
                assert list(found["last subject token"]) == [last]
                assert len(found["first subject token"]) == int(last > first)


def test_facts_that_the_model_does_not_say_are_left_out_of_means(ledger: Ledger) -> None:
    said = ASKED[0]  # without an answer it is the model's own
    wrong = Asked(FACTS[1].subject, FACTS[1].prompt, "Ada Lovelace")
    view = ledger.trace([said, wrong], draws=2, dry_run=True)
    assert [fact["prompt"] for fact in view.content["facts"]] == [said.text]
    assert view.content["left_out"] == [wrong.text]
    alone = ledger.trace([wrong], draws=2, dry_run=True)
    assert alone.content["facts"][0]["known"] is False
    with pytest.raises(InvalidInput, match="none of the 2 facts"):
        ledger.trace([wrong, wrong], draws=2)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sigmas": 0.0}, "standard deviations"),
        ({"sigmas": math.nan}, "standard deviations"),
        ({"draws": 0}, "draws"),
        ({"window": 0}, "window"),
    ],
)
def test_settings_without_sense_are_refused(
    ledger: Ledger, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidInput, match=says):
        ledger.trace(ASKED, **options)
    with pytest.raises(InvalidInput, match="no fact"):
        ledger.trace([])
    with pytest.raises(InvalidRequest, match="not in the prompt"):
        Asked("Ada", "Bob lives in")


def test_a_trace_is_of_its_version(ledger: Ledger) -> None:
    base = ledger.trace(ASKED[2:], draws=2, at="base", dry_run=True)
    head = ledger.trace(ASKED[2:], draws=2, dry_run=True)
    assert (base.versions, head.versions) == ((0,), (1,))
    assert base.metrics["clean"] != head.metrics["clean"]
    ledger.workspace.at_head()


# --- lens, activations, layers ------------------------------------------------------------------


def test_the_lens_follows_words_through_versions(ledger: Ledger) -> None:
    text = FACTS[2].text
    view = ledger.lens(text, words=["Ulm", "Manchester"], at=["base", "HEAD"], dry_run=True)
    before, after = view.content["readings"]
    assert (before["version"], after["version"]) == (0, 1)
    ulm = [reading["words"][0] for reading in (before, after)]
    assert ulm[1]["chance"][-1] > ulm[0]["chance"][-1]
    assert ulm[0]["chance"][0] == ulm[1]["chance"][0]  # layer 0 is below the edit
    for reading in (before, after):
        for word in reading["words"]:
            pairs = zip(reading["chance"], word["chance"], strict=True)
            assert word["gap"] == pytest.approx([a - b for a, b in pairs])
            assert [rank == 1 for rank in word["rank"]] == [gap < 1e-9 for gap in word["gap"]]
    own = ledger.lens(text, dry_run=True).content["readings"][0]
    assert own["words"][0]["word"] == own["tokens"][-1]
    assert own["words"][0]["rank"][-1] == 1
    with pytest.raises(InvalidInput, match="no version"):
        ledger.lens(text, at=[])


def test_activations_tell_the_rise_at_the_chosen_layer(ledger: Ledger) -> None:
    prompts = [fact.text for fact in FACTS]
    view = ledger.activations(prompts, threshold=0.01, layer="static", jump=1, dry_run=True)
    rises = []
    for told in view.content["prompts"]:
        assert told["layer"] == 2
        rise = rise_at(told["counts"], 2)
        assert rise is not None
        assert (told["fdv"], told["rdsp"], told["rmp"]) == rise
        rises.append(rise)
    assert view.metrics["left_out"] == 0
    assert view.metrics["fdv"] == pytest.approx(sum(rise.fdv for rise in rises) / 3)
    assert view.metrics["share fdv > 1"] == sum(rise.fdv > 1 for rise in rises) / 3
    none = ledger.activations(prompts, threshold=1e9, layer="static", dry_run=True)
    assert none.metrics == {"prompts": 3.0, "left_out": 3.0}
    assert none.settings["jump"] == max(1, round(500 / 14336 * none.settings["units"]))
    for rule in ("wilke", "traced", "late"):
        with pytest.raises(InvalidHparams):
            ledger.activations(prompts, layer=rule)


def test_layers_of_rules_are_those_that_edits_get(ledger: Ledger) -> None:
    rules = ("static", "layerwise", "layerwise:2-2")
    view = ledger.layers(FACTS, rules=rules, dry_run=True)
    for rule, told in zip(rules, view.content["rules"], strict=True):
        assert told["rule"] == rule
        assert sum(told["histogram"]) == len(told["layers"]) == 3
        assert told["mean"] == pytest.approx(sum(told["layers"]) / 3)
        assert view.metrics[f"{rule} sd"] == pytest.approx(float(np.std(told["layers"])))
        for fact, layer in zip(FACTS, told["layers"], strict=True):
            options: Any = {"lr": 2e-3, "steps": 2, "max_update_ratio": 1e4}
            done = ledger.edit(
                fact, method="ft", layer=rule, overrides=options, gate=None, dry_run=True
            )
            assert done.layer in (layer, None)  # None: the model says it already
    static, layerwise, kept = view.content["rules"]
    assert static["wording"] is None
    paraphrases = sum(len(fact.paraphrases) for fact in FACTS)
    assert layerwise["wording"]["asked"] == paraphrases > 0
    assert kept["wording"] == {"asked": paraphrases, "same": 1.0, "mean_move": 0.0}
    with pytest.raises(InvalidInput, match="at least one rule"):
        ledger.layers(FACTS, rules=())


# --- tables -------------------------------------------------------------------------------------


def test_tables_hold_every_number_that_is_shown(ledger: Ledger, tmp_path: Path) -> None:
    found = analyses(ledger, dry_run=True)
    depth, tokens = 3, len(encode(ledger.workspace.live.model, FACTS[0].text).ids)
    assert tokens > 3
    rows = {kind: table(view)[1] for kind, view in found.items()}
    assert len(rows["trace"]) == 3 * len(found["trace"].content["rows"]) * depth
    assert len(rows["lens"]) == 2 * depth
    assert len(rows["activations"]) == 3 * depth
    assert len(rows["layers"]) == 3 * len(found["layers"].content["rules"])
    for kind, view in found.items():
        path = tmp_path / f"{kind}.csv"
        write_csv(view, path)
        with path.open(encoding="utf-8", newline="") as file:
            read = list(csv.reader(file))
        assert read[0] == list(table(view)[0])
        assert [[str(cell) for cell in row] for row in rows[kind]] == read[1:]
