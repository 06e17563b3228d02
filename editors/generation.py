"""Continuing token rows with the model: one loop for greedy answers and for sampled contexts.

Promise: the same rows and the same choices give the same tokens; no global random state is read.
Rules: rows are padded on the left, positions are counted from each row's first token, the
key-value cache is used; a row stops at an end-of-text token, when `done` says so, or at the end of
the model's context.

    tails = continue_rows(model, rows, 20, choose=greedy)
    tails = continue_rows(model, rows, 10, choose=top_k_sampler(5, generator))
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from editors.batch import context_of

if TYPE_CHECKING:
    from editors.model import EditableModel

Choose: TypeAlias = Callable[[Tensor], Tensor]
Done: TypeAlias = Callable[[list[int]], bool]


def greedy(logits: Tensor) -> Tensor:
    """Most probable token; the lowest id among equals. Shapes: [n, V] -> [n]."""
    return logits.argmax(dim=-1)


def top_k_sampler(k: int, generator: torch.Generator) -> Choose:
    """A choice among the k most probable tokens, drawn from `generator` (on the CPU)."""

    def choose(logits: Tensor) -> Tensor:
        top = logits.float().cpu().topk(min(k, logits.shape[-1]), dim=-1)
        picks = torch.multinomial(top.values.softmax(dim=-1), 1, generator=generator)
        return top.indices.gather(1, picks).squeeze(1)

    return choose


def nucleus_sampler(temperature: float, top_p: float, generator: torch.Generator) -> Choose:
    """A choice among the fewest tokens that hold `top_p` of the chance, from `generator` (CPU).

    `temperature` divides the logits, > 0; `top_p` in (0, 1], 1 for all tokens.
    """

    def choose(logits: Tensor) -> Tensor:
        chances = (logits.float().cpu() / temperature).softmax(dim=-1)
        ordered, ids = chances.sort(dim=-1, descending=True)
        # A token is kept if those before it hold less than top_p, so the first always is.
        kept = ordered.where(ordered.cumsum(dim=-1) - ordered < top_p, 0.0)
        picks = torch.multinomial(kept, 1, generator=generator)
        return ids.gather(1, picks).squeeze(1)

    return choose


@torch.no_grad()
def continue_rows(
    model: EditableModel,
    rows: Sequence[Sequence[int]],
    max_new_tokens: int,
    *,
    choose: Choose,
    done: Done = lambda tail: False,
) -> list[list[int]]:
    """New token ids per row, without the end-of-text token."""
    tails: list[list[int]] = [[] for _ in rows]
    if not rows or max_new_tokens < 1:
        return tails
    batch = model.batch(rows, side="left")
    ids, mask = batch.ids, batch.mask
    open_rows = set(range(len(rows)))
    context = context_of(model.model.config) or batch.ids.shape[1] + max_new_tokens
    room = [context - len(row) + 1 for row in rows]
    cache: Any = None
    for _ in range(max_new_tokens):
        logits, cache = _step(model, ids, mask, cache, context)
        chosen = choose(logits).to(ids.device)
        _append(tails, chosen.tolist(), open_rows, model.end_ids, done)
        open_rows -= {row for row in open_rows if len(tails[row]) >= room[row]}
        if not open_rows:
            break
        ids = chosen[:, None]
        mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
    return tails


def _step(
    model: EditableModel, ids: Tensor, mask: Tensor, cache: Any, context: int
) -> tuple[Tensor, Any]:
    """Logits of the last position [n, V] and the cache that includes `ids`.

    A row that has stopped goes on at the last position of the context.
    """
    extra: dict[str, Any] = {}
    if "position_ids" in inspect.signature(model.model.forward).parameters:
        positions = (mask.cumsum(dim=1) - 1).clamp(0, context - 1)
        extra["position_ids"] = positions[:, -ids.shape[1] :]
    out = model.model(
        input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **extra
    )
    return out.logits[:, -1], out.past_key_values


def _append(
    tails: list[list[int]],
    chosen: list[int],
    open_rows: set[int],
    end_ids: frozenset[int],
    done: Done,
) -> None:
    """Add the chosen tokens to the rows still open and close those that end."""
    for row in sorted(open_rows):
        if chosen[row] in end_ids:
            open_rows.discard(row)
            continue
        tails[row].append(chosen[row])
        if done(tails[row]):
            open_rows.discard(row)
