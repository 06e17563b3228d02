"""What the contract tests share: settings, runs, snapshots of a model's state."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor

from editors.base import EditContext
from editors.covariance import SecondMoment, accumulate
from editors.delta import Delta, LowRank, ParameterDelta
from editors.keys import flat
from editors.methods import METHODS, get_editor
from editors.model import EditableModel
from editors.prompts import fill, subject_rows
from editors.requests import EditRequest
from editors.trace import Trace
from tests.contract.tiny import REQUEST, TEMPLATES, TEXTS

LAYER = 0
VALUES = {
    "v_num_grad_steps": 6,
    "v_lr": 0.1,
    "v_weight_decay": 1e-3,
    "clamp_norm_factor": 4.0,
    "kl_factor": 0.0625,
    "max_update_ratio": 1e4,
}
ROME = {"layer": LAYER, **VALUES}
SPREAD = {"layers": [LAYER, LAYER + 1], "contexts": 2, **VALUES, "v_lr": 0.5}
KN = {"points": 2, "share": 0.6, "max_update_ratio": 1e4}
HPARAMS: dict[str, dict[str, Any]] = {
    "rome": ROME,
    "rome-sup": {**ROME, "v_lr": 0.3, "v_num_grad_steps": 8},
    "rome-unsup": ROME,
    "memit": {**SPREAD, "mom2_update_weight": 0.5},
    "emmet": {**SPREAD, "mom2_update_weight": 1.0},
    "pmet": {**SPREAD, "mom2_update_weight": 0.5},
    "alphaedit": {**SPREAD, "nullspace_threshold": 0.3, "L2": 0.1},
    "ft": {"layer": LAYER, "lr": 2e-3, "steps": 5},
    "ft-m": {"layer": LAYER, "lr": 2e-3, "steps": 5},
    "ft-l": {"layer": LAYER, "lr": 2e-3, "steps": 5, "eps": 3e-3},
    "kn": {**KN, "lambda_new": 4.0},
    "kn-erase": KN,
    "kn-suppress": {**KN, "factor": 0.2},
    "kn-enhance": KN,
}
NAMES = [editor.name for editor in METHODS]
BATCHED = ["memit", "emmet", "pmet", "alphaedit"]
VERBS = {"kn-erase": -1, "kn-suppress": -1, "kn-enhance": 1}

Moments = Mapping[int, SecondMoment]


def all_moments(model: EditableModel) -> Moments:
    """Second moments of every layer over a few hundred tokens."""
    return accumulate(model, range(model.n_layers), TEXTS * 4, max_tokens=600)


def context(moments: Moments, seed: int = 0, **changes: Any) -> EditContext:
    generator = torch.Generator().manual_seed(seed)
    return EditContext(generator, TEMPLATES, moments.__getitem__, **changes)


def run(name: str, model: EditableModel, moments: Moments, **changes: Any) -> Delta:
    return run_batch(name, [REQUEST], model, moments, **changes)


def run_batch(
    name: str,
    requests: Sequence[EditRequest],
    model: EditableModel,
    moments: Moments,
    previous: Any = None,
    **changes: Any,
) -> Delta:
    editor = get_editor(name)
    hparams = editor.hparams.from_dict(HPARAMS[name] | changes)
    return editor(model, requests, hparams, context=context(moments, previous_keys=previous))


def raw(delta: Delta) -> bytes:
    """Every tensor of a delta as bytes."""
    parts: list[Tensor] = []
    for name, change in sorted(delta.parameters.items()):
        parts += [change.u, change.v] if isinstance(change, LowRank) else [change.w]
        parts += [delta.keys[name], delta.values[name]] if name in delta.keys else []
    return b"".join(part.numpy().tobytes() for part in parts)


def product(change: ParameterDelta) -> Tensor:
    return change.u.double() @ change.v.double() if isinstance(change, LowRank) else change.w


def dense(delta: Delta) -> Tensor:
    """The changes of all parameters, one below the other."""
    return torch.cat([product(change) for change in delta.parameters.values()])


def state(model: EditableModel) -> dict[str, Any]:
    """Everything an editor must leave alone."""
    modules = dict(model.model.named_modules())
    parameters = dict(model.model.named_parameters())
    generator, keys, *place = np.random.get_state()
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "bits": {
            name: hashlib.sha256(t.detach().contiguous().view(torch.uint8).numpy()).hexdigest()
            for name, t in model.model.state_dict().items()
        },
        "objects": {name: id(p) for name, p in parameters.items()},
        "hooks": {n: [list(getattr(m, kind)) for kind in kinds] for n, m in modules.items()},
        "modes": {name: m.training for name, m in modules.items()},
        "flags": {name: p.requires_grad for name, p in parameters.items()},
        "grads": [name for name, p in parameters.items() if p.grad is not None],
        "random": (
            hashlib.sha256(torch.get_rng_state().numpy()).hexdigest(),
            random.getstate(),
            (generator, keys.tobytes(), *place),
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
        self.model = model
        self.old = {name: model.weight(name).clone() for name in delta.parameters}
        self.new = {n: self.old[n] + product(c).float() for n, c in delta.parameters.items()}

    def __enter__(self) -> None:
        for name, weight in self.new.items():
            self.model.set_weight_(name, weight)

    def __exit__(self, *error: object) -> None:
        for name, weight in self.old.items():
            self.model.set_weight_(name, weight)


def target_loss(model: EditableModel, request: Any = REQUEST, target: str | None = None) -> float:
    """Mean NLL of the target after the bare prompt, by the transformers model alone."""
    full = f"{request.text} {target or request.target_new}"
    ids = model.tokenizer(full, return_tensors="pt")["input_ids"]
    start = len(model.tokenizer(request.text)["input_ids"])
    with torch.no_grad():
        logp = model.model(input_ids=ids).logits[0].float().log_softmax(-1)
    picked = [logp[i - 1, ids[0, i]] for i in range(start, ids.shape[1])]
    return float(-torch.stack(picked).mean())


def subject_states(model: EditableModel, requests: Sequence[EditRequest], module: str) -> Tensor:
    """What a module returns at every bare prompt's subject, one whole pass each. Shape: [n, d]."""
    found = []
    for request in requests:
        row = subject_rows(model, [fill(request)])[0]
        with torch.no_grad(), Trace(model.model, outputs=[module], stop=True) as trace:
            model.model(input_ids=torch.tensor([row]))
        found.append(flat(trace.output(module))[-1])
    return torch.stack(found)
