"""A rule chooses the layer of an edit, and the edit says which and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from editors.analysis.lens import shown, top_tokens
from editors.errors import EditFailed, InvalidHparams, LayerOutOfRange
from editors.layers import by_lens, static, wilke
from editors.methods import METHODS
from editors.requests import EditRequest
from ledger import Ledger
from ledger.candidates import Candidates
from ledger.chain import digest
from ledger.deltas import decode_delta
from ledger.errors import InvalidInput
from ledger.options import Asked
from ledger.placing import Placing
from ledger.settings import Settings
from store.tensors import decode
from tests.sim.tiny_ledger import FACTS, tiny_ledger

ROME: dict[str, Any] = {
    "second_moment": "identity",
    "v_num_grad_steps": 3,
    "max_update_ratio": 1e4,
}
FT: dict[str, Any] = {"lr": 2e-3, "steps": 2, "max_update_ratio": 1e4}
SINGLE = ("rome", "rome-unsup", "ft", "ft-l", "ft-m")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with tiny_ledger(tmp_path) as made:
        yield made


def edited(ledger: Ledger, layer: int | str, method: str = "rome", request: Any = FACTS[0]) -> Any:
    values = ROME if method.startswith("rome") else FT
    return ledger.edit(request, method=method, layer=layer, overrides=values, gate=None)


def why(ledger: Ledger, edit: int) -> Any:
    return ledger.show(str(edit)).details["evidence"].get("layer_choice")


@pytest.mark.parametrize("method", SINGLE)
@pytest.mark.parametrize("rule", ["static", "layerwise", "layerwise-raw", "layerwise:0-0"])
def test_a_rule_goes_with_every_method_of_one_layer(ledger: Ledger, method: str, rule: str) -> None:
    live = ledger.workspace.live.model
    tokens = top_tokens(live, FACTS[0].text)
    expected = {
        "static": static(3).layer,
        "layerwise": by_lens(live, tokens).layer,
        "layerwise-raw": by_lens(live, tokens, raw=True).layer,
        "layerwise:0-0": 0,
    }[rule]
    if rule == "static" and method.startswith("rome"):
        with pytest.raises(EditFailed, match="choose another layer"):  # the last: nothing reads it
            edited(ledger, rule, method)
        return
    done = edited(ledger, rule, method)
    assert (done.outcome, done.layer) == ("applied", expected)
    shown = ledger.show("1")
    assert shown.hparams["layer"] == expected
    assert shown.layers == (expected,)
    found = why(ledger, 1)
    assert found["rule"] == rule.partition("-raw")[0].partition(":")[0]
    assert found.get("raw", False) == (rule == "layerwise-raw")


def test_the_choice_is_in_the_row_and_in_the_object_and_is_replayed(ledger: Ledger) -> None:
    edited(ledger, "layerwise:0-1")
    (batch,) = ledger.journal.batches([1]).values()
    data = ledger.store.get(str(batch.oid))
    chosen = batch.evidence["layer_choice"]
    assert chosen["range"] == [0, 1]
    assert len(chosen["tokens"]) == 3
    assert (decode(data).meta or {})["layer_choice"] == chosen
    assert decode_delta(data).evidence == {"layer_choice": chosen}
    assert ledger.verify(weights=True) == []
    assert ledger.replay().matches


def test_an_edit_by_number_says_nothing_of_a_rule(ledger: Ledger) -> None:
    edited(ledger, 1)
    assert why(ledger, 1) is None
    (batch,) = ledger.journal.batches([1]).values()
    assert "layer_choice" not in (decode(ledger.store.get(str(batch.oid))).meta or {})


def test_the_same_layer_by_rule_or_by_number_is_the_same_delta(ledger: Ledger) -> None:
    layer = edited(ledger, "layerwise").layer
    ledger.revert(["1"])
    edited(ledger, layer)
    one, two = (
        decode(ledger.store.get(str(b.oid))).tensors
        for b in ledger.journal.batches([1, 2]).values()
    )
    assert {n: a.tobytes() for n, a in one.items()} == {n: a.tobytes() for n, a in two.items()}


@pytest.mark.parametrize("method", ["rome", "ft"])
def test_wilke_takes_the_layer_that_rome_changes_least(ledger: Ledger, method: str) -> None:
    workspace = ledger.workspace
    _, plan = workspace.at_head()
    values = {**ROME, "layer": 0}
    hparams, _ = Placing(workspace).hparams(Settings("rome", None, values))
    context = Candidates(workspace).context((), plan, None)
    expected = wilke(workspace.live.model, FACTS[0], hparams, context, layers=[0, 1])  # type: ignore[arg-type]
    if method == "rome":
        done = edited(ledger, "wilke:0-1")
        assert why(ledger, 1)["update_ratio"] == expected.evidence["update_ratio"]
        assert done.layer == expected.layer
    else:  # tries ROME with its values for the model, which want second moments
        done = edited(ledger, "wilke:0-1", "ft")
        assert sorted(why(ledger, 1)["update_ratio"]) == ["0", "1"]
        assert {row.parameter for row in ledger.journal.stats(workspace.record.base_digest)} == {
            workspace.live.model.parameter_name(layer) for layer in (0, 1)
        }


def test_traced_takes_the_newest_trace_and_names_it(ledger: Ledger) -> None:
    with pytest.raises(InvalidInput, match="run `kel trace --from FILE` first"):
        edited(ledger, "traced")
    assert ledger.status().entries == 1
    ledger.trace([Asked.of(replace(fact, target_true=None)) for fact in FACTS], draws=2, seed=7)
    view = ledger.trace([Asked(f.subject, f.prompt) for f in FACTS], draws=2)
    row = view.content["effects"]["mlp"][view.content["rows"].index("last subject token")]
    done = edited(ledger, "traced", "ft")
    assert done.layer == row.index(max(row))
    found = why(ledger, 1)
    assert (found["entry"], found["object"], found["facts"]) == (view.entry, view.object, 3)
    assert found["effects"] == pytest.approx(row)
    ledger.revert(["1"])
    assert edited(ledger, "traced:2-2", "ft").layer == 2


def test_a_file_has_a_choice_for_every_fact_and_goes_on_where_it_stopped(ledger: Ledger) -> None:
    options: Any = {"layer": "layerwise", "method": "ft", "overrides": FT, "gate": None}
    done = list(ledger.edit_many(FACTS, **options))
    assert [why(ledger, e.edit or 0)["rule"] for e in done] == ["layerwise"] * 3
    tokens = [why(ledger, e.edit or 0)["tokens"] for e in done]
    assert tokens[0] != tokens[1]
    again = [e.outcome for e in ledger.edit_many(FACTS, **options)]
    assert again == ["skipped"] * 3
    other = next(iter(ledger.edit_many(FACTS[:1], **{**options, "layer": "layerwise:2-2"})))
    assert other.outcome != "skipped"


@pytest.mark.parametrize("method", [m.name for m in METHODS if m.name not in (*SINGLE, "rome-sup")])
def test_methods_without_one_layer_refuse_a_rule_with_the_reason(
    ledger: Ledger, method: str
) -> None:
    reason = "wherever its neurons are" if method.startswith("kn") else "several layers at once"
    with pytest.raises(InvalidHparams, match=f"{method} edits {reason}"):
        ledger.edit(FACTS[0], method=method, layer="static", gate=None)
    assert ledger.status().entries == 1


@pytest.mark.parametrize("rule", ["layerwise", "layerwise-raw", "wilke"])
def test_a_batch_refuses_a_rule_that_chooses_for_a_fact(ledger: Ledger, rule: str) -> None:
    with pytest.raises(InvalidInput, match="one by one"):
        ledger.edit_batch(FACTS, method="ft", layer=rule, overrides=FT, gate=None)
    done = ledger.edit_batch(FACTS, method="ft", layer="static", overrides=FT, gate=None)
    assert (done.outcome, done.layers) == ("applied", (static(3).layer,))


@pytest.mark.parametrize(
    ("layer", "error", "says"),
    [
        ("layerwize", InvalidHparams, "no rule"),
        ("layerwise:1-3", LayerOutOfRange, "layers 0 to 2"),
        ("wilke:3-4", LayerOutOfRange, "layer 3"),
        ("static:0-1", InvalidHparams, "takes no range"),
    ],
)
def test_a_rule_that_cannot_be_followed_is_refused_before_anything_is_computed(
    ledger: Ledger, layer: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        edited(ledger, layer)
    assert ledger.status().entries == 1


def test_a_rule_and_a_layer_are_one_too_many(ledger: Ledger) -> None:
    with pytest.raises(InvalidHparams, match="given twice"):
        ledger.edit(FACTS[0], layer="static", overrides={"layer": 1}, gate=None)


def test_a_rule_sees_the_version_that_is_edited(ledger: Ledger) -> None:
    """The lens of the second edit is read with the first one in the model."""
    request = EditRequest(FACTS[0].subject, FACTS[0].prompt, "Warsaw")
    edited(ledger, 0, "ft")
    ledger.workspace.at_head()
    live = ledger.workspace.live.model
    tokens = [shown(live, t) for t in top_tokens(live, request.text)]
    edited(ledger, "layerwise", "ft", request)
    assert why(ledger, 2)["tokens"] == tokens


def test_the_fingerprint_on_record_covers_the_rule(ledger: Ledger) -> None:
    edited(ledger, "static", "ft")
    (entry,) = ledger.journal.entries(after=1)
    assert entry.payload["fingerprint"] == digest(
        {"request": FACTS[0].to_json(), "method": "ft", "layer": "static", "overrides": FT}
    )


def test_a_dry_run_tells_and_edits_after_one_choice(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose, asked = Placing.choose, []

    def counted(self: Placing, rule: Any, request: EditRequest, *rest: Any) -> Any:
        asked.append(request)
        return choose(self, rule, request, *rest)

    monkeypatch.setattr(Placing, "choose", counted)
    options: Any = {"layer": "layerwise", "overrides": ROME}
    ledger.foresee(FACTS[0], **options)
    ledger.edit(FACTS[0], dry_run=True, gate=None, **options)
    assert asked == [FACTS[0]]
    ledger.edit(FACTS[0], gate=None, **options)
    ledger.edit(FACTS[1], gate=None, **options)  # another fact, on another head
    assert asked == [FACTS[0], FACTS[1]]
    ledger.foresee(FACTS[0], **options)
    assert asked == [FACTS[0], FACTS[1], FACTS[0]]
