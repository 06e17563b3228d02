"""How edits are made: method, layer, hyper-parameters.

Promise: settings that exist name a layer or a rule for it; equal calls have equal fingerprints.

    settings = Settings("rome", "layerwise", {"v_lr": 0.1})
    settings.rule.name                      # 'layerwise'
    settings.fingerprint(request)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from editors.requests import EditRequest
from editors.rules import LayerRule
from ledger.chain import digest as json_digest


@dataclass(frozen=True)
class Settings:
    """How to edit: the method, a layer other than its default, other hyper-parameters.

    `layer` is a number or a rule. Raises: InvalidHparams for a text that is no rule.
    """

    method: str = "rome"
    layer: int | str | None = None
    overrides: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.layer, str):
            LayerRule.parse(self.layer)

    @property
    def rule(self) -> LayerRule | None:
        """The rule for the layer, if it is not a number."""
        return LayerRule.parse(self.layer) if isinstance(self.layer, str) else None

    def fingerprint(self, request: EditRequest) -> str:
        """Names this request with these settings; equal for an identical earlier call."""
        return json_digest(
            {
                "request": request.to_json(),
                "method": self.method,
                "layer": self.layer,
                "overrides": dict(self.overrides),
            }
        )
