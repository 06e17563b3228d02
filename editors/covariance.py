"""Second moments C = E[k kᵀ] of the keys: what an edit should leave alone.

Promise: C is uncentred, summed over every non-padding token, and used through its Cholesky factor,
never through an inverse. A jitter that the factorisation needs is recorded. The sum has the same
bits however many processes share the work, and after a run that was cut short and continued.
Rules: one pass for several layers, ended at the deepest; the product of a batch is float32 (at most
4096 rows), the sum of the products float64, in the order of the batches; a text's BOS token counts
like any other: its key is an outlier in many models and then dominates C in one direction, as in
the published statistics. Dimensions: m MLP width, n right-hand sides, p probe keys.

    sums = add_up(model, Sums((3, 4)), texts, 10 * model.d_mlp)
    direction = sums.moments()[3].solve(key[:, None])        # C^-1 k, [m, 1] float64
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import TypeAlias

import torch
from torch import Tensor

from editors.errors import EditFailed
from editors.keys import flat
from editors.model import EditableModel
from editors.packing import Pack, packs
from editors.prompts import encode
from editors.team import Team
from editors.trace import Trace

Progress: TypeAlias = Callable[[str, float], None] | None
_JITTERS = (0.0, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
_SMALLEST_PIVOT = 1e-12
_GRAM_BLOCKS = 4
_HALVINGS = 3  # C is looked at after 1/8, 1/4 and 1/2 of the tokens, and at the end


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

    def cpu(self) -> SecondMoment:
        """The same on the CPU."""
        return SecondMoment(self.moment.cpu(), self.count, self.factor.cpu(), self.jitter)


def identity(m: int) -> SecondMoment:
    """The second moment of nothing known: C = I, count 0."""
    eye = torch.eye(m, dtype=torch.float64)
    return SecondMoment(eye, 0, eye, 0.0)


@dataclass(frozen=True)
class Check:
    """How far C had settled after `count` tokens.

    `changes`: layer -> mean of ||x - y|| / ||x|| over the probe keys k, x = C⁻¹ k now and y at the
    check before (about half as many tokens); None where either needed a jitter, and at first.
    """

    count: int
    changes: Mapping[int, float | None]

    def settled(self, tolerance: float) -> bool:
        """Whether no layer changed by more."""
        return all(change is not None and change <= tolerance for change in self.changes.values())


@dataclass(eq=False)
class Sums:
    """Sums of k kᵀ over the texts taken so far; what a measurement keeps to be continued.

    Shapes: totals {layer: [m, m]} float64 (on the first process only), directions {layer: [m, p]}
    float64: C⁻¹ k of the last check. `count` tokens in `texts` texts.
    """

    layers: tuple[int, ...]
    totals: dict[int, Tensor] = field(default_factory=dict)
    count: int = 0
    texts: int = 0
    checks: tuple[Check, ...] = ()
    directions: dict[int, Tensor] = field(default_factory=dict)
    _factored: dict[int, SecondMoment] = field(default_factory=dict)

    def add(self, layer: int, product: Tensor) -> None:
        """Add the product [m, m] of one batch."""
        # Apple's devices have no float64.
        wide = (product.cpu() if product.device.type == "mps" else product).double()
        self.totals[layer] = self.totals[layer].add_(wide) if layer in self.totals else wide
        self._factored.pop(layer, None)

    def moments(self) -> dict[int, SecondMoment]:
        """C of every layer, on the CPU. Raises: EditFailed without tokens or with too few."""
        if self.count == 0:
            raise EditFailed(
                "the corpus of the second moment holds no text: give at least one line"
            )
        for layer, total in self.totals.items():
            if layer not in self._factored:
                self._factored[layer] = SecondMoment.of(total / self.count, self.count).cpu()
        return {layer: self._factored[layer] for layer in self.layers}


@dataclass(frozen=True, eq=False)
class Watch:
    """What is done with sums while they grow, where a window of the corpus ends.

    `probes`: texts whose last tokens' keys show how C settles; without any nothing is checked.
    `tolerance`: stop as soon as a check changed by no more. `keep` is given the sums every time.
    """

    probes: Sequence[str] = ()
    tolerance: float | None = None
    keep: Callable[[Sums], None] | None = None


def accumulate(
    model: EditableModel,
    layers: Sequence[int],
    texts: Iterable[str],
    *,
    max_tokens: int,
    progress: Progress = None,
) -> dict[int, SecondMoment]:
    """Second moments of the keys of several layers over the first `max_tokens` tokens of a corpus.

    Raises: LayerOutOfRange; EditFailed when the texts hold no token or too few to factorise.
    Source: ROME, section 3.1 and appendix E.5; token count as in FastMEMIT (arXiv 2506.04226).
    """
    return add_up(model, Sums(tuple(layers)), texts, max_tokens, progress=progress).moments()


def add_up(
    model: EditableModel,
    sums: Sums,
    texts: Iterable[str],
    max_tokens: int,
    *,
    team: Team | None = None,
    watch: Watch | None = None,
    progress: Progress = None,
) -> Sums:
    """Add the keys of a corpus to `sums`, up to `max_tokens` tokens in all.

    `texts` are all texts, also those that `sums` holds. Of a team, every process computes its share
    of the batches and the first adds them up, in the order of the corpus. Raises: LayerOutOfRange.
    """
    team, watch = team or Team(), watch or Watch()
    names = {layer: model.projection(layer) for layer in sums.layers}
    probes = _probe_keys(model, names, watch.probes) if team.first else {}
    stream = packs(model, texts, max_tokens=max_tokens, texts_done=sums.texts, done=sums.count)
    while group := list(islice(stream, team.size)):
        mine = _products(model, names, group[team.rank]) if team.rank < len(group) else {}
        for source, pack in enumerate(group):
            _add(sums, mine, team, source, pack)
            if pack.texts is not None and _window_ends(sums, probes, max_tokens, team, watch):
                return sums
        if progress is not None:
            progress("covariance", min(1.0, sums.count / max_tokens))
    if probes and sums.count and (not sums.checks or sums.checks[-1].count < sums.count):
        _check(sums, probes)
    return sums


def _add(sums: Sums, mine: Mapping[int, Tensor], team: Team, source: int, pack: Pack) -> None:
    for layer in sums.layers:
        product = team.to_first(mine.get(layer), source)
        if product is not None:
            sums.add(layer, product)
    sums.count += pack.tokens
    sums.texts = pack.texts if pack.texts is not None else sums.texts


def _window_ends(
    sums: Sums, probes: Mapping[int, Tensor], max_tokens: int, team: Team, watch: Watch
) -> bool:
    """Look at the sums if it is time, keep them, and say whether they are good enough."""
    settled = False
    done = len(sums.checks)
    if probes and done < _HALVINGS and sums.count * 2 ** (_HALVINGS - done) >= max_tokens:
        check = _check(sums, probes)
        settled = watch.tolerance is not None and check.settled(watch.tolerance)
    if watch.keep is not None and team.first:
        watch.keep(sums)
    return bool(team.shared(settled)) if watch.tolerance is not None else False


def _check(sums: Sums, probes: Mapping[int, Tensor]) -> Check:
    """Compare C⁻¹ k of the probe keys with the last check, and note it in the sums."""
    changes: dict[int, float | None] = {}
    try:
        moments = sums.moments()
    except EditFailed:  # too few tokens so far; there is nothing to compare with either
        moments, sums.directions = {}, {}
    for layer in sums.layers:
        before, moment = sums.directions.pop(layer, None), moments.get(layer)
        changes[layer] = None
        if moment is not None and moment.jitter == 0:
            now = sums.directions[layer] = moment.solve(probes[layer].T)
            if before is not None:
                ratios = (now - before).norm(dim=0) / now.norm(dim=0)
                changes[layer] = float(ratios.mean())
    check = Check(sums.count, changes)
    sums.checks = (*sums.checks, check)
    return check


def _probe_keys(
    model: EditableModel, names: Mapping[int, str], texts: Sequence[str]
) -> dict[int, Tensor]:
    """Keys of the texts' last tokens. Shapes: {layer: [p, m]} float32; nothing without texts."""
    rows = [row for row in (encode(model.plain, text).ids for text in texts) if row]
    if not rows:
        return {}
    last = torch.tensor([len(row) for row in rows]).cumsum(0) - 1
    return {layer: keys[last.to(keys.device)] for layer, keys in _keys(model, names, rows)}


