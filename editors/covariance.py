"""Second moments C = E[k kᵀ] of the keys: what an edit should leave alone.

Promise: C is uncentred, summed in float64 over every non-padding token, and used through its
Cholesky factor, never through an inverse. A jitter that the factorisation needs is recorded.
Rules: one pass for several layers, ended at the deepest; a text's BOS token counts like any other:
its key is an outlier in many models and then dominates C in one direction, as in the published
statistics. Dimensions: m MLP width, n right-hand sides.

    moments = accumulate(model, [3], texts, max_tokens=10 * model.d_mlp)
    direction = moments[3].solve(key[:, None])        # C^-1 k, [m, 1] float64
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from editors.errors import EditFailed
from editors.keys import flat
from editors.model import EditableModel
from editors.prompts import encode
from editors.trace import Trace

_BATCH_TOKENS = 4096
_TEXT_TOKENS = 512
_JITTERS = (0.0, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
_SMALLEST_PIVOT = 1e-12


@dataclass(frozen=True, eq=False)
class SecondMoment:
    """C with its factor. Shapes: moment [m, m], factor [m, m] lower triangular, both float64.

    factor @ factorᵀ = moment + jitter * mean(diag(moment)) * I. `count` tokens were averaged.
    """

    moment: Tensor
    count: int
    factor: Tensor
    jitter: float

    def __post_init__(self) -> None:
        for name, tensor in (("moment", self.moment), ("factor", self.factor)):
            square = tensor.ndim == 2 and tensor.shape[0] == tensor.shape[1]
            if not square or tensor.dtype != torch.float64:
                raise EditFailed(f"{name} of a second moment must be a square float64 matrix")
        if self.moment.shape != self.factor.shape:
            raise EditFailed("moment and factor of a second moment differ in size")

    @classmethod
    def of(cls, moment: Tensor, count: int) -> SecondMoment:
        """Factorise a moment [m, m] float64, with the smallest jitter that works.

        Raises: EditFailed when no jitter up to 1e-3 of the mean diagonal is enough.
        """
        scale = float(moment.diagonal().mean())
        for jitter in _JITTERS:
            shifted = moment.clone()
            shifted.diagonal().add_(jitter * scale)
            factor, info = torch.linalg.cholesky_ex(shifted)
            pivot = float(factor.diagonal().min()) ** 2
            if int(info) == 0 and pivot > _SMALLEST_PIVOT * scale > 0:
                return cls(moment, count, factor, jitter)
        raise EditFailed(
            f"the second moment over {count} tokens cannot be factorised: use more text "
            f"(at least {10 * moment.shape[0]} tokens) or the identity"
        )

    def solve(self, keys: Tensor) -> Tensor:
        """C^-1 K by two triangular solves. Shapes: [m, n] -> [m, n] float64, on C's device."""
        right = keys.to(device=self.factor.device, dtype=torch.float64)
        return torch.cholesky_solve(right, self.factor)

    @cached_property
    def spectrum(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues [m] ascending and eigenvectors [m, m] (columns) of the moment, float64."""
        values, vectors = torch.linalg.eigh(self.moment)
        return values, vectors


def identity(m: int) -> SecondMoment:
    """The second moment of nothing known: C = I, count 0."""
    eye = torch.eye(m, dtype=torch.float64)
    return SecondMoment(eye, 0, eye, 0.0)


def accumulate(
    model: EditableModel,
    layers: Sequence[int],
    texts: Iterable[str],
    *,
    max_tokens: int,
    progress: Callable[[str, float], None] | None = None,
) -> dict[int, SecondMoment]:
    """Second moments of the keys of several layers over the first `max_tokens` tokens of a corpus.

    Texts are cut at 512 tokens. Batch products are float32 sums of at most 4096 rows, added up in
    float64.
    Raises: LayerOutOfRange; EditFailed when the texts hold no token or too few to factorise.
    Source: ROME, section 3.1 and appendix E.5; token count as in FastMEMIT (arXiv 2506.04226).
    """
    names = {layer: model.projection(layer) for layer in layers}
    sums = {layer: _zeros(model) for layer in layers}
    count = 0
    for rows in _batches(_rows(model, texts, max_tokens)):
        batch = model.batch(rows)
        with torch.no_grad(), model.evaluating():
            with Trace(model.model, inputs=names.values(), stop=True) as trace:
                model.forward(batch)
            kept = batch.mask.reshape(-1).bool()
            for layer, name in names.items():
                keys = flat(trace.input(name))[kept].float()
                sums[layer] += (keys.T @ keys).to(sums[layer].device).double()
        count += sum(len(row) for row in rows)
        if progress is not None:
            progress("covariance", min(1.0, count / max_tokens))
    if count == 0:
        raise EditFailed("the corpus of the second moment holds no text: give at least one line")
    return {layer: SecondMoment.of((total / count).cpu(), count) for layer, total in sums.items()}


def _zeros(model: EditableModel) -> Tensor:
    # Apple's devices have no float64.
    device = "cpu" if model.device.type == "mps" else model.device
    return torch.zeros(model.d_mlp, model.d_mlp, dtype=torch.float64, device=device)


def _rows(model: EditableModel, texts: Iterable[str], max_tokens: int) -> Iterator[tuple[int, ...]]:
    """Token rows of the texts, `max_tokens` tokens in all."""
    left = max_tokens
    positions = getattr(model.model.config, "max_position_embeddings", None)
    longest = min(_TEXT_TOKENS, positions or _TEXT_TOKENS)
    for text in texts:
        if left <= 0:
            return
        row = encode(model, text).ids[: min(longest, left)]
        left -= len(row)
        if row:
            yield row


def _batches(rows: Iterable[tuple[int, ...]]) -> Iterator[list[tuple[int, ...]]]:
    """Rows grouped in the order they come, so that no padded batch exceeds 4096 places."""
    group: list[tuple[int, ...]] = []
    for row in rows:
        width = max(len(row), *(len(r) for r in group)) if group else len(row)
        if group and width * (len(group) + 1) > _BATCH_TOKENS:
            yield group
            group = []
        group.append(row)
    if group:
        yield group
