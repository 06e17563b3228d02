"""What of a batch's settings carries over, and what is a conflict: pure decisions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from editors.methods.rome import RomeHparams
from editors.requests import EditRequest, Probe
from ledger.placing import defaults
from ledger.rebasing.choosing import settings_for
from ledger.rebasing.conflicts import disputes
from ledger.rebasing.place import default_place
from ledger.rebasing.views import RebaseOptions, RebaseRow
from ledger.records import BatchRecord

LLAMA = SimpleNamespace(model_type="llama", num_hidden_layers=8, hidden_size=160)
GPT2 = SimpleNamespace(model_type="gpt2", num_hidden_layers=6, hidden_size=128)
AS_IT_IS = RebaseOptions()


def batch(method: str = "rome", evidence: Any = None, **chosen: Any) -> BatchRecord:
    hparams = {**defaults(method, LLAMA), **chosen}
    return BatchRecord(method=method, layers=(3,), hparams=hparams, evidence=evidence or {})


def ruled(**choice: Any) -> BatchRecord:
    return batch(evidence={"layer_choice": choice})


def test_the_same_model_keeps_every_value():
    settings, notes = settings_for(batch(v_lr=0.2, layer=5), LLAMA, LLAMA, AS_IT_IS)
    assert (settings.method, settings.layer, notes) == ("rome", 5, ())
    own = RomeHparams.from_dict({**settings.overrides, "layer": 5})
    assert own.to_dict() == batch(v_lr=0.2, layer=5).hparams


def test_another_model_keeps_what_was_chosen_and_no_layer():
    chosen = batch(v_lr=0.2, key="original", layer=5)
    settings, (note,) = settings_for(chosen, LLAMA, GPT2, AS_IT_IS)
    assert settings.layer is None
    assert settings.overrides == {"v_lr": 0.2, "key": "original"}
    assert note.startswith("rome: layer 3 of llama of 8 layers does not carry over to gpt2 of 6")


def test_several_layers_do_not_carry_over_either():
    settings, (note,) = settings_for(batch("memit", layers=(2,)), LLAMA, GPT2, AS_IT_IS)
    assert (dict(settings.overrides), settings.layer) == ({}, None)
    assert note.startswith("memit: layer 3")
    settings, _ = settings_for(batch("memit", layers=(2,)), LLAMA, LLAMA, AS_IT_IS)
    assert settings.overrides["layers"] == [2] or settings.overrides["layers"] == (2,)


def test_without_the_old_base_nothing_is_taken_for_chosen_and_that_is_said():
    settings, notes = settings_for(batch(v_lr=0.2), None, GPT2, AS_IT_IS)
    assert (dict(settings.overrides), settings.layer) == ({}, None)
    assert "not on this machine" in notes[-1]


@pytest.mark.parametrize(
    ("choice", "same", "another"),
    [
        ({"rule": "static", "depth": 8}, "static", "static"),
        ({"rule": "layerwise", "raw": False, "range": [1, 6]}, "layerwise:1-6", "layerwise"),
        ({"rule": "layerwise", "raw": True, "range": [0, 7]}, "layerwise-raw", "layerwise-raw"),
        ({"rule": "wilke", "update_ratio": {}}, "wilke", "wilke"),
        ({"rule": "traced", "range": [0, 7]}, 3, None),
    ],
)
def test_a_rule_carries_over_without_its_range(choice, same, another):
    assert settings_for(ruled(**choice), LLAMA, LLAMA, AS_IT_IS)[0].layer == same
    settings, (note,) = settings_for(ruled(**choice), LLAMA, GPT2, AS_IT_IS)
    assert settings.layer == another
    assert (f"the rule {another} chooses" in note) == (another is not None)


def test_what_is_given_goes_before_what_is_carried():
    options = RebaseOptions(layer=1, overrides={"v_lr": 0.3})
    settings, notes = settings_for(batch(v_lr=0.2, key="original"), LLAMA, GPT2, options)
    assert (settings.layer, notes) == (1, ())
    assert settings.overrides == {"v_lr": 0.3, "key": "original"}
    options = RebaseOptions(overrides={"layer": 2})
    settings, notes = settings_for(batch(), LLAMA, LLAMA, options)
    assert (settings.layer, settings.overrides["layer"], notes) == (None, 2, ())
    settings, notes = settings_for(batch(v_lr=0.2), LLAMA, GPT2, RebaseOptions(method="memit"))
    assert (settings.method, dict(settings.overrides), notes) == ("memit", {}, ())


def row(source: int, request: EditRequest, said: str = "") -> RebaseRow:
    return RebaseRow(source, "recomputed", request.to_json(), said=said)


def test_a_premise_is_disputed_where_the_base_says_a_third_thing():
    fact = EditRequest("Ada", "{} was born in", "Paris", "London")
    assert disputes([row(1, fact, " London, of course"), row(2, fact, " Paris.")]) == ()
    (found,) = disputes([row(3, fact, " Oslo.")])
    assert (found.kind, found.sources) == ("premise", (3,))
    assert "'Oslo.'" in found.text
    assert disputes([row(4, EditRequest("Ada", "{} was born in", "Paris"), " Oslo.")]) == ()


def test_two_answers_to_one_question_contradict_each_other():
    one = EditRequest("Ada", "{} was born in", "Paris", paraphrases=("The birthplace of Ada is",))
    two = EditRequest("Ada", "The birthplace of {} is", "Rome")
    far = EditRequest("Ada", "{} lived in", "Oslo", neighbourhood=(Probe("Ada was born in"),))
    (found,) = disputes([row(1, one), row(2, far), row(7, two)])
    assert (found.kind, found.sources) == ("contradiction", (1, 7))
    same = EditRequest("Ada", "The birthplace of {} is", "paris")
    assert disputes([row(1, one), row(7, same)]) == ()


def test_the_new_folder_is_named_from_the_old_one_and_the_base(tmp_path):
    old = tmp_path / "patched"
    assert default_place(old, "demo", None) == tmp_path / "patched-on-demo"
    assert default_place(old, "/models/new one/", None) == tmp_path / "patched-on-new-one"
    assert default_place(old, "owner/name", "refs/pr/1") == tmp_path / "patched-on-name-refs-pr-1"
