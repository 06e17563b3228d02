"""Causal tracing: which state, restored, brings a corrupted answer back.

Promise: the model is left as it was; noise comes from the passed generator only; restoring one
state at a time, each in a forward pass of its own, gives the same effects up to rounding.
Rules: the embeddings of the subject's tokens get Gaussian noise, in several draws at once; then
clean values are set back at one position: a layer's output (`state`), or the contributions of the
MLP or of the attention in a window of layers around it. The indirect effect is the gain in the
probability of the answer's first token over the corrupted run (Meng et al. 2022, section 2).
How many restorations become one pass: `editors.analysis.restoring`.

    noise = Noise(sigma=3 * subject_sigma(model, ["Ada"]), generator=g)
    effects = trace_fact(model, "Ada was born in", subject=(0, 3), answer="London", noise=noise)
    effects.of["mlp"][1, 3]          # second token, layer 3
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from editors.analysis.lens import shown
from editors.analysis.restoring import Kind, Run, at_place, module_of
from editors.continuing import Capture
from editors.errors import InvalidRequest
from editors.model import EditableModel
from editors.prompts import Span, encode, target_row
from editors.trace import Trace

KINDS: Final[tuple[Kind, ...]] = ("state", "mlp", "attention")
NOISE_SIGMAS: Final = 3.0
NOISE_DRAWS: Final = 10
WINDOW_SHARE: Final = 10 / 48  # the paper's 10 layers of GPT-2 XL


@dataclass(frozen=True, eq=False)
class Noise:
    """What the subject's embeddings are corrupted with: `draws` times N(0, sigma)."""

    sigma: float
    generator: torch.Generator
    draws: int = NOISE_DRAWS

    def draw(self, tokens: int, width: int) -> Tensor:
        """Shape: [draws, tokens, width]."""
        return self.sigma * torch.randn((self.draws, tokens, width), generator=self.generator)


@dataclass(frozen=True, eq=False)
class Effects:
    """Probabilities of the answer's first token, and the indirect effects.

    `tokens` of the prompt, `subject` first and last of the subject's, `answer` the traced token,
    `known` whether the clean model says it; `of`: kind -> [t, L], float64.
    """

    tokens: tuple[str, ...]
    subject: tuple[int, int]
    answer: str
    known: bool
    clean: float
    corrupted: float
    of: Mapping[Kind, Tensor]

    @property
    def total(self) -> float:
        """The total effect of the corruption."""
        return self.clean - self.corrupted

    @property
    def subject_last(self) -> tuple[float, ...]:
        """Effects of the hidden state at the subject's last token, per layer."""
        return tuple(self.of["state"][self.subject[1]].tolist())

    @property
    def prompt_last(self) -> tuple[float, ...]:
        """Effects of the hidden state at the last token, per layer."""
        return tuple(self.of["state"][-1].tolist())


def subject_sigma(model: EditableModel, subjects: Sequence[str]) -> float:
    """Standard deviation of the embeddings of all tokens of some subjects.

    Source: kmeng01/rome, collect_embedding_std; noise is 3 of these.
    """
    ids = [token for subject in subjects for token in encode(model.plain, subject).ids]
    rows = model.embeddings[ids]
    return float(rows.detach().float().std())


def default_window(n_layers: int) -> int:
    """How many layers a window has: the paper's share of the depth, one at least."""
    return max(1, round(WINDOW_SHARE * n_layers))


@torch.no_grad()
def trace_fact(
    model: EditableModel,
    text: str,
    *,
    subject: Span,
    noise: Noise,
    answer: str | None = None,
    kinds: Sequence[Kind] = KINDS,
    window: int | None = None,
) -> Effects:
    """Trace one fact: every token, every layer, every kind.

    `text` is the filled prompt, `subject` the subject's character span in it; without an `answer`
    the model's own next token is traced. `window`: layers of MLP and attention restored together.
    Raises: InvalidRequest if the tokenizer leaves the subject or the answer no token, or the window
    has no layer.
    """
    width = default_window(model.n_layers) if window is None else window
    if width < 1:
        raise InvalidRequest(f"a window of {width} layers restores nothing: give 1 or more")
    run, clean, known = _runs(model, text, subject, answer, noise, kinds, width)
    of = {kind: run.effects(kind) for kind in kinds}
    return Effects(
        tokens=tuple(shown(model, token) for token in run.ids),
        subject=(run.places[0], run.places[-1]),
        answer=shown(model, run.answer),
        known=known,
        clean=clean,
        corrupted=run.corrupted,
        of=of,
    )


def _runs(
    model: EditableModel,
    text: str,
    subject: Span,
    answer: str | None,
    noise: Noise,
    kinds: Sequence[Kind],
    window: int,
) -> tuple[Run, float, bool]:
    """The corrupted run with the clean states to restore; the answer's chance in the clean pass,
    and whether it is said there. Rows end where the answer begins."""
    encoded = encode(model, text)
    row = None if answer is None else target_row(model, text, answer, subject=subject)
    ids = encoded.ids if row is None else row.ids[: row.first]
    spans = encoded.spans[: len(ids)]
    places = tuple(i for i, (a, b) in enumerate(spans) if a < subject[1] and b > subject[0])
    if not places:
        begin, end = subject
        raise InvalidRequest(f"the tokenizer drops the subject {text[begin:end]!r}: reword it")
    logits, states = _clean(model, ids, kinds)
    said = int(logits.argmax())
    wanted = said if row is None else row.labels[0]
    corrupted = _corrupted(model, ids, places, noise)
    run = Run.of(corrupted, ids, places, states, answer=wanted, window=window)
    return run, float(logits.softmax(-1)[wanted]), wanted == said


def _clean(
    model: EditableModel, ids: tuple[int, ...], kinds: Sequence[Kind]
) -> tuple[Tensor, dict[Kind, Tensor]]:
    """The pass without noise: logits [V] after the last token, and all states, [L, t, d] by kind.

    States are copied as they appear: Falcon adds the attention to its MLP's output in place.
    """
    found: dict[str, Tensor] = {}

    def keep(hidden: Tensor, name: str) -> Tensor:
        found[name] = hidden.clone().reshape(len(ids), -1)
        return hidden

    layers = range(model.n_layers)
    names = {kind: [module_of(model, kind, layer) for layer in layers] for kind in kinds}
    edits = {name: at_place(keep, name) for chosen in names.values() for name in chosen}
    with model.evaluating(), Trace(model.model, edit_outputs=edits):
        logits = model.forward(model.batch([ids]))[0, -1].float()
    states = {kind: torch.stack([found[name] for name in names[kind]]) for kind in kinds}
    return logits, states


def _corrupted(
    model: EditableModel, ids: tuple[int, ...], places: tuple[int, ...], noise: Noise
) -> Capture:
    """The pass with noise, one row a drawing, with what every layer receives and gives."""
    embedding = model.architecture.embedding
    drawn = noise.draw(len(places), int(model.embeddings.shape[1]))

    def corrupt(hidden: Tensor) -> Tensor:
        changed = hidden.clone()
        changed[:, list(places)] += drawn.to(hidden)
        return changed

    last = torch.arange(1, noise.draws + 1, device=model.device) * len(ids) - 1
    return Capture.of(
        model,
        [ids] * noise.draws,
        starts=range(1, model.n_layers + 1),
        at=last,
        inputs=[model.residual(0)],
        edit_outputs={embedding: corrupt},
    )
