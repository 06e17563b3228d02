"""The processes that share one measurement, as `torchrun` starts them.

Promise: the first process sees every other's result in the order of the ranks, so what it adds up
does not depend on how many there are.
Rules: outside of torchrun there is one process, and nothing of torch.distributed is touched; gloo
carries tensors of the CPU, nccl those of CUDA devices, of which each process takes its own.

    with team_of_processes() as team:
        texts = team.shared(texts)                      # rank 0's, on every rank
        product = team.to_first(product, 1)             # rank 1's, on rank 0
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Team:
    """This process's number among `size`."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process adds up and records."""
        return self.rank == 0

    def to_first(self, own: Tensor | None, source: int) -> Tensor | None:
        """On rank 0 the tensor `own` of rank `source`; None on all others.

        Rank 0's own tensor tells shape, dtype and device of what it is sent.
        """
        if not self.first:
            if self.rank == source and own is not None:
                dist.send(own.contiguous(), dst=0)
            return None
        if source == 0 or own is None:
            return own
        received = torch.empty_like(own)
        dist.recv(received, src=source)
        return received

    def shared(self, value: Any) -> Any:
        """Rank 0's `value` (plain JSON) on every rank."""
        if self.size == 1:
            return value
        text = json.dumps(value).encode() if self.first else b""
        length = torch.tensor([len(text)])
        dist.broadcast(length, src=0)
        body = torch.empty(int(length), dtype=torch.uint8)
        if self.first:
            body = torch.frombuffer(bytearray(text), dtype=torch.uint8)
        dist.broadcast(body, src=0)
        return json.loads(body.numpy().tobytes())


@contextmanager
def team_of_processes() -> Iterator[Team]:
    """The team that torchrun's environment names; a process by itself without one.

    Enter before a model is loaded: with CUDA, "cuda" then means this process's device.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Team()
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    try:
        yield Team(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
