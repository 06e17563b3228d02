"""Adam for one tensor, without state outside the object.

Promise: the same sequence of gradients gives the same sequence of tensors as `torch.optim.Adam`
with its default betas and epsilon and no weight decay; nothing global is touched.

    adam = Adam(lr=0.5)
    x = adam.step(x, gradient)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Adam:
    """Kingma & Ba 2015, algorithm 1, for one float32 tensor."""

    def __init__(self, lr: float, *, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8):
        self._lr = lr
        self._betas = betas
        self._eps = eps
        self._count = 0
        self._first: Tensor | None = None
        self._second: Tensor | None = None

    @torch.no_grad()
    def step(self, x: Tensor, gradient: Tensor) -> Tensor:
        """The next iterate, a new tensor. Shapes: x and gradient alike."""
        if self._first is None or self._second is None:
            self._first, self._second = torch.zeros_like(x), torch.zeros_like(x)
        self._count += 1
        beta1, beta2 = self._betas
        self._first.lerp_(gradient, 1 - beta1)
        self._second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        scale = math.sqrt(1 - beta2**self._count)
        denominator = (self._second.sqrt() / scale).add_(self._eps)
        return x - (self._lr / (1 - beta1**self._count)) * (self._first / denominator)
