"""ROME written out slowly from the paper, as an oracle: one row per forward, no shared code.

Differs from the product on purpose: pieces are tokenised separately to find the subject, rows are
not padded or cut, every position passes the head, C is inverted, torch.optim.Adam is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass
class Settings:
    steps: int
    lr: float
    weight_decay: float
    clamp: float
    kl: float
    stop: float = 0.05


def rome(
    model: Any,
    tokenizer: Any,
    module: Any,
    prompt: str,
    subject: str,
    target: str,
    templates: tuple[str, ...],
    covariance: Tensor,
    settings: Settings,
    key: str,
) -> tuple[Tensor, list[float]]:
    """(ΔW [d_out, d_in] float64, loss per step), by hooks on `module`, the projection."""
    filled = [t.replace("{}", prompt) for t in templates]
    keys, outputs = [], []
    for text in filled:
        head = text.split("{}")[0] + subject
        place = len(tokenizer(head)["input_ids"]) - 1
        k, o = _watch(model, tokenizer, module, text.replace("{}", subject), place)
        keys.append(k)
        outputs.append(o)
    mean_key = torch.stack(keys).double().mean(0)
    mean_output = torch.stack(outputs).double().mean(0)
    direction = torch.linalg.inv(covariance.double()) @ mean_key
    delta, clean, losses = _value(model, tokenizer, module, filled, subject, target, settings)
    wanted = (clean + delta).double()
    if key == "consistent":
        residual, held = wanted - mean_output, mean_key
    else:
        residual, held = wanted - outputs[0].double(), keys[0].double()
    return torch.outer(residual, direction) / (held @ direction), losses


def _watch(model: Any, tokenizer: Any, module: Any, text: str, place: int) -> tuple[Tensor, Tensor]:
    seen = {}

    def hook(_: Any, args: Any, output: Tensor) -> None:
        seen["key"], seen["output"] = args[0][0, place].float(), output[0, place].float()

    handle = module.register_forward_hook(hook)
    with torch.no_grad():
        model(**tokenizer(text, return_tensors="pt"))
    handle.remove()
    return seen["key"], seen["output"]


def _value(
    model: Any,
    tokenizer: Any,
    module: Any,
    filled: list[str],
    subject: str,
    target: str,
    settings: Settings,
) -> tuple[Tensor, Tensor, list[float]]:
    target_ids = tokenizer(" " + target, add_special_tokens=False)["input_ids"]
    delta = torch.zeros(model.config.hidden_size, requires_grad=True)
    optimiser = torch.optim.Adam([delta], lr=settings.lr)
    losses: list[float] = []
    clean = essence_before = None
    for step in range(settings.steps):
        terms = []
        for text in filled:
            place = len(tokenizer(text.split("{}")[0] + subject)["input_ids"]) - 1
            ids = tokenizer(text.replace("{}", subject))["input_ids"] + target_ids
            logits, output = _moved(model, module, ids, place, delta)
            if clean is None:
                clean = output
            logp = logits.log_softmax(-1)
            start = len(ids) - len(target_ids)
            picked = [logp[start - 1 + i, token] for i, token in enumerate(target_ids)]
            terms.append(-torch.stack(picked).mean())
        place = len(tokenizer(subject)["input_ids"]) - 1
        essence_ids = tokenizer(subject + " is a")["input_ids"]
        after = _moved(model, module, essence_ids, place, delta)[0][place].log_softmax(-1)
        if essence_before is None:
            essence_before = after.detach()
        kl = torch.nn.functional.kl_div(
            essence_before[None], after[None], log_target=True, reduction="batchmean"
        )
        decay = settings.weight_decay * delta.norm() / clean.norm() ** 2
        loss = torch.stack(terms).mean() + settings.kl * kl + decay
        losses.append(float(loss.detach()))
        if losses[-1] < settings.stop or step == settings.steps - 1:
            break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        radius = settings.clamp * clean.norm()
        if delta.norm() > radius:
            with torch.no_grad():
                delta.mul_(radius / delta.norm())
    return delta.detach(), clean, losses


def _moved(
    model: Any, module: Any, ids: list[int], place: int, delta: Tensor
) -> tuple[Tensor, Tensor]:
    seen = {}

    def hook(_: Any, __: Any, output: Tensor) -> Tensor:
        seen["clean"] = output[0, place].detach().clone()
        one = torch.zeros(output.shape[1], 1)
        one[place] = 1.0
        return output + one * delta

    handle = module.register_forward_hook(hook)
    logits = model(input_ids=torch.tensor([ids])).logits[0]
    handle.remove()
    return logits, seen["clean"]
