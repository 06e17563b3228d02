"""What the contract tests share: settings, runs, snapshots of a model's state."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor

from editors.base import EditContext
from editors.covariance import SecondMoment
from editors.delta import Delta, LowRank
from editors.methods import METHODS, get_editor
from editors.model import EditableModel
from tests.contract.tiny import REQUEST, TEMPLATES

LAYER = 0
ROME = {
    "layer": LAYER,
    "v_num_grad_steps": 6,
    "v_lr": 0.1,
    "v_weight_decay": 1e-3,
    "clamp_norm_factor": 4.0,
    "kl_factor": 0.0625,
    "max_update_ratio": 1e4,
}
HPARAMS: dict[str, dict[str, Any]] = {
    "rome": ROME,
    "ft": {"layer": LAYER, "lr": 2e-3, "steps": 5},
    "ft-l": {"layer": LAYER, "lr": 2e-3, "steps": 5, "eps": 3e-3},
}
NAMES = [editor.name for editor in METHODS]


def context(moment: SecondMoment, seed: int = 0) -> EditContext:
    return EditContext(torch.Generator().manual_seed(seed), TEMPLATES, lambda layer: moment)


def run(name: str, model: EditableModel, moment: SecondMoment, **changes: Any) -> Delta:
    editor = get_editor(name)
    hparams = editor.hparams.from_dict(HPARAMS[name] | changes)
    return editor(model, [REQUEST], hparams, context=context(moment))


def raw(delta: Delta) -> bytes:
    """Every tensor of a delta as bytes."""
    parts: list[Tensor] = []
    for name, change in sorted(delta.parameters.items()):
        parts += [change.u, change.v] if isinstance(change, LowRank) else [change.w]
        parts += [delta.keys[name], delta.values[name]] if name in delta.keys else []
    return b"".join(part.numpy().tobytes() for part in parts)


def dense(delta: Delta) -> Tensor:
    (change,) = delta.parameters.values()
    return change.u.double() @ change.v.double() if isinstance(change, LowRank) else change.w


def state(model: EditableModel) -> dict[str, Any]:
    """Everything an editor must leave alone."""
    modules = dict(model.model.named_modules())
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "bits": {
            name: hashlib.sha256(t.detach().contiguous().view(torch.uint8).numpy()).hexdigest()
            for name, t in model.model.state_dict().items()
        },
        "objects": {name: id(p) for name, p in model.model.named_parameters()},
        "hooks": {n: [list(getattr(m, kind)) for kind in kinds] for n, m in modules.items()},
        "modes": {name: m.training for name, m in modules.items()},
        "flags": {name: p.requires_grad for name, p in model.model.named_parameters()},
        "grads": [name for name, p in model.model.named_parameters() if p.grad is not None],
        "random": (
            hashlib.sha256(torch.get_rng_state().numpy()).hexdigest(),
            random.getstate(),
            str(np.random.get_state()),
        ),
        "global": (torch.is_grad_enabled(), torch.get_default_dtype()),
    }


class Injected(RuntimeError):
    pass


def failing(original: Callable[..., Any], at: int, calls: list[int]) -> Callable[..., Any]:
    @wraps(original)
    def forward(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == at:
            raise Injected
        return original(*args, **kwargs)

    return forward


class Edited:
    """The model with a delta added to its weights, inside the block."""

    def __init__(self, model: EditableModel, delta: Delta):
        (self.name,) = delta.parameters
        self.model, self.change = model, dense(delta).float()
        self.old = model.weight(self.name).clone()

    def __enter__(self) -> None:
        self.model.set_weight_(self.name, self.old + self.change)

    def __exit__(self, *error: object) -> None:
        self.model.set_weight_(self.name, self.old)


def target_loss(model: EditableModel, request: Any = REQUEST) -> float:
    """Mean NLL of the target after the bare prompt, by the transformers model alone."""
    ids = model.tokenizer(f"{request.text} {request.target_new}", return_tensors="pt")["input_ids"]
    start = len(model.tokenizer(request.text)["input_ids"])
    with torch.no_grad():
        logp = model.model(input_ids=ids).logits[0].float().log_softmax(-1)
    picked = [logp[i - 1, ids[0, i]] for i in range(start, ids.shape[1])]
    return float(-torch.stack(picked).mean())
