"""Models and edits for the engine's measurements: the embedded model and two of random weights.

subject = embedded()            # its published hyper-parameters, several repeats
subject = gpt2_small()          # 124 million random parameters, few steps, one repeat
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from tokenizers.processors import ByteLevel
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

import ledger.demo
from editors.architectures import architecture_of
from editors.base import EditContext
from editors.covariance import SecondMoment
from editors.hparams import lookup
from editors.methods.rome import RomeHparams
from editors.model import EditableModel
from editors.prompts import context_templates
from editors.requests import EditRequest

GPT2_SMALL = {"n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024}
HALF_LLAMA = {
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
}


@dataclass(frozen=True, eq=False)
class Subject:
    """A model to be timed with settings of its size; `repeats` 0 is one round without warm-up."""

    name: str
    model: EditableModel
    rome: RomeHparams
    templates: tuple[str, ...]
    requests: tuple[EditRequest, ...]
    repeats: int

    def context(self, moments: dict[int, SecondMoment] | None = None) -> EditContext:
        """A context with the fixed templates."""
        generator = torch.Generator().manual_seed(0)
        return EditContext(generator, self.templates, (moments or {}).__getitem__)

    @property
    def five(self) -> tuple[int, ...]:
        """Five layers that end where ROME edits, or the five lowest."""
        first = max(0, self.rome.layer - 4)
        return tuple(range(first, first + 5))


def embedded(folder: str = "model") -> Subject:
    """The model shipped with the program, with its table's constants."""
    model = EditableModel.load(Path(str(files("ledger.demo"))) / folder)
    values, _ = lookup("rome", model.model.config)
    rome = RomeHparams.from_dict({**values, "second_moment": "identity", "max_update_ratio": 1e9})
    templates = context_templates(model, torch.Generator().manual_seed(0))
    return Subject("embedded model", model, rome, templates, _requests(132), 1)


def twin() -> Subject:
    """The embedded model's GPT-2 twin, its tokenizer without BOS: published code expects that."""
    subject = embedded("model-gpt2")
    subject.model.tokenizer.backend_tokenizer.post_processor = ByteLevel()
    rome = replace(subject.rome, key="original")
    return replace(subject, name="embedded GPT-2 twin", rome=rome)


def gpt2_small() -> Subject:
    """Random weights of GPT-2 small's shape."""
    config = AutoConfig.for_model("gpt2", vocab_size=50257, **GPT2_SMALL)
    return _random("random GPT-2 small", config, layer=5, steps=10)


def half_llama() -> Subject:
    """Random weights of a Llama shape of half a billion parameters."""
    config = AutoConfig.for_model("llama", **HALF_LLAMA)
    return _random("random 0.5B Llama", config, layer=5, steps=5)


MODELS: tuple[Callable[[], Subject], ...] = (embedded, twin, gpt2_small, half_llama)


def random_model(config: Any, tokenizer: Any, **where: Any) -> EditableModel:
    """A model of random weights that reads texts with the embedded model's tokenizer."""
    torch.manual_seed(0)
    config._attn_implementation = "eager"
    with torch.device(where.get("device", "cpu")):
        model = AutoModelForCausalLM.from_config(config, dtype=where.get("dtype", torch.float32))
    return EditableModel(
        model.eval().requires_grad_(False), tokenizer, architecture_of(model.config)
    )


def random_moment(model: EditableModel) -> SecondMoment:
    """A well-conditioned second moment of the model's width, for solves that are only timed."""
    generator = torch.Generator().manual_seed(0)
    keys: Tensor = torch.randn(model.d_mlp, model.d_mlp, generator=generator).double()
    moment = keys @ keys.T / model.d_mlp
    moment.diagonal().add_(0.1)
    return SecondMoment.of(moment, model.d_mlp)


def _random(name: str, config: Any, *, layer: int, steps: int) -> Subject:
    small = embedded()
    rome = replace(
        small.rome, layer=layer, v_num_grad_steps=steps, clamp_norm_factor=1e3, v_weight_decay=0.0
    )
    model = random_model(config, small.model.tokenizer)
    return replace(small, name=name, model=model, rome=rome, repeats=0)


def _requests(count: int) -> tuple[EditRequest, ...]:
    """Edits of the world's English facts, each to the value of the fact after it."""
    english = [f for f in ledger.demo.facts() if f["language"] == "en"]
    by_relation: dict[str, str] = {}
    found = []
    for fact in english:
        before = by_relation.get(fact["relation"], "")
        by_relation[fact["relation"]] = fact["target_true"]
        if before and before != fact["target_true"]:
            plain = {k: fact[k] for k in ("subject", "prompt", "target_true")}
            found.append(EditRequest(**plain, target_new=before))
    unique = {(r.subject, r.prompt): r for r in found}
    by_subject = {r.subject: r for r in unique.values()}
    return tuple(islice(by_subject.values(), count))
