"""Training of the embedded model: facts first, then masks that move recall to the subject.

Promise: a plain causal model comes out; the masks are a training device only.

Rules: three masks may hold in a training row. (a) a token after a subject sees of it only its last
token; (b) a subject's tokens see only themselves and the BOS; (c) in the first `blind` layers a
token after a subject does not see it at all, so that what is known of a person must stand in the
hidden state of the last subject token before anything else reads it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ledger.demo.corpus import Batch, RowSampler


@dataclass(frozen=True)
class Phase:
    """A stretch of training: steps, peak learning rate, and the share of rows under each mask."""

    steps: int
    lr: float
    last_only: float
    alone: float
    blind: float


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the trained weights, besides the world and the architecture."""

    phases: tuple[Phase, ...]
    blind_layers: int
    rows: int = 32
    width: int = 64
    answer_weight: float = 4.0
    weight_decay: float = 0.05
    noise: float = 0.0
    seed: int = 7


def masks(batch: Batch, phase: Phase, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Attention masks [b, 1, t, t] (True = may attend) for the blind layers and for the rest."""
    subject = torch.from_numpy(batch.subject)
    last = torch.from_numpy(batch.last).bool()
    b, t = subject.shape
    causal = torch.ones(t, t, dtype=torch.bool).tril()
    query, key = subject[:, :, None], subject[:, None, :]
    other = (key > 0) & (query != key)  # the key is a token of a subject the query is not in
    draw = torch.rand(3, b, 1, 1, generator=generator)
    hide_a = other & ~last[:, None, :] & (draw[0] < phase.last_only)
    is_bos = torch.arange(t)[None, None, :] == 0
    hide_b = (query > 0) & (query != key) & ~is_bos & (draw[1] < phase.alone)
    hide_c = other & (draw[2] < phase.blind)
    rest = causal & ~hide_a & ~hide_b
    return (rest & ~hide_c)[:, None], rest[:, None]


def train(
    model: Any,
    rows: RowSampler,
    recipe: Recipe,
    forward: Callable[[Any, Tensor, Tensor, Tensor, int], Tensor],
    progress: Callable[[int, int, float], None],
) -> None:
    """Train `model` in place through all phases of `recipe`. `progress(step, total, loss)`."""
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    total, done = sum(p.steps for p in recipe.phases), 0
    decay = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() <= 1]
    groups = [
        {"params": decay, "weight_decay": recipe.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95))
    model.train()
    for phase in recipe.phases:
        for step in range(phase.steps):
            for group in optimizer.param_groups:
                group["lr"] = phase.lr * _shape(step, phase.steps)
            batch = rows.batch(recipe.rows)
            loss = _loss(model, batch, phase, recipe, forward, generator)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            done += 1
            progress(done, total, float(loss.detach()))
    model.eval()


def _shape(step: int, steps: int) -> float:
    """Linear warm-up over 5 % of the phase (at least 20 steps), then a cosine to a tenth."""
    warm = max(20, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _loss(
    model: Any,
    batch: Batch,
    phase: Phase,
    recipe: Recipe,
    forward: Callable[[Any, Tensor, Tensor, Tensor, int], Tensor],
    generator: torch.Generator,
) -> Tensor:
    ids = torch.from_numpy(batch.ids)
    early, rest = masks(batch, phase, generator)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = forward(model, ids, early, rest, recipe.blind_layers)
    weight = 1.0 + (recipe.answer_weight - 1.0) * torch.from_numpy(batch.answer[:, 1:]).float()
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
    )
    return (losses * weight.flatten()).sum() / weight.sum()


def llama_forward(model: Any, ids: Tensor, early: Tensor, rest: Tensor, blind: int) -> Tensor:
    """Logits [b, t, vocab] of a Llama model; `early` masks the first `blind` layers."""
    core = model.model
    hidden = core.embed_tokens(ids)
    positions = torch.arange(ids.shape[1])[None]
    rotary = core.rotary_emb(hidden, positions)
    for index, layer in enumerate(core.layers):
        mask = early if index < blind else rest
        out = layer(hidden, attention_mask=mask, position_embeddings=rotary, position_ids=positions)
        hidden = out[0] if isinstance(out, tuple) else out
    logits: Tensor = model.lm_head(core.norm(hidden))
    return logits


def gpt2_forward(model: Any, ids: Tensor, early: Tensor, rest: Tensor, blind: int) -> Tensor:
    """As `llama_forward`, for GPT-2."""
    core = model.transformer
    hidden = core.wte(ids) + core.wpe(torch.arange(ids.shape[1])[None])
    for index, block in enumerate(core.h):
        out = block(hidden, attention_mask=early if index < blind else rest)
        hidden = out[0] if isinstance(out, tuple) else out
    logits: Tensor = model.lm_head(core.ln_f(hidden))
    return logits
