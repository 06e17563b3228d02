"""Which layer an edit goes to: a number, the method's default, or what a rule chooses.

Promise: a rule sees the version that is edited, and what it chose is recorded with the reason; a
rule that cannot choose for a method is refused before anything is computed.

Rules: a rule chooses one layer, so it goes with methods that edit one; `layerwise` and `wilke`
choose for one fact; `wilke` tries ROME, with the method's own values where it is of that family.

    check(rule, "memit", hparams, facts=1)          # InvalidHparams: memit edits several layers ...
    choice = Placing(workspace).choose(rule, request, hparams, context)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from editors import layers
from editors.base import EditContext, Hparams
from editors.delta import JSON
from editors.errors import InvalidHparams
from editors.hparams import lookup
from editors.layers import Choice
from editors.methods import get_editor
from editors.methods.rome import RomeHparams
from editors.requests import EditRequest
from editors.rules import LayerRule
from ledger.analysis.kept import newest
from ledger.analysis.tracing import LAST_SUBJECT, mean_effects
from ledger.errors import InvalidInput, UnknownRevision
from ledger.settings import Settings
from ledger.workspace import Workspace

TRACED_KIND = "mlp"  # where ROME writes


def check(rule: LayerRule, method: str, hparams: Hparams, *, facts: int) -> None:
    """Refuse a rule that cannot choose. Raises: InvalidHparams, InvalidInput."""
    values = hparams.to_dict()
    if "layer" not in values:
        where = "several layers at once" if "layers" in values else "wherever its neurons are"
        raise InvalidHparams(
            f"{method} edits {where}, and the rule {rule} chooses one layer: use it with a method "
            "of one layer (kel methods), or --set layers=[...] where the method has layers"
        )
    if rule.of_a_fact and facts > 1:
        raise InvalidInput(
            f"the rule {rule} chooses a layer for each fact, a batch of {facts} has one layer: "
            "edit them one by one (--batch 1), or give a layer"
        )


def at_layer(hparams: Hparams, layer: int) -> Hparams:
    """The same values for another layer."""
    return type(hparams).from_dict({**hparams.to_dict(), "layer": layer})


def defaults(method: str, config: Any) -> dict[str, Any]:
    """A method's hyper-parameters for a model where nothing is given. Raises: UnknownMethod."""
    known = {f.name: f.default for f in fields(get_editor(method).hparams)}
    table, _ = lookup(method, config)
    return {name: v for name, v in known.items() if v is not MISSING} | table


class Placing:
    """Hyper-parameters and rules on one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._w = workspace

    def hparams(self, settings: Settings, *, facts: int = 1) -> tuple[Hparams, str]:
        """The method's hyper-parameters for this model, and where the defaults come from.

        With a rule for the layer, `layer` is the default still. Raises: UnknownMethod,
        InvalidHparams, LayerOutOfRange; InvalidInput for a rule that does not go with `facts`.
        """
        editor = get_editor(settings.method)
        values, source = lookup(settings.method, self._w.live.model.model.config)
        values = {**values, **settings.overrides}
        self._check_layer_given(settings, values)
        if settings.layer is not None and "layer" in settings.overrides:
            raise InvalidHparams("the layer is given twice; use either --layer or --set layer=")
        if isinstance(settings.layer, int):
            values["layer"] = settings.layer
        hparams = editor.hparams.from_dict(values)
        if settings.rule is not None:
            check(settings.rule, settings.method, hparams, facts=facts)
        rule = settings.rule or LayerRule("static")
        for layer in (getattr(hparams, "layer", None), rule.low, rule.high):
            if layer is not None:
                self._w.live.model.parameter_name(layer)
        return hparams, source

    def _check_layer_given(self, settings: Settings, values: Mapping[str, Any]) -> None:
        """No table can know the layers of a model type that was only recognised."""
        assumed = self._w.live.model.architecture.assumed
        for name in ("layer", "layers"):
            if assumed and name in values and name not in settings.overrides:
                if name == "layer" and settings.layer is not None:
                    continue
                told = "--layer N" if name == "layer" else "--set layers=N,M"
                raise InvalidHparams(f"{assumed}; no layer is known for it: give {told}")

    def needs(self, rule: LayerRule, hparams: Hparams) -> Sequence[int]:
        """Layers whose second moment the choice asks for."""
        if rule.name != "wilke" or self._rome(hparams).second_moment == "identity":
            return ()
        return self._scanned(rule)

    def choose(
        self, rule: LayerRule, request: EditRequest, hparams: Hparams, context: EditContext
    ) -> Choice:
        """The layer for one request, on the live model as it stands.

        Raises: InvalidHparams, EditFailed; InvalidInput without a stored trace.
        """
        model = self._w.live.model
        if rule.name == "static":
            return layers.static(model.n_layers)
        if rule.name == "traced":
            return self._traced(rule)
        if rule.name == "wilke":
            scanned = self._scanned(rule)
            return layers.wilke(model, request, self._rome(hparams), context, layers=scanned)
        raw = rule.name == "layerwise-raw"
        return layers.layerwise(model, request, low=rule.low, high=rule.high, raw=raw)

    def on_head(
        self,
        rule: LayerRule,
        request: EditRequest,
        hparams: Hparams,
        context: Callable[[], EditContext],
    ) -> Choice:
        """As `choose`, on the head and with a context made on demand.

        What was chosen for a fact is kept until the next question, so that a dry run, which tells
        the layer before it edits, chooses once.
        """
        if not rule.of_a_fact:
            return self.choose(rule, request, hparams, context())
        asked = (self._w.journal.history().head, rule, request, hparams)
        if self._w.chosen is None or self._w.chosen[0] != asked:
            self._w.chosen = asked, self.choose(rule, request, hparams, context())
        return self._w.chosen[1]

    def _traced(self, rule: LayerRule) -> Choice:
        """By the newest trace of this ledger, and which one that was."""
        try:
            entry, analysis = newest(self._w.journal, self._w.store, "trace")
        except UnknownRevision as error:
            raise InvalidInput(
                "the rule traced needs a causal trace, and this ledger has none: run "
                "`kel trace --from FILE` first"
            ) from error
        effects = mean_effects(analysis, TRACED_KIND)
        choice = layers.traced(effects, low=rule.low or 0, high=rule.high)
        about: dict[str, JSON] = {
            "entry": entry.seq,
            "object": str(entry.payload["object"]),
            "facts": len(analysis.texts["facts"]),
            "kind": TRACED_KIND,
            "at": LAST_SUBJECT,
        }
        return Choice(choice.layer, {**choice.evidence, **about})

    def _scanned(self, rule: LayerRule) -> Sequence[int]:
        if rule.low is None or rule.high is None:
            return layers.scanned_by_default(self._w.live.model.n_layers)
        return range(rule.low, rule.high + 1)

    def _rome(self, hparams: Hparams) -> RomeHparams:
        """The method's values if it is of ROME's family, else ROME's for this model."""
        if isinstance(hparams, RomeHparams):
            return hparams
        values, _ = lookup("rome", self._w.live.model.model.config)
        return RomeHparams.from_dict(values)
