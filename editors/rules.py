"""A rule for the layer to edit, as text and as a value; what the rules do is in `editors.layers`.

Promise: a rule that exists can be followed; its text gives it back.
Rules: "NAME", or "NAME:LOW-HIGH" for the rules that can be kept to a range of layers. Imports no
torch.

    rule = LayerRule.parse("layerwise:2-6")
    rule.name, rule.low, rule.high          # 'layerwise', 2, 6
    str(rule)                               # 'layerwise:2-6'
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from editors.errors import InvalidHparams

RANGED: Final = ("layerwise", "wilke", "traced")
RULES: Final = ("static", "layerwise", "layerwise-raw", "wilke", "traced")
OF_A_FACT: Final = ("layerwise", "layerwise-raw", "wilke")
_TEXT: Final = re.compile(r"(?P<name>[a-z-]+)(?::(?P<low>[0-9]{1,6})-(?P<high>[0-9]{1,6}))?")


@dataclass(frozen=True)
class LayerRule:
    """A rule by name; `low` and `high` are the first and the last layer it may choose."""

    name: str
    low: int | None = None
    high: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "NAME" or "NAME:LOW-HIGH". Raises: InvalidHparams."""
        found = _TEXT.fullmatch(text)
        if found is None or found["name"] not in RULES:
            raise InvalidHparams(
                f"no rule for the layer is called {text!r}: give a layer's number, one of "
                f"{', '.join(RULES)}, or a rule with the layers it may choose (layerwise:2-6)"
            )
        if found["low"] is None:
            return cls(found["name"])
        rule = cls(found["name"], int(found["low"]), int(found["high"]))
        if rule.name not in RANGED:
            raise InvalidHparams(f"{rule.name} takes no range of layers; {', '.join(RANGED)} do")
        if int(found["low"]) > int(found["high"]):
            raise InvalidHparams(f"{text} has no layer: write the lower one first")
        return rule

    @property
    def of_a_fact(self) -> bool:
        """Whether it chooses for one fact, and not for a model."""
        return self.name in OF_A_FACT

    def __str__(self) -> str:
        return self.name if self.low is None else f"{self.name}:{self.low}-{self.high}"
