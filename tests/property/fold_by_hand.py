"""A second fold, in plain numpy on the stored bits; shares no code with the program.

Promise: what `ledger.weights` must agree with on every bit.

Rules: one float64 outer product at a time; float64 to float32 by numpy, float32 to bfloat16 on the
bits, rounding to nearest even.

bits = bits_of(tensor)                                 # uint16 or uint32, as stored
fold(bits, "BF16", [LowRank(u, v)], transposed=False)  # the bits of the edited weights
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from editors.delta import Dense, ParameterDelta

Bits = np.ndarray[Any, Any]
DTYPES = MappingProxyType({"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16})
NAMES = MappingProxyType({dtype: name for name, dtype in DTYPES.items()})


def bits_of(tensor: torch.Tensor) -> Bits:
    """The stored bits of a tensor, a copy."""
    signed = torch.int32 if tensor.dtype == torch.float32 else torch.int16
    array = tensor.detach().contiguous().view(signed).numpy()
    return array.view(np.uint32 if signed == torch.int32 else np.uint16).copy()


def fold(bits: Bits, dtype: str, updates: Sequence[ParameterDelta], *, transposed: bool) -> Bits:
    """The bits of base plus updates. Shapes: bits [rows, cols] as stored."""
    total = widen(bits, dtype)
    for update in updates:
        for matrix in _components(update):
            total = total + (matrix.T if transposed else matrix)
    return narrow(total, dtype)


def _components(update: ParameterDelta) -> list[Bits]:
    if isinstance(update, Dense):
        return [update.w.numpy().astype(np.float64)]
    u, v = update.u.numpy().astype(np.float64), update.v.numpy().astype(np.float64)
    return [np.outer(u[:, i], v[i]) for i in range(v.shape[0])]


def widen(bits: Bits, dtype: str) -> Bits:
    """The float64 values of stored bits; exact."""
    if dtype == "BF16":
        return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return bits.view(np.float32 if dtype == "F32" else np.float16).astype(np.float64)


def narrow(total: Bits, dtype: str) -> Bits:
    """The bits of float64 values cast to float32 and then to the dtype."""
    with np.errstate(over="ignore"):
        single = total.astype(np.float32)
        if dtype == "F32":
            return single.view(np.uint32)
        if dtype == "F16":
            return single.astype(np.float16).view(np.uint16)
    word = single.view(np.uint32)
    odd = (word >> 16) & 1
    return ((word + 0x7FFF + odd) >> 16).astype(np.uint16)


def digest(bits: Bits, dtype: str) -> str:
    """sha256 of dtype, shape and bytes, as docs/formats.md has it."""
    line = f"{dtype} {'x'.join(map(str, bits.shape))}\n".encode()
    return hashlib.sha256(line + bits.tobytes()).hexdigest()
