"""The logit lens: what the model would say if it stopped after a layer.

Promise: one forward pass; the model's own final norm and head are applied to every layer's output
at the text's last position. The last layer's token is the model's next token.

    tokens = top_tokens(model, "The capital of France is")      # one token id per layer
    [model.decode([token]) for token in tokens]
"""

from __future__ import annotations

import torch

from editors.keys import flat
from editors.model import EditableModel
from editors.prompts import encode
from editors.trace import Trace


@torch.no_grad()
def top_tokens(model: EditableModel, text: str) -> tuple[int, ...]:
    """The most probable next token by the logit lens, per layer; the lowest id among equals."""
    names = [model.residual(layer) for layer in range(model.n_layers)]
    norm = model.model.get_submodule(model.architecture.final_norm)
    head = model.model.get_submodule(model.architecture.head)
    with model.evaluating():
        with Trace(model.model, outputs=names, stop=True) as trace:
            model.forward(model.batch([encode(model, text).ids]))
        states = torch.stack([flat(trace.output(name))[-1] for name in names])  # [L, d]
        return tuple(head(norm(states)).argmax(dim=-1).tolist())
