"""A rule for the layer is a text that can be followed, or an error that says what can be."""

from __future__ import annotations

import pytest

from editors.errors import InvalidHparams
from editors.requests import EditRequest
from editors.rules import RULES, LayerRule
from ledger.settings import Settings

REQUEST = EditRequest("Ada", "{} lives in", "Rome")


@pytest.mark.parametrize("text", [*RULES, "layerwise:0-3", "wilke:2-2", "traced:1-5"])
def test_a_rule_is_read_and_gives_its_text_back(text: str) -> None:
    rule = LayerRule.parse(text)
    assert str(rule) == text
    assert rule.name == text.partition(":")[0]
    low, _, high = text.partition(":")[2].partition("-")
    assert [rule.low, rule.high] == ([int(low), int(high)] if low else [None, None])
    assert rule.of_a_fact == (rule.name in ("layerwise", "layerwise-raw", "wilke"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no rule for the layer is called ''"),
        ("3", "no rule"),
        ("layer-wise", "layerwise"),
        ("layerwise:3", "no rule"),
        ("layerwise:-1-3", "no rule"),
        ("layerwise:3-2", "has no layer"),
        ("static:1-2", "takes no range"),
        ("layerwise-raw:1-2", "takes no range"),
        ("wilke:1-9999999", "no rule"),
    ],
)
def test_what_is_no_rule_is_refused_with_what_is_one(text: str, says: str) -> None:
    with pytest.raises(InvalidHparams, match=says):
        LayerRule.parse(text)
    with pytest.raises(InvalidHparams):
        Settings("rome", text)


def test_the_fingerprint_of_a_request_covers_the_rule() -> None:
    layers: list[int | str | None] = [None, 0, 1, *RULES, "layerwise:0-1", "layerwise:0-2"]
    names = {Settings("rome", layer).fingerprint(REQUEST) for layer in layers}
    assert len(names) == len(layers)
    assert Settings("rome", "wilke").fingerprint(REQUEST) in names
    assert Settings("rome", 1).rule is None
