"""Computing a batch: the editor, the stored delta, and what it does to the model.

Promise: the delta is encoded first, and what is shown in the live model and measured is decoded
from those bytes. Nothing here writes to the ledger, except that statistics that were missing are
measured and kept.

Rules: one call of an editor is one batch, of one fact or of several; of several, column j of every
low-rank change is request j's, and a dense change is everyone's.

    candidate = Candidates(workspace).compute([request], Settings("rome"), head, plan, None)
    candidate.metrics["reliability"], candidate.broken
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import transformers

from editors.base import EditContext, Hparams
from editors.delta import Delta, LowRank, frobenius
from editors.layers import Choice
from editors.methods import get_editor
from editors.placement import places
from editors.requests import EditRequest
from ledger.deltas import LAYER_CHOICE, decode_delta, encode_delta
from ledger.errors import EditorFailure
from ledger.evaluation.metrics import means
from ledger.facts import fact_key, superseded
from ledger.interference import disturbed
from ledger.measuring import Measured
from ledger.placing import Placing, at_layer
from ledger.records import EditRecord
from ledger.retests import HOLDS, Retested, telling
from ledger.settings import Settings
from ledger.shares import Share
from ledger.versions import Plan
from ledger.workspace import Workspace

Progress = Callable[[str, float], None] | None


@dataclass(frozen=True)
class Computed:
    """What an editor made of some requests. `hparams` and `environment` are plain JSON."""

    requests: tuple[EditRequest, ...]
    fingerprints: tuple[str, ...]
    method: str
    hparams: Mapping[str, Any]
    environment: Mapping[str, Any]
    delta: Delta
    seconds: float


@dataclass(frozen=True)
class Candidate:
    """A computed batch that is in the live model but not in the history.

    `measured` is one for each request; `shared` holds what belongs to all of them: random probes,
    earlier edits, the size of the update. `metrics` are the means over the requests, and `shared`.
    """

    computed: Computed
    data: bytes
    stored: Delta  # decoded from `data`
    plan: Plan
    tensors: Mapping[str, str]
    layers: tuple[int, ...]
    measured: tuple[Measured, ...]
    shared: Measured
    metrics: Mapping[str, float]
    earlier: Mapping[int, float]  # reliability of the earlier active edits, now
    moved: Mapping[int, float]  # the same, of those where it changed
    broken: tuple[int, ...]
    disturbs: tuple[Share, ...] = ()

    @property
    def requests(self) -> tuple[EditRequest, ...]:
        """What was edited, by component."""
        return self.computed.requests

    @property
    def layer(self) -> int | None:
        """The edited layer, if it is one."""
        return self.layers[0] if len(self.layers) == 1 else None


class Candidates:
    """Computes and measures batches on one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._w = workspace
        self._placing = Placing(workspace)

    def compute(
        self,
        requests: Sequence[EditRequest],
        settings: Settings,
        head: int,
        plan: Plan,
        progress: Progress,
        retested: Retested = None,
    ) -> Candidate:
        """Compute a batch on the head and measure it; the live model carries it afterwards.

        Raises: InvalidRequest, UnknownMethod, InvalidHparams, LayerOutOfRange, EditFailed,
        EditorFailure.
        """
        held = self._w.holding(head, plan)
        started = time.perf_counter()
        hparams, source = self._placing.hparams(settings, facts=len(requests))
        choice = None
        if settings.rule is not None:
            needed = self._placing.needs(settings.rule, hparams)
            context = partial(self.context, needed, plan, progress)
            choice = self._placing.on_head(settings.rule, requests[0], hparams, context)
            hparams = at_layer(hparams, choice.layer)
        delta = self._edit(requests, settings, hparams, plan, progress)
        seconds = time.perf_counter() - started
        layers = get_editor(settings.method).needs(hparams)
        used = {str(layer): self._w.statistics.used(layer) for layer in sorted(layers)}
        computed = Computed(
            requests=tuple(requests),
            fingerprints=tuple(settings.fingerprint(request) for request in requests),
            method=settings.method,
            hparams=hparams.to_dict(),
            environment=self.environment(source, used),
            delta=delta if choice is None else _explained(delta, choice),
            seconds=seconds,
        )
        if progress is not None:
            progress("measuring", 0.0)
        found = self.measure(computed, held, plan, retested=retested)
        return replace(found, disturbs=disturbed(self._w.versions, found.stored, tuple(held)))

    def measure(
        self,
        computed: Computed,
        held: Mapping[int, float],
        plan: Plan,
        data: bytes | None = None,
        retested: Retested = None,
    ) -> Candidate:
        """Show the stored form of a delta on top of `plan` and measure what it does.

        `held`: reliability of the plan's edits before; `data`: the bytes of the delta's object, if
        there is one already; `retested` is told of each of these edits.
        Raises: EditorFailure if the facts have no columns of their own, InvalidInput (an update
        too large for the dtype).
        """
        _check_components(computed)
        base_digest = self._w.record.base_digest
        if data is None:
            data = encode_delta(computed.delta, method=computed.method, base_digest=base_digest)
        stored = decode_delta(data)
        longer = {name: (*plan.get(name, ()), d) for name, d in stored.parameters.items()}
        moved = {**plan, **longer}
        tensors = self._w.live.show(moved)
        measured = self._w.examiner.edits(computed.requests, moved)
        earlier = self._w.journal.edits(tuple(held))
        randoms = self._w.examiner.randoms(moved, (*computed.requests, *earlier))
        standing = _standing(earlier, computed.requests)
        told = telling(retested, held, standing)
        now = self._w.examiner.holding(earlier, moved, told)
        changed = {i: value for i, value in now.items() if held[i] != value}
        sizes = self._sizes(stored, tuple(held)) | {"seconds": computed.seconds}
        shared = replace(randoms, metrics={**randoms.metrics, **_mean_of(now, standing), **sizes})
        return Candidate(
            computed=computed,
            data=data,
            stored=stored,
            plan=moved,
            tensors=tensors,
            layers=self._layers(stored),
            measured=measured,
            shared=shared,
            metrics={**means([m.metrics for m in measured]), **shared.metrics},
            earlier=now,
            moved=changed,
            broken=tuple(i for i in standing if now[i] < HOLDS <= held[i]),
        )

    def environment(self, source: str, statistics: Mapping[str, Any]) -> dict[str, Any]:
        """What a delta was computed with: libraries, device, dtype, defaults, second moments."""
        model = self._w.live.model
        return {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "python": platform.python_version(),
            "device": places(model.model) or str(model.device),
            "dtype": str(model.dtype).removeprefix("torch."),
            "attention": model.attention,
            **({"assumed": assumed} if (assumed := model.architecture.assumed) else {}),
            **({"chat": model.frame.to_json()} if model.frame else {}),
            "hparams_source": source,
            "statistics": dict(statistics),
        }

    def _edit(
        self,
        requests: Sequence[EditRequest],
        settings: Settings,
        hparams: Hparams,
        plan: Plan,
        progress: Progress,
    ) -> Delta:
        """Run the editor on the head."""
        editor = get_editor(settings.method)
        context = self.context(editor.needs(hparams), plan, progress)
        return editor(self._w.live.model, list(requests), hparams, context=context)

    def context(self, layers: Iterable[int], plan: Plan, progress: Progress) -> EditContext:
        """What an editor may use; the live model stands at the head then.

        Second moments and templates come from the base, before.
        """
        moments = self._w.statistics.second_moments(layers, progress)
        templates = self._w.templates()
        self._w.live.show(plan)
        return EditContext(
            generator=torch.Generator().manual_seed(self._w.seed),
            templates=templates,
            second_moment=lambda layer: moments[layer],
            progress=progress,
            previous_keys=self._keys,
        )

    def _keys(self, layer: int) -> torch.Tensor | None:
        """Keys [m, n] of the active edits at a layer, or None."""
        return self._w.active_keys(self._w.live.model.parameter_name(layer))

    def _layers(self, delta: Delta) -> tuple[int, ...]:
        """The layers whose matrices a delta changes."""
        return tuple(sorted(self._w.live.model.layer_index(name) for name in delta.parameters))

    def _sizes(self, delta: Delta, earlier: Sequence[int]) -> dict[str, float]:
        """||dW|| / ||W_base|| and the keys' largest cosine to the keys of earlier edits."""
        ratios, cosines = [], []
        for name, change in delta.parameters.items():
            weight = self._w.versions.base(name).float()
            ratios.append(frobenius(change) / float(torch.linalg.vector_norm(weight)))
            if name in delta.keys:
                cosines += self._cosines(name, delta.keys[name], earlier)
        found = {"update_ratio": max(ratios)}
        return found | ({"max_key_cosine": max(cosines)} if cosines else {})

    def _cosines(self, parameter: str, keys: torch.Tensor, earlier: Sequence[int]) -> list[float]:
        found = self._w.versions.constraints(earlier, parameter)
        if found is None:
            return []
        unit = torch.nn.functional.normalize(keys.double(), dim=0)
        return [float((torch.nn.functional.normalize(found[0], dim=0).T @ unit).max())]


