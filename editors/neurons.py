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

from editors.batch import Batch
from editors.errors import EditFailed
from editors.keys import flat
from editors.model import EditableModel
from editors.prompts import target_row
from editors.trace import Trace

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Neurons:
    """Chosen neurons per layer, ascending, and how many were coarse for each prompt."""

    by_layer: Mapping[int, tuple[int, ...]]
    coarse: tuple[int, ...]

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
    coarse = []
    for done, prompt in enumerate(prompts):
        scores = attribute(model, prompt, answer, points=points)
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
    return Neurons(by_layer, tuple(coarse))


def attribute(model: EditableModel, prompt: str, answer: str, *, points: int) -> Tensor:
    """Integrated gradients of every neuron of every layer. Shape: [L, m] float32.

    Raises: EditFailed when a probability is not finite.
    """
    row = target_row(model, prompt, answer)
    labels = torch.tensor(row.labels, device=model.device)
    places = torch.tensor(list(row.positions), device=model.device)
    names = [model.projection(layer) for layer in range(model.n_layers)]
    with torch.no_grad(), model.evaluating(), Trace(model.model, inputs=names) as trace:
        model.forward(model.batch([row.ids]))
    activations = [flat(trace.input(name))[places] for name in names]
    batch = model.batch([row.ids] * (points * len(row.labels)))
    scores = [
        _scores(model, batch, name, activation.float(), places, labels, points)
        for name, activation in zip(names, activations, strict=True)
    ]
    return torch.stack(scores).cpu()


def _scores(
    model: EditableModel,
    batch: Batch,
    name: str,
    activation: Tensor,
    places: Tensor,
    labels: Tensor,
    points: int,
) -> Tensor:
    """Scores [m] of one layer. Shapes: activation [s, m], places and labels [s]; the batch holds
    the row s * points times, point by point."""
    steps = torch.arange(1, points + 1, device=model.device) / points
    scaled = (steps[:, None, None] * activation).reshape(-1, activation.shape[1]).requires_grad_()
    width = batch.ids.shape[1]
    at = torch.arange(len(scaled), device=model.device) * width + places.repeat(points)

    def patched(keys: Tensor) -> Tensor:
        return flat(keys).index_put((at,), scaled.to(keys.dtype)).reshape(keys.shape)

    with torch.enable_grad(), model.evaluating():
        with Trace(model.model, edit_inputs={name: patched}):
            logits = model.forward(batch, at=at)
        chosen = logits.float().softmax(dim=-1).gather(1, labels.repeat(points)[:, None]).sum()
        if not bool(torch.isfinite(chosen)):
            raise EditFailed("the probabilities are not finite: load the model in float32")
        (gradient,) = torch.autograd.grad(chosen, scaled)
    means = gradient.reshape(points, *activation.shape).mean(dim=0)  # [s, m]
    return (activation * means).mean(dim=0)
