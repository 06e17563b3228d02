"""Ledgers with edits whose deltas are given, and a checkpoint that is large enough to measure.

base = synthetic(folder / "base")
ledger = with_edits(folder / "ledger", base, {parameter: (4096, 11008)})
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from editors.delta import Delta, LowRank
from ledger import Ledger
from ledger.weights import Accumulator, digest
from tests.property.delta_ledger import apply

HEADS, KEY_HEADS, HEAD = 4, 1, 128


@dataclass(frozen=True)
class Shape:
    """The sizes of a Llama; `edited` are its MLP output projections."""

    hidden: int
    inner: int
    layers: int
    vocabulary: int

    @property
    def edited(self) -> dict[str, tuple[int, int]]:
        """Name -> shape."""
        names = [f"model.layers.{layer}.mlp.down_proj.weight" for layer in range(self.layers)]
        return dict.fromkeys(names, (self.hidden, self.inner))


# Both have about 600 MB in bfloat16: many small matrices as in TinyLlama, few large as in Llama 7B.
MANY, LARGE = Shape(2048, 5632, 7, 8000), Shape(4096, 11008, 2, 2000)


def synthetic(folder: Path, shape: Shape) -> Path:
    """A checkpoint of random bfloat16 with a shard for each layer and one for the rest."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(_config(shape), indent=1), "utf-8")
    (folder / "tokenizer.json").write_text("{}", "utf-8")
    parts = [_ends(shape), *(_layer(shape, f"model.layers.{i}.") for i in range(shape.layers))]
    names = [f"model-{i + 1:05d}-of-{len(parts):05d}.safetensors" for i in range(len(parts))]
    weight_map: dict[str, str] = {}
    for name, part in zip(names, parts, strict=True):
        tensors = {key: _random(size) for key, size in part.items()}
        save_file(tensors, folder / name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(tensors, name)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    return folder


def _config(shape: Shape) -> dict[str, object]:
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": shape.hidden,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_HEADS,
        "head_dim": HEAD,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    }


def _ends(shape: Shape) -> dict[str, tuple[int, ...]]:
    table = (shape.vocabulary, shape.hidden)
    norm = {"model.norm.weight": (shape.hidden,)}
    return {"model.embed_tokens.weight": table, "lm_head.weight": table, **norm}


def _layer(shape: Shape, prefix: str) -> dict[str, tuple[int, ...]]:
    heads, hidden, inner = HEADS * HEAD, shape.hidden, shape.inner
    shapes: dict[str, tuple[int, ...]] = {
        "self_attn.q_proj.weight": (heads, hidden),
        "self_attn.k_proj.weight": (KEY_HEADS * HEAD, hidden),
        "self_attn.v_proj.weight": (KEY_HEADS * HEAD, hidden),
        "self_attn.o_proj.weight": (hidden, heads),
        "mlp.gate_proj.weight": (inner, hidden),
        "mlp.up_proj.weight": (inner, hidden),
        "mlp.down_proj.weight": (hidden, inner),
        "input_layernorm.weight": (hidden,),
        "post_attention_layernorm.weight": (hidden,),
    }
    return {prefix + name: size for name, size in shapes.items()}


def _random(shape: tuple[int, ...]) -> Tensor:
    return torch.empty(shape, dtype=torch.bfloat16).normal_(0.0, 0.02)


def update(shape: Sequence[int], seed: int) -> LowRank:
    """A rank-one change of the size that an edit has."""
    random = torch.Generator().manual_seed(seed)
    u = torch.randn(shape[0], 1, generator=random) * 0.01
    return LowRank(u, torch.randn(1, shape[1], generator=random) * 0.01)


class Growing:
    """Edits of one matrix, one after the other, each at the cost of one: the sum is kept."""

    def __init__(self, ledger: Ledger, parameter: str) -> None:
        versions = ledger.workspace.versions
        base = versions.base(parameter)
        self._ledger, self._parameter = ledger, parameter
        self._total = Accumulator(base, transposed=versions.transposed)

    def add(self, change: LowRank) -> None:
        """Record an edit of this change."""
        self.made(change)
        found = digest(self._total.weights())
        apply(self._ledger, {self._parameter: change}, tensors={self._parameter: found})

    def made(self, change: LowRank) -> None:
        """Take in an edit that is recorded already."""
        self._total.add(change)


def with_edits(
    folder: Path, base: Path | str, edits: Sequence[Mapping[str, tuple[int, int]]]
) -> Ledger:
    """A ledger with one edit per item: rank one, with key and value, in the named matrices."""
    ledger = Ledger.init(folder, base=str(base), author="bench")
    for number, shapes in enumerate(edits):
        changes = {name: update(shape, number) for name, shape in shapes.items()}
        keys = {name: change.v.T.contiguous() for name, change in changes.items()}
        values = {name: change.u for name, change in changes.items()}
        apply(ledger, Delta(changes, keys, values))
    return ledger
