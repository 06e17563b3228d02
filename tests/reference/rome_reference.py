"""ROME and the value searches of its relatives, slowly, from the papers: one row per forward.

An oracle that shares no code with the product and differs from it on purpose: pieces are tokenised
separately to find the subject, rows are not padded or cut, every position passes the head, C is
inverted, torch.optim.Adam is used.
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
    argmax: float = 1.0


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
    kept: tuple[tuple[str, bool], ...] = (),
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
    (delta,), (clean,), losses = value(
        model, tokenizer, [module], filled, subject, target, settings, kept
    )
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


def value(
    model: Any,
    tokenizer: Any,
    modules: list[Any],
    filled: list[str],
    subject: str,
    target: str,
    settings: Settings,
    kept: tuple[tuple[str, bool], ...] = (),
) -> tuple[Tensor, Tensor, list[float]]:
    """(deltas [q, d], clean outputs [q, d], losses). `kept`: (text, read at the subject) beside the
    essence row; with `settings.argmax` below 1 the rules of PMET."""
    target_ids = tokenizer(" " + target, add_special_tokens=False)["input_ids"]
    deltas = torch.zeros(len(modules), model.config.hidden_size, requires_grad=True)
    optimiser = torch.optim.Adam([deltas], lr=settings.lr)
    losses: list[float] = []
    clean = before = None
    factor = 1.0
    for step in range(settings.steps):
        terms, hits = [], []
        for text in filled:
            place = len(tokenizer(text.split("{}")[0] + subject)["input_ids"]) - 1
            ids = tokenizer(text.replace("{}", subject))["input_ids"] + target_ids
            logits, output = _moved(model, modules, ids, place, deltas)
            if clean is None:
                clean = output
            logp = logits.log_softmax(-1)
            start = len(ids) - len(target_ids)
            picked = [logp[start - 1 + i, token] for i, token in enumerate(target_ids)]
            hits += [int(logp[start - 1 + i].argmax()) == t for i, t in enumerate(target_ids)]
            terms.append(-torch.stack(picked).mean())
        after = []
        for text, at_subject in ((subject + " is a", True), *kept):
            place = len(tokenizer(text[: text.index(subject) + len(subject)])["input_ids"]) - 1
            ids = tokenizer(text)["input_ids"]
            logits = _moved(model, modules, ids, place, deltas)[0]
            after.append(logits[place if at_subject else -1].log_softmax(-1))
        if before is None:
            before = [logp.detach() for logp in after]
        kl = settings.kl * sum(
            torch.nn.functional.kl_div(b[None], a[None], log_target=True, reduction="batchmean")
            for a, b in zip(after, before, strict=True)
        )
        decay = sum(d.norm() / c.norm() ** 2 for d, c in zip(deltas, clean, strict=True))
        loss = factor * torch.stack(terms).mean() + kl + settings.weight_decay * decay
        losses.append(float(loss.detach()))
        if losses[-1] < settings.stop:
            break
        if settings.argmax < 1 and all(hits) and float(kl.detach()) <= 0.01:
            break
        factor = settings.argmax if all(hits) else 1.0
        if step == settings.steps - 1:
            break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            for d, c in zip(deltas, clean, strict=True):
                if d.norm() > settings.clamp * c.norm():
                    d.mul_(settings.clamp * c.norm() / d.norm())
    return deltas.detach(), clean, losses


def _moved(
    model: Any, modules: list[Any], ids: list[int], place: int, deltas: Tensor
) -> tuple[Tensor, Tensor]:
    """Logits [t, V] with every delta added at the place, and the clean outputs [q, d] there."""
    seen: dict[int, Tensor] = {}

    def hook(index: int) -> Any:
        def moved(_: Any, __: Any, output: Any) -> Any:
            tensor = output if isinstance(output, Tensor) else output[0]
            seen[index] = tensor[0, place].detach().clone()
            one = torch.zeros(tensor.shape[1], 1)
            one[place] = 1.0
            tensor = tensor + one * deltas[index]
            return tensor if isinstance(output, Tensor) else (tensor, *output[1:])

        return moved

    handles = [module.register_forward_hook(hook(i)) for i, module in enumerate(modules)]
    logits = model(input_ids=torch.tensor([ids])).logits[0]
    for handle in handles:
        handle.remove()
    return logits, torch.stack([seen[i] for i in range(len(modules))])
