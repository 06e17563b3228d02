"""Models spread over several devices, main memory and the disk, as accelerate spreads them.

Promise: a matrix is read, replaced and swapped alike wherever it lies; what is not on a device is
fetched for the moment it is needed, and a written matrix stays in main memory.
Rules: accelerate's hooks are the module's attribute `_hf_hook`; nothing here imports it, and a
model without them is left to torch. An offloaded parameter is on the meta device and its value in
the hook's `weights_map`. A swap is a `forward` of the module's own, taken away again.

    value(module, "weight")                 # on the device where the module runs
    with swapped(model, {name: matrix}):    # [d_out, d_in], in place of the parameter
        model(ids)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


def home(root: nn.Module) -> torch.device | None:
    """Where the inputs of a spread model go and its outputs come from; None if it is not spread."""
    placed = getattr(root, "hf_device_map", None)
    if not placed:
        return None
    devices = [device for device in placed.values() if device not in ("cpu", "disk")]
    return torch.device(devices[0] if devices else "cpu")


def places(root: nn.Module) -> str | None:
    """The devices of a spread model, for the record: "0+cpu+disk"."""
    placed = getattr(root, "hf_device_map", None)
    return "+".join(dict.fromkeys(str(device) for device in placed.values())) if placed else None


def runs_on(module: nn.Module) -> torch.device:
    """The device of a module's computation."""
    hook = _offloading(module)
    weight: Tensor = module.get_parameter("weight")
    return weight.device if hook is None else torch.device(hook.execution_device)


def value(module: nn.Module, name: str) -> Tensor:
    """A parameter's value: the live tensor, or a copy of what is offloaded."""
    found: Tensor = module.get_parameter(name).detach()
    hook = _offloading(module)
    if hook is None:
        return found
    stored: Tensor = hook.weights_map[name]
    return stored.detach().to(device=hook.execution_device, dtype=found.dtype)


def bias(module: nn.Module) -> Tensor | None:
    """The bias of a projection, if it has one."""
    return None if getattr(module, "bias", None) is None else value(module, "bias")


def write(module: nn.Module, name: str, new: Tensor) -> None:
    """Put a value, of the parameter's own shape, in the place of the parameter's."""
    target: Tensor = module.get_parameter(name)
    hook = _offloading(module)
    with torch.no_grad():
        if hook is None:
            target.copy_(new)
        else:
            kept = new.detach().to(device="cpu", dtype=target.dtype).clone()
            hook.weights_map = _Changed(hook.weights_map, {name: kept})


@contextmanager
def swapped(root: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Projections computed with other matrices inside the block: parameter -> [d_out, d_in]."""
    with ExitStack() as stack:
        for name, weight in weights.items():
            module = root.get_submodule(name.removesuffix(".weight"))
            stack.enter_context(_computing(module, weight))
        yield


@contextmanager
def _computing(module: Any, weight: Tensor) -> Iterator[None]:
    """In place of `forward`, into which accelerate may have put the fetching of the own matrix."""
    earlier, added = module.__dict__.get("forward"), bias(module)
    module.forward = lambda x: linear(x.to(weight.device), weight, added)
    try:
        yield
    finally:
        del module.forward
        if earlier is not None:
            module.forward = earlier


class _Changed(Mapping[str, Tensor]):
    """Offloaded values, some of which were written since."""

    def __init__(self, stored: Any, changed: Mapping[str, Tensor]) -> None:
        again = isinstance(stored, _Changed)
        self.stored: Mapping[str, Tensor] = stored.stored if again else stored
        self.changed: Mapping[str, Tensor] = {**(stored.changed if again else {}), **changed}

    def __getitem__(self, name: str) -> Tensor:
        return self.changed[name] if name in self.changed else self.stored[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.stored)

    def __len__(self) -> int:
        return len(self.stored)


def _offloading(module: nn.Module) -> Any:
    """The hook that fetches the module's parameters, or None."""
    hook: Any = getattr(module, "_hf_hook", None)
    for one in getattr(hook, "hooks", (hook,)):
        if getattr(one, "offload", False) and one.weights_map is not None:
            return one
    return None
