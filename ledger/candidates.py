"""Computing an edit: hyper-parameters, the editor, the stored delta, and what it does to the model.

Promise: the delta is encoded first, and what is shown in the live model and measured is decoded
from those bytes. Nothing here writes to the ledger, except that statistics that were missing are
measured and kept.

    candidate = Candidates(workspace).compute(request, Settings("rome"), head, plan, progress=None)
    candidate.metrics["reliability"], candidate.broken
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers

from editors.base import EditContext, Hparams
from editors.delta import Delta, frobenius
from editors.errors import InvalidHparams
from editors.hparams import lookup
from editors.methods import get_editor
from editors.requests import EditRequest
from ledger.chain import digest as json_digest
from ledger.deltas import decode_delta, encode_delta
from ledger.measuring import Measured
from ledger.versions import Plan
from ledger.workspace import Workspace

HOLDS = 1.0  # an edit holds while every token of its target is the argmax
Progress = Callable[[str, float], None] | None


@dataclass(frozen=True)
class Settings:
    """How to edit: the method, a layer other than its default, other hyper-parameters."""

    method: str = "rome"
    layer: int | None = None
    overrides: Mapping[str, object] = field(default_factory=dict)

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


@dataclass(frozen=True)
class Candidate:
    """A computed edit that is in the live model but not in the history.

    `metrics` are those of `measured`, and of earlier edits, and the size of the update.
    """

    request: EditRequest
    settings: Settings
    hparams: Hparams
    delta: Delta
    data: bytes
    plan: Plan
    tensors: Mapping[str, str]
    measured: Measured
    metrics: Mapping[str, float]
    earlier: Mapping[int, float]  # reliability of the earlier active edits, now
    moved: Mapping[int, float]  # the same, of those where it changed
    broken: tuple[int, ...]
    environment: Mapping[str, Any]


class Candidates:
    """Computes edits on one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._w = workspace

    def compute(
        self, request: EditRequest, settings: Settings, head: int, plan: Plan, progress: Progress
    ) -> Candidate:
        """Compute an edit on the head and measure it; the live model carries it afterwards.

        Raises: InvalidRequest, UnknownMethod, InvalidHparams, LayerOutOfRange, EditFailed.
        """
        held = self._w.holding(head, plan)
        started = time.perf_counter()
        hparams, source = self.hparams(settings)
        delta = self._edit(request, settings, hparams, plan, progress)
        seconds = time.perf_counter() - started
        data = encode_delta(delta, method=settings.method, base_digest=self._w.record.base_digest)
        stored = decode_delta(data)
        longer = {name: (*plan.get(name, ()), d) for name, d in stored.parameters.items()}
        moved = {**plan, **longer}
        tensors = self._w.live.show(moved)
        measured = self._w.examiner.edit(request, moved)
        now = self._w.examiner.holding(self._w.journal.edits(tuple(held)), moved)
        changed = {i: value for i, value in now.items() if held[i] != value}
        sizes = self._sizes(stored) | {"seconds": seconds}
        return Candidate(
            request=request,
            settings=settings,
            hparams=hparams,
            delta=delta,
            data=data,
            plan=moved,
            tensors=tensors,
            measured=measured,
            metrics={**measured.metrics, **_mean_of(now), **sizes},
            earlier=now,
            moved=changed,
            broken=tuple(i for i in changed if changed[i] < HOLDS <= held[i]),
            environment=self._environment(source, settings, hparams),
        )

    def hparams(self, settings: Settings) -> tuple[Hparams, str]:
        """The method's hyper-parameters for this model, and where the defaults come from."""
        editor = get_editor(settings.method)
        values, source = lookup(settings.method, self._w.live.model.model.config)
        values = {**values, **settings.overrides}
        if settings.layer is not None:
            if "layer" in settings.overrides:
                raise InvalidHparams("the layer is given twice; use either --layer or --set layer=")
            values["layer"] = settings.layer
        hparams = editor.hparams.from_dict(values)
        layer = getattr(hparams, "layer", None)
        if layer is not None:
            self._w.live.model.parameter_name(layer)
        return hparams, source

    def _edit(
        self,
        request: EditRequest,
        settings: Settings,
        hparams: Hparams,
        plan: Plan,
        progress: Progress,
    ) -> Delta:
        """Run the editor on the head. Statistics and templates come from the base, before."""
        editor = get_editor(settings.method)
        moments = {n: self._w.statistics.second_moment(n, progress) for n in editor.needs(hparams)}
        templates = self._w.templates()
        self._w.live.show(plan)
        context = EditContext(
            generator=torch.Generator().manual_seed(self._w.seed),
            templates=templates,
            second_moment=lambda layer: moments[layer],
            progress=progress,
        )
        return editor(self._w.live.model, [request], hparams, context=context)

    def _sizes(self, delta: Delta) -> dict[str, float]:
        """||dW|| / ||W_base|| and the key's largest cosine to the keys of active edits."""
        ratios, cosines = [], []
        for name, change in delta.parameters.items():
            weight = self._w.versions.base(name).float()
            ratios.append(frobenius(change) / float(torch.linalg.vector_norm(weight)))
            if name in delta.keys:
                cosines += self._cosines(name, delta.keys[name])
        found = {"update_ratio": max(ratios)}
        return found | ({"max_key_cosine": max(cosines)} if cosines else {})

    def _cosines(self, parameter: str, keys: torch.Tensor) -> list[float]:
        earlier = self._w.active_keys(parameter)
        if earlier is None:
            return []
        unit = torch.nn.functional.normalize(keys.double(), dim=0)
        return [float((torch.nn.functional.normalize(earlier, dim=0).T @ unit).max())]

    def _environment(self, source: str, settings: Settings, hparams: Hparams) -> dict[str, Any]:
        model = self._w.live.model
        layers = get_editor(settings.method).needs(hparams)
        return {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "python": platform.python_version(),
            "device": str(model.device),
            "dtype": str(model.dtype).removeprefix("torch."),
            "attention": model.attention,
            "hparams_source": source,
            "statistics": {str(layer): self._w.statistics.used(layer) for layer in sorted(layers)},
        }


def _mean_of(earlier: Mapping[int, float]) -> dict[str, float]:
    """The mean reliability of earlier edits, if there are any."""
    return {"earlier_reliability": sum(earlier.values()) / len(earlier)} if earlier else {}
