"""The logit lens: what the model would say if it stopped after a layer.

Promise: one forward pass a chunk of texts; the model's own final norm and head are applied to every
layer's output at the text's last position. The last layer's token is the model's next token.

    tokens = top_tokens(model, "The capital of France is")      # one token id per layer
    (reading,) = read(model, ["The capital of France is"], watched=[[42]])
    reading.ranks[0]                                            # of token 42, per layer; 1 is first
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editors.keys import flat
from editors.model import EditableModel
from editors.prompts import encode
from editors.trace import Trace

_TEXTS = 32


@dataclass(frozen=True)
class Reading:
    """One text: per layer the top token and its probability; per watched token and layer its
    probability and its rank (1 + how many tokens are more probable)."""

    tokens: tuple[int, ...]
    chances: tuple[float, ...]
    watched: tuple[tuple[float, ...], ...]
    ranks: tuple[tuple[int, ...], ...]


@torch.no_grad()
def read(
    model: EditableModel,
    texts: Sequence[str],
    watched: Sequence[Sequence[int]] = (),
) -> list[Reading]:
    """The lens of every text. `watched`: token ids for each text, or nothing."""
    wanted = list(watched) or [()] * len(texts)
    found: list[Reading] = []
    for start in range(0, len(texts), _TEXTS):
        part = slice(start, start + _TEXTS)
        states = _states(model, texts[part])
        logits = [_logits(model, states[:, i]) for i in range(len(texts[part]))]
        found += [_reading(x, ids) for x, ids in zip(logits, wanted[part], strict=True)]
    return found


def top_tokens(model: EditableModel, text: str) -> tuple[int, ...]:
    """The most probable next token by the logit lens, per layer; the lowest id among equals."""
    return read(model, [text])[0].tokens


def shown(model: EditableModel, token: int) -> str:
    """A token as text that can be stored; special tokens by their name."""
    text = str(model.tokenizer.convert_ids_to_tokens(token)) if token in model.special_ids else ""
    return (text or model.decode([token])).replace("\0", "\ufffd")


def _states(model: EditableModel, texts: Sequence[str]) -> Tensor:
    """Outputs of all layers at the last position of every text, [L, n, d]."""
    names = [model.residual(layer) for layer in range(model.n_layers)]
    rows = [encode(model, text).ids for text in texts]
    batch = model.batch(rows)
    last = torch.tensor([batch.flat(i, len(row) - 1) for i, row in enumerate(rows)])
    with model.evaluating(), Trace(model.model, outputs=names, stop=True) as trace:
        model.forward(batch)
    return torch.stack([flat(trace.output(name))[last.to(model.device)] for name in names])


def _logits(model: EditableModel, states: Tensor) -> Tensor:
    """Final norm and head of states [L, d] -> [L, V], float32."""
    norm = model.model.get_submodule(model.architecture.final_norm)
    head = model.model.get_submodule(model.architecture.head)
    with model.evaluating():
        logits: Tensor = head(norm(states)).float()
    cap = getattr(model.model.config, "final_logit_softcapping", None)
    return logits if cap is None else cap * torch.tanh(logits / cap)


def _reading(logits: Tensor, watched: Sequence[int]) -> Reading:
    chances = logits.softmax(-1)
    top = logits.argmax(dim=-1)
    ids = list(watched)
    ranks = [1 + (logits > logits[:, i : i + 1]).sum(dim=-1) for i in ids]
    return Reading(
        tokens=tuple(top.tolist()),
        chances=tuple(chances.gather(1, top[:, None])[:, 0].tolist()),
        watched=tuple(tuple(chances[:, i].tolist()) for i in ids),
        ranks=tuple(tuple(rank.tolist()) for rank in ranks),
    )