def _check_components(computed: Computed) -> None:
    """Refuse a batch whose columns do not belong to its facts one by one."""
    count = len(computed.requests)
    if count == 1:
        return
    for name, change in computed.delta.parameters.items():
        keys = computed.delta.keys.get(name)
        widths = {change.u.shape[1]} if isinstance(change, LowRank) else set()
        widths |= {keys.shape[1]} if keys is not None else set()
        if widths - {count}:
            raise EditorFailure(
                f"{computed.method} returned {max(widths - {count})} columns for {name} and was "
                f"given {count} facts, so no fact can be told from the others; edit them one by one"
            )


def _explained(delta: Delta, choice: Choice) -> Delta:
    """A delta that says why its layer was chosen."""
    return replace(delta, evidence={**delta.evidence, LAYER_CHOICE: dict(choice.evidence)})


def _standing(earlier: Sequence[EditRecord], requests: Sequence[EditRequest]) -> tuple[int, ...]:
    """The earlier edits but those whose fact is stated anew: these are meant to stop holding."""
    anew = {(request.subject, request.prompt) for request in requests}
    older = superseded(earlier)
    return tuple(e.id for e in earlier if e.id not in older and fact_key(e) not in anew)


def _mean_of(earlier: Mapping[int, float], standing: Sequence[int]) -> dict[str, float]:
    """The mean reliability of the earlier edits that still state a fact, if there are any."""
    found = [earlier[edit] for edit in standing]
    return {"earlier_reliability": sum(found) / len(found)} if found else {}
