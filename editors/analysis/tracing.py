"""Causal tracing: which hidden state, restored, brings a corrupted answer back.

Promise: the model is left as it was; noise comes from the passed generator only.

Rules: the embeddings of the subject's tokens get Gaussian noise of `NOISE_SIGMAS` standard
deviations of the embedding matrix, in several draws at once; then one hidden state (a layer's
output at one position) is set back to its clean value. The indirect effect is the gain in the
probability of the answer's first token over the corrupted run (Meng et al. 2022, section 2).

    effects = trace_fact(model, "Ada was born in", subject=(0, 3), answer="London", generator=g)
    effects.subject_last[3]          # layer 3, last subject token
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from editors.batch import Batch
from editors.model import EditableModel
from editors.prompts import Span, encode, target_row
from editors.trace import Trace

NOISE_SIGMAS: Final = 3.0
NOISE_DRAWS: Final = 6


@dataclass(frozen=True)
class Effects:
    """Probabilities of the answer's first token, and the indirect effects per layer."""

    clean: float
    corrupted: float
    subject_last: tuple[float, ...]
    prompt_last: tuple[float, ...]

    @property
    def total(self) -> float:
        """The total effect of the corruption."""
        return self.clean - self.corrupted


@dataclass(frozen=True)
class _Run:
    """A corrupted batch and what is looked at in it."""

    model: EditableModel
    batch: Batch
    noise: Tensor  # [draws, subject tokens, d]
    places: tuple[int, ...]
    states: dict[str, Tensor]  # layer -> clean output [t, d]
    answer: int
    last: int

    def probability(self, layer: str | None, position: int) -> float:
        """Mean probability of the answer with one state restored (None: none)."""
        edits: dict[str, Callable[[Tensor], Tensor]] = {
            self.model.architecture.embedding: self._corrupt
        }
        if layer is not None:
            edits[layer] = lambda hidden: _set(hidden, position, self.states[layer][position])
        with Trace(self.model.model, edit_outputs=edits):
            logits = self.model.forward(self.batch)
        return _probability(logits, self.answer, self.last)

    def _corrupt(self, hidden: Tensor) -> Tensor:
        changed = hidden.clone()
        changed[:, list(self.places)] += self.noise.to(hidden)
        return changed


@torch.no_grad()
def trace_fact(
    model: EditableModel, text: str, *, subject: Span, answer: str, generator: torch.Generator
) -> Effects:
    """Trace one fact at the last subject token and at the last prompt token.

    `text` is the filled prompt, `subject` the subject's character span in it.
    Raises: InvalidRequest if the tokenizer leaves the subject or the answer no token.
    """
    row = target_row(model, text, answer, subject=subject)
    last, ids = row.first - 1, row.ids[: row.first]
    spans = encode(model, text).spans
    places = tuple(i for i, (a, b) in enumerate(spans) if a < subject[1] and b > subject[0])
    names = [model.architecture.layer_template.format(i) for i in range(model.n_layers)]
    with model.evaluating(), Trace(model.model, outputs=names) as trace:
        clean = _probability(model.forward(model.batch([ids])), row.labels[0], last)
    run = _Run(
        model=model,
        batch=model.batch([ids] * NOISE_DRAWS),
        noise=_noise(model, len(places), generator),
        places=places,
        states={name: trace.output(name)[0] for name in names},
        answer=row.labels[0],
        last=last,
    )
    with model.evaluating():
        low = run.probability(None, 0)
        found = [[run.probability(n, p) - low for n in names] for p in (max(places), last)]
    return Effects(clean, low, tuple(found[0]), tuple(found[1]))


def _noise(model: EditableModel, tokens: int, generator: torch.Generator) -> Tensor:
    weight = model.embeddings
    shape = (NOISE_DRAWS, tokens, int(weight.shape[1]))
    return NOISE_SIGMAS * float(weight.float().std()) * torch.randn(shape, generator=generator)


def _set(hidden: Tensor, position: int, state: Tensor) -> Tensor:
    changed = hidden.clone()
    changed[:, position] = state
    return changed


def _probability(logits: Tensor, token: int, position: int) -> float:
    return float(logits[:, position].float().softmax(-1)[:, token].mean())
