"""Deltas as stored objects, and stored objects as deltas.

Promise: what is applied is what was decoded from the stored bytes; the same delta gives the same
object id. The format is `kel.delta/1` (docs/formats.md).

Rules: per parameter `<parameter>.u` [d_out, r] and `.v` [r, d_in], or `.dense` [d_out, d_in];
`.key` [d_in, n] and `.value` [d_out, n] beside them where the method has them; float32, Linear
layout. The one metadata entry holds schema, method, base digest, context templates, and why the
layer was chosen where a rule chose it.

    data = encode_delta(delta, method="rome", base_digest=base.digest)
    stored = decode_delta(data)
    stored.parameters["model.layers.3.mlp.down_proj.weight"].u
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from editors.delta import Delta, Dense, LowRank, ParameterDelta
from ledger.errors import IntegrityFailure
from store.tensors import decode, encode

SCHEMA = "kel.delta/1"
LAYER_CHOICE = "layer_choice"
_PARTS = ("u", "v", "dense", "key", "value")


def encode_delta(delta: Delta, *, method: str, base_digest: str) -> bytes:
    """The canonical bytes of a delta."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for name, change in delta.parameters.items():
        for part, tensor in _tensors(change):
            arrays[f"{name}.{part}"] = tensor.numpy()
    for name in delta.keys:
        arrays[f"{name}.key"] = delta.keys[name].numpy()
        arrays[f"{name}.value"] = delta.values[name].numpy()
    meta: dict[str, object] = {
        "schema": SCHEMA,
        "method": method,
        "base": base_digest,
        "templates": list(delta.templates),
    }
    if LAYER_CHOICE in delta.evidence:
        meta[LAYER_CHOICE] = delta.evidence[LAYER_CHOICE]
    return encode(arrays, meta)


def decode_delta(data: bytes) -> Delta:
    """The delta of an object's bytes (checked against their name before).

    Raises: ObjectRejected for bytes that are no canonical object, IntegrityFailure for an object
    that is not a delta of this schema.
    """
    decoded = decode(data)
    meta = decoded.meta or {}
    if meta.get("schema") != SCHEMA:
        raise IntegrityFailure(
            f"the object's schema is {meta.get('schema')!r}, not {SCHEMA}: it is no delta, or it "
            "was written by another version of this program"
        )
    parts: dict[str, dict[str, Tensor]] = {}
    for full, array in decoded.tensors.items():
        name, _, part = full.rpartition(".")
        if part not in _PARTS:
            raise IntegrityFailure(f"the delta holds an unknown tensor {full!r}")
        parts.setdefault(name, {})[part] = torch.from_numpy(np.array(array))
    return Delta(
        parameters={name: _change(name, found) for name, found in parts.items()},
        keys={name: found["key"] for name, found in parts.items() if "key" in found},
        values={name: found["value"] for name, found in parts.items() if "value" in found},
        templates=tuple(meta.get("templates", ())),
        evidence={name: meta[name] for name in (LAYER_CHOICE,) if name in meta},
    )


def _tensors(change: ParameterDelta) -> tuple[tuple[str, Tensor], ...]:
    if isinstance(change, Dense):
        return (("dense", change.w),)
    return (("u", change.u), ("v", change.v))


def _change(name: str, found: Mapping[str, Tensor]) -> ParameterDelta:
    if set(found) & {"u", "v", "dense"} == {"dense"}:
        return Dense(found["dense"])
    if set(found) & {"u", "v", "dense"} == {"u", "v"}:
        return LowRank(found["u"], found["v"])
    raise IntegrityFailure(f"the delta of {name} has neither u and v nor dense")
