"""The verbs that look into the model: trace, lens, activations, layers.

Promise: each looks at versions as they are recorded, changes no weights, and ends in one committed
entry that keeps what was found (or, with `dry_run`, in none).

Rules: base class of `ledger.Ledger`; what computes is imported inside the verb that needs it.

    ledger.trace([Asked("Ada", "{} was born in")]).content["effects"]["mlp"]
    ledger.analysis("trace").content["rows"]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ledger.changing import ChangingLedger
from ledger.options import Asked, Progress, check_words
from ledger.views import AnalysisView

if TYPE_CHECKING:
    from editors.requests import EditRequest
    from ledger.analysis.kept import Analysis


class AnalysingLedger(ChangingLedger):
    """An open ledger whose model can be looked into."""

    def trace(
        self,
        facts: Sequence[Asked],
        *,
        at: str = "HEAD",
        sigmas: float = 3.0,
        draws: int = 10,
        window: int | None = None,
        seed: int = 0,
        note: str = "",
        dry_run: bool = False,
        progress: Progress = None,
    ) -> AnalysisView:
        """Causal tracing: which states, restored, bring the answers of a corrupted subject back.

        `sigmas`: noise in standard deviations of the subjects' embeddings; `draws` of it; `window`:
        layers of MLP and attention restored together (default: a share of the depth).
        Raises: InvalidInput, InvalidRequest, UnknownRevision.
        """
        from ledger.analysis.tracing import TraceSettings, trace

        settings = TraceSettings(sigmas, draws, window, seed)
        version = self.resolve(at)
        found = trace(self.workspace, facts, version, settings, progress)
        return self._kept(found, note, dry_run=dry_run)

    def lens(
        self,
        prompt: str,
        *,
        words: Sequence[str] = (),
        at: Sequence[str] = ("HEAD",),
        note: str = "",
        dry_run: bool = False,
    ) -> AnalysisView:
        """The logit lens of a prompt: each layer's top token, and watched words, by version.

        Raises: InvalidInput, InvalidRequest, UnknownRevision.
        """
        from ledger.analysis.lens import lens

        versions = [self.resolve(spec) for spec in at]
        return self._kept(lens(self.workspace, prompt, words, versions), note, dry_run=dry_run)

    def activations(
        self,
        prompts: Sequence[str],
        *,
        at: str = "HEAD",
        threshold: float = 0.085,
        layer: str = "layerwise-raw",
        jump: int | None = None,
        note: str = "",
        dry_run: bool = False,
    ) -> AnalysisView:
        """Active units per layer, and how they rise at the layer that the rule `layer` chooses.

        Raises: InvalidInput, InvalidHparams, UnknownRevision.
        """
        from ledger.analysis.activations import ActivationSettings, activations

        settings = ActivationSettings(threshold, layer, jump)
        found = activations(self.workspace, prompts, self.resolve(at), settings)
        return self._kept(found, note, dry_run=dry_run)

    def layers(
        self,
        requests: Sequence[EditRequest],
        *,
        rules: Sequence[str] = ("static", "layerwise", "layerwise-raw"),
        at: str = "HEAD",
        note: str = "",
        dry_run: bool = False,
        progress: Progress = None,
    ) -> AnalysisView:
        """Which layers the rules choose over a data set; nothing is edited.

        Raises: InvalidInput, InvalidHparams, EditFailed, UnknownRevision.
        """
        from ledger.analysis.layers import choices

        found = choices(self.workspace, requests, rules, self.resolve(at), progress)
        return self._kept(found, note, dry_run=dry_run)

    def analysis(self, kind: str, entry: int | None = None) -> AnalysisView:
        """The newest analysis of a kind, or the one of an entry; nothing is computed.

        Raises: UnknownRevision if there is none.
        """
        from ledger.analysis import shown
        from ledger.analysis.kept import newest

        recorded, found = newest(self.journal, self.store, kind, entry)
        return found.view(shown.content(found), recorded)

    def _kept(self, found: Analysis, note: str, *, dry_run: bool) -> AnalysisView:
        from ledger.analysis import shown
        from ledger.analysis.kept import keep

        check_words(self.author, note)
        entry = None if dry_run else keep(self.workspace, found, self.author, note)
        return found.view(shown.content(found), entry)