def _products(model: EditableModel, names: Mapping[int, str], pack: Pack) -> dict[int, Tensor]:
    """Kᵀ K of one batch, {layer: [m, m]} float32."""
    return {layer: _gram(keys) for layer, keys in _keys(model, names, pack.rows)}


def _gram(keys: Tensor) -> Tensor:
    """Kᵀ K, of which the blocks below the diagonal are those above it. [tokens, m] -> [m, m]."""
    m = keys.shape[1]
    step = -(-m // _GRAM_BLOCKS)
    product = keys.new_empty(m, m)
    for begin in range(0, m, step):
        mine = slice(begin, begin + step)
        product[mine, begin:] = keys[:, mine].T @ keys[:, begin:]
        product[begin + step :, mine] = product[mine, begin + step :].T
    return product


def _keys(
    model: EditableModel, names: Mapping[int, str], rows: Sequence[Sequence[int]]
) -> list[tuple[int, Tensor]]:
    """Keys of every token of the rows, one row after the other: (layer, [tokens, m] float32)."""
    batch = model.batch(rows)
    trace = Trace(model.model, inputs=names.values(), stop=True)
    with torch.no_grad(), model.evaluating(), trace:
        model.forward(batch)
    kept = batch.mask.reshape(-1).bool()
    found = [(layer, flat(trace.input(name))) for layer, name in names.items()]
    return [(layer, keys[kept.to(keys.device)].float()) for layer, keys in found]
