"""Knowledge neurons: which entries of the MLPs' activations carry an answer (Dai et al. 2022).

Promise: scores are integrated gradients of the answer's probability along the true activation (the
input of the MLP output projection, after the gate), not along what comes before it.
Rules: the activation at the position that predicts a token is scaled by k/m, k = 1..m (the paper's
right Riemann sum); an answer of several tokens is scored token by token after its own beginning and
averaged; a neuron is coarse for a prompt when its score is above a share of that prompt's largest;
refinement keeps the neurons that are coarse for more than a share of all prompts.

    scores = attribute(model, "Ada Lovelace was born in", "London", points=20)      # [L, m]
    neurons = locate(model, [prompt, *paraphrases], "London", settings)
    neurons.by_layer                                        # {3: (17, 201), 4: (5,)}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editors.continuing import CONTINUED, DIFFERENT, Capture, Cut, agree
from editors.errors import EditFailed
from editors.keys import flat
from editors.model import EditableModel
from editors.prompts import target_row

_ROWS = 128

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Neurons:
    """Chosen neurons per layer, ascending, how many were coarse for each prompt, and how the passes
    were run."""

    by_layer: Mapping[int, tuple[int, ...]]
    coarse: tuple[int, ...]
    forward: str = CONTINUED

    @property
    def count(self) -> int:
        """Number of neurons."""
        return sum(len(chosen) for chosen in self.by_layer.values())


def locate(
    model: EditableModel,
    prompts: Sequence[str],
    answer: str,
    *,
    points: int,
    threshold: float,
    share: float,
    progress: Progress | None = None,
) -> Neurons:
    """The neurons that are coarse (above `threshold` x the largest score) for more than `share` of
    the prompts.

    Raises: EditFailed when there are none; InvalidRequest when the answer has no token.
    Source: Dai et al. 2022, sections 3.2 and 3.3.
    """
    counts: Counter[tuple[int, int]] = Counter()
    coarse: list[int] = []
    passes: set[str] = set()
    for done, prompt in enumerate(prompts):
        scores, forward = integrate(model, prompt, answer, points=points)
        passes.add(forward)
        above = (scores > threshold * scores.max()).nonzero().tolist() if scores.max() > 0 else []
        counts.update((layer, neuron) for layer, neuron in above)
        coarse.append(len(above))
        if progress is not None:
            progress("neurons", (done + 1) / len(prompts))
    chosen = sorted(place for place, count in counts.items() if count > share * len(prompts))
    if not chosen:
        raise EditFailed(
            f"no neuron carries {answer!r} in more than {share:.0%} of {len(prompts)} prompts: "
            "lower the share or the threshold, or check that the model knows the answer"
        )
    layers = sorted({layer for layer, _ in chosen})
    by_layer = {n: tuple(i for layer, i in chosen if layer == n) for n in layers}
    return Neurons(by_layer, tuple(coarse), "; ".join(sorted(passes)))


def attribute(model: EditableModel, prompt: str, answer: str, *, points: int) -> Tensor:
    """Integrated gradients of every neuron of every layer. Shape: [L, m] float32.

    Raises: EditFailed when a probability is not finite.
    """
    return integrate(model, prompt, answer, points=points)[0]


def integrate(model: EditableModel, prompt: str, answer: str, *, points: int) -> tuple[Tensor, str]:
    """As `attribute`, and how its passes were run (editors/continuing.py)."""
    row = target_row(model, prompt, answer)
    names = [model.projection(layer) for layer in range(model.n_layers)]
    places = torch.tensor(list(row.positions), device=model.device)
    capture = Capture.of(model, [row.ids], starts=range(model.n_layers), at=places, inputs=names)
    integral = _Integral(
        capture=capture,
        activations=[flat(capture.trace.input(name))[places].float() for name in names],
        places=tuple(row.positions),
        labels=torch.tensor(row.labels, device=model.device),
        points=points,
    )
    if capture.forward == CONTINUED:
        scores = integral.scores(whole=False)
        if scores is not None:
            return scores, CONTINUED
    scores = integral.scores(whole=True)
    if scores is None:
        raise EditFailed("the probabilities are not finite: load the model in float32")
    return scores, DIFFERENT if capture.forward == CONTINUED else capture.forward


@dataclass(frozen=True, eq=False)
class _Integral:
    """One prompt with its answer of s tokens. Shapes: activations [s, m] per layer, labels [s]."""

    capture: Capture
    activations: Sequence[Tensor]
    places: tuple[int, ...]
    labels: Tensor
    points: int

    def scores(self, *, whole: bool) -> Tensor | None:
        """Scores [L, m]; None where the logits are not those of the pass that was captured."""
        layers = range(len(self.activations))
        at_once = 1 if whole else max(1, _ROWS // (self.points * len(self.places)))
        found: list[Tensor] = []
        for first in layers[::at_once]:
            part = self._part(layers[first : first + at_once], whole=whole)
            if part is None:
                return None
            found += part
        return torch.stack(found).cpu()

    def _part(self, layers: range, *, whole: bool) -> list[Tensor] | None:
        """Scores of some layers in one pass, whose rows are layers x points x answer tokens."""
        model, m = self.capture.model, self.activations[0].shape[1]
        size = self.points * len(self.places)
        row = [Cut(0, 0 if whole else place, place + 1) for place in self.places]
        cuts = row * (self.points * len(layers))
        width = max(cut.end - cut.begin for cut in cuts)
        ends = [i * width + cut.end - cut.begin - 1 for i, cut in enumerate(cuts)]
        at = torch.tensor(ends, device=model.device)
        steps = torch.arange(1, self.points + 1, device=model.device) / self.points
        scaled = [
            (steps[:, None, None] * self.activations[n]).reshape(-1, m).requires_grad_()
            for n in layers
        ]

        def patcher(block: int) -> Callable[[Tensor], Tensor]:
            where = at[block * size : (block + 1) * size]
            new = scaled[block]
            return lambda keys: flat(keys).index_put((where,), new.to(keys.dtype)).view_as(keys)

        edits = {model.projection(n): patcher(block) for block, n in enumerate(layers)}
        with torch.enable_grad():
            tail = self.capture.tail(cuts, start=0 if whole else layers[0])
            logits, _ = tail.logits(at, edit_inputs=edits)
            # The last point is the activation itself.
            unscaled = logits.reshape(len(layers), self.points, len(self.places), -1)[:, -1]
            if not agree(unscaled.detach(), self.capture.logits, model.dtype):
                return None
            labels = self.labels.repeat(self.points * len(layers))
            chosen = logits.float().softmax(dim=-1).gather(1, labels[:, None]).sum()
            gradients = torch.autograd.grad(chosen, scaled)
        return [
            (a * g.reshape(self.points, *a.shape).mean(dim=0)).mean(dim=0)
            for a, g in zip([self.activations[n] for n in layers], gradients, strict=True)
        ]
