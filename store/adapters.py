"""The weight file of a PEFT adapter.

Promise: the same tensors give the same bytes; any safetensors reader takes them.
Rules: float32; one metadata entry, `format: pt`, which PEFT and the serving engines look for; two
entries would make the bytes differ from call to call.

    data = encode_adapter({"base_model.model.model.layers.0.mlp.down_proj.lora_A.weight": a})
    read_adapter(folder / "adapter_model.safetensors")     # the same tensors
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors.numpy import save

from store.checkpoints import read_tensor
from store.errors import CheckpointCorrupt
from store.headers import read_header

Array = np.ndarray[Any, np.dtype[np.float32]]
_METADATA: Final = {"format": "pt"}


def encode_adapter(tensors: Mapping[str, Array]) -> bytes:
    """The bytes of an adapter's weight file. Shapes: any."""
    ready = {name: np.ascontiguousarray(tensors[name], "<f4") for name in sorted(tensors)}
    return bytes(save(ready, metadata=_METADATA))


def read_adapter(path: Path) -> dict[str, Array]:
    """The tensors of an adapter's weight file, finite float32.

    Raises: CheckpointMissing, CheckpointCorrupt, StoreReadError.
    """
    found: dict[str, Array] = {}
    for entry in read_header(path):
        if entry.dtype != "F32":
            raise CheckpointCorrupt(f"{entry.name[:200]!r} in {path} is {entry.dtype}, not F32")
        array = read_tensor(entry).view("<f4").reshape(entry.shape)
        if not np.isfinite(array).all():
            raise CheckpointCorrupt(f"{entry.name[:200]!r} in {path} is not finite everywhere")
        found[entry.name] = array
    return found
