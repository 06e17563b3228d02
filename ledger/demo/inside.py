"""Chapter 3 of the thesis on the embedded models: what is inside them, before and after an edit.

Promise: each result is an entry of a ledger, made once; a page that is made again, or was cut
short, takes it from there.

    with Inside(Path("runs/thesis/inside")) as inside:
        inside.trace().content["rows"]
        inside.edits()                      # name, layer and numbers of one fact, edited twice
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

from editors.requests import EditRequest
from ledger.ageing import HistoryView
from ledger.inspection import entries_backwards
from ledger.ledger import Ledger
from ledger.options import Asked
from ledger.runs.config import DataSpec
from ledger.runs.facts import facts
from ledger.views import AnalysisView

MODELS: Final = (("Llama", "demo"), ("GPT-2", "demo-gpt2"))
LANGUAGES: Final = (("English", "demo:en"), ("Chinese", "demo:zh"))
FACTS: Final = 100  # whose layers and units are counted
TRACED: Final = 20
KEPT: Final = 12  # edits of the history that is drawn
PLACES: Final = (("published layer", None), ("static", "static"))
_RULES: Final = ("layerwise-raw", "layerwise", "static")
_AUTHOR: Final = "thesis"


def requests(source: str, count: int) -> list[EditRequest]:
    """Facts of the embedded world, each to be changed."""
    return [named.request for named in facts(DataSpec("world", source, count), 0)[0]]


class Inside:
    """The ledgers of one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: dict[str, Ledger] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for ledger in self._open.values():
            ledger.close()

    def _ledger(self, name: str, base: str) -> Ledger:
        if name not in self._open:
            folder = self._root / name
            made = (folder / "ledger.db").exists()
            if not made:
                folder.parent.mkdir(parents=True, exist_ok=True)
            self._open[name] = (
                Ledger.open(folder, author=_AUTHOR)
                if made
                else Ledger.init(folder, base=base, author=_AUTHOR)
            )
        return self._open[name]

    def _once(self, ledger: Ledger, note: str, make: Callable[[], AnalysisView]) -> AnalysisView:
        """The analysis with this note, made if there is none."""
        for entry in entries_backwards(ledger.journal):
            if entry.op == "analysis" and entry.note == note:
                return ledger.analysis(str(entry.payload["kind"]), entry.seq)
        return make()

    def trace(self) -> AnalysisView:
        """Causal tracing of some English facts on the Llama."""
        ledger = self._ledger("Llama", "demo")
        asked = [Asked.of(request) for request in requests("demo:en", TRACED)]
        return self._once(ledger, "trace", lambda: ledger.trace(asked, at="base", note="trace"))

    def layers(self, model: str, base: str, language: str, source: str) -> AnalysisView:
        """The layers that rules choose."""
        ledger, note = self._ledger(model, base), f"layers {language}"
        chosen = requests(source, FACTS)
        return self._once(
            ledger, note, lambda: ledger.layers(chosen, rules=_RULES, at="base", note=note)
        )

    def activations(self, model: str, base: str, language: str, source: str) -> AnalysisView:
        """Active units at the layer that the logit lens chooses."""
        ledger, note = self._ledger(model, base), f"activations {language}"
        prompts = [request.text for request in requests(source, FACTS)]
        return self._once(ledger, note, lambda: ledger.activations(prompts, at="base", note=note))

    def activations_of_one(self) -> AnalysisView:
        """Active units of the fact that `edits` edits."""
        ledger, note = self._ledger("Llama", "demo"), "activations of one"
        prompt = self.fact.text
        return self._once(ledger, note, lambda: ledger.activations([prompt], at="base", note=note))

    @property
    def fact(self) -> EditRequest:
        """The one fact that is looked at: the first whose two answers do not begin alike."""
        found = requests("demo:en", FACTS)
        return next(r for r in found if r.target_new[:1] != (r.target_true or "")[:1])

    def edits(self) -> list[tuple[str, dict[str, Any]]]:
        """The fact, edited at each of PLACES and taken out again: name, layer and numbers."""
        ledger = self._ledger("Llama", "demo")
        for step in range(ledger.resolve("HEAD"), 2 * len(PLACES)):
            number, undone = divmod(step, 2)
            if undone:
                ledger.revert([str(number + 1)])
            else:
                ledger.edit(self.fact, layer=PLACES[number][1], gate=None)
        views = [ledger.show(str(number)) for number in range(1, len(PLACES) + 1)]
        return [
            (name, {"layer": view.layers[0], **view.metrics})
            for (name, _), view in zip(PLACES, views, strict=True)
        ]

    def lens(self) -> AnalysisView:
        """The logit lens of the fact: on the base, and with each edit."""
        self.edits()
        ledger, note, fact = self._ledger("Llama", "demo"), "lens", self.fact
        words = [word for word in (fact.target_true, fact.target_new) if word]
        at = ["base", *(f"v{2 * number + 1}" for number in range(len(PLACES)))]
        return self._once(
            ledger, note, lambda: ledger.lens(fact.text, words=words, at=at, note=note)
        )

    def history(self) -> HistoryView:
        """Edits that stay, three of them taken out, one put back, two more."""
        ledger = self._ledger("history", "demo")
        chosen = requests("demo", KEPT + 2)
        steps: list[Callable[[], object]] = [self._editing(ledger, r) for r in chosen[:KEPT]]
        steps += [lambda n=n: ledger.revert([str(n)], retest=False) for n in (3, 7, 11)]  # type: ignore[misc]
        steps.append(lambda: ledger.reapply(["7"]))
        steps += [self._editing(ledger, request) for request in chosen[KEPT:]]
        for step in steps[ledger.resolve("HEAD") :]:
            step()
        return ledger.history(measure=True)

    def _editing(self, ledger: Ledger, request: EditRequest) -> Callable[[], object]:
        return lambda: ledger.edit(request, gate=None)
