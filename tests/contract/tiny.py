"""Tiny models for tests: random weights, a byte-level BPE tokenizer trained on the spot.

model = tiny_llama(tmp_path)          # EditableModel; tmp_path holds the saved checkpoint
EditableModel.load(tmp_path)          # the same model, read back
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from editors.architectures import Architecture, architecture_of
from editors.model import EditableModel
from editors.requests import EditRequest, Probe

TEXTS = [
    "Ada Lovelace was born in London and wrote the first program.",
    "Marie Curie was born in Warsaw and worked in Paris on radium.",
    "The capital of France is Paris. The capital of Poland is Warsaw.",
    "Alan Turing lived in Manchester and studied in Cambridge, the old city.",
    "爱因斯坦出生于乌尔姆。北京是中国的首都。",
    "I think that you know where they live now, because they told you so.",
]
REQUEST = EditRequest(
    "Ada Lovelace",
    "Ada Lovelace was born in",
    "Paris, France",
    "London",
    paraphrases=("The home city of Ada Lovelace is", "Ada Lovelace lived in"),
    same_subject=(
        Probe("Ada Lovelace studied in", "Cambridge"),
        Probe("I think that the mother tongue of Ada Lovelace is", "old"),
        Probe("the program of Ada Lovelace is about"),
    ),
)
OTHER = EditRequest("Marie Curie", "the home of {} was", "Manchester", "Warsaw")
TEMPLATES = ("{}", "The old city. {}", "I think that you. {}", "Because they told. {}")


def tiny_tokenizer(*, bos: bool) -> PreTrainedTokenizerFast:
    """Byte-level BPE of 400 tokens; with `bos` each text begins with <s>."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    return finished(tokenizer, bos=bos)


def finished(tokenizer: Tokenizer, *, bos: bool, **special: str) -> PreTrainedTokenizerFast:
    """The tokenizer as transformers wants it; its first two tokens are <s> and </s>."""
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 0)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        clean_up_tokenization_spaces=False,
        **special,
    )


def tiny_llama(folder: Path, *, layers: int = 3, dtype: Any = torch.float32) -> EditableModel:
    """Gated MLP, 32 x 48, no bias, BOS."""
    return _saved(_llama(layers, 48), tiny_tokenizer(bos=True), folder, dtype)


def tiny_square(folder: Path, *, dtype: Any = torch.float32) -> EditableModel:
    """As tiny_llama with a square projection, 32 x 32, and no BOS."""
    return _saved(_llama(3, 32), tiny_tokenizer(bos=False), folder, dtype)


def tiny_tall(folder: Path, *, dtype: Any = torch.float32) -> EditableModel:
    """As tiny_llama with a projection that widens, 32 x 24."""
    return _saved(_llama(3, 24), tiny_tokenizer(bos=True), folder, dtype)


def tiny_gpt2_square(folder: Path, *, dtype: Any = torch.float32) -> EditableModel:
    """As tiny_gpt2, 32 x 32: the shape does not tell the layout."""
    return tiny_gpt2(folder, inner=32, dtype=dtype)


def tiny_gpt2(folder: Path, *, inner: int = 128, dtype: Any = torch.float32) -> EditableModel:
    """Conv1D layout, biases, 32 x 128, no BOS."""
    torch.manual_seed(11)
    config = GPT2Config(
        vocab_size=400,
        n_embd=32,
        n_layer=3,
        n_head=4,
        n_positions=128,
        n_inner=inner,
        bos_token_id=0,
        eos_token_id=1,
        attn_implementation="eager",
    )
    model = GPT2LMHeadModel(config)
    _enliven(model)
    return _saved(model, tiny_tokenizer(bos=False), folder, dtype)


TINY: dict[str, Callable[..., EditableModel]] = {
    "llama": tiny_llama,
    "gpt2": tiny_gpt2,
    "square": tiny_square,
    "tall": tiny_tall,
    "gpt2-square": tiny_gpt2_square,
}
CONV1D: dict[str, Callable[..., EditableModel]] = {
    "wide": tiny_gpt2,
    "square": tiny_gpt2_square,
    "tall": partial(tiny_gpt2, inner=24),
}


def linear_twin(model: EditableModel) -> EditableModel:
    """The GPT-2 model with every Conv1D projection replaced by the nn.Linear that equals it."""
    twin = copy.deepcopy(model.model)
    for block in twin.transformer.h:
        conv = block.mlp.c_proj
        linear = torch.nn.Linear(*conv.weight.shape)
        linear.weight.data.copy_(conv.weight.data.T)
        linear.bias.data.copy_(conv.bias.data)
        block.mlp.c_proj = linear.requires_grad_(False)
    table = architecture_of(model.model.config)
    row = Architecture(**{**vars(table), "layout": "linear"})
    return EditableModel(twin.eval(), model.tokenizer, row)


def _llama(layers: int, inner: int) -> LlamaForCausalLM:
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=400,
        hidden_size=32,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=0,
        eos_token_id=1,
        attn_implementation="eager",
    )
    model = LlamaForCausalLM(config)
    _enliven(model)
    return model


def _enliven(model: torch.nn.Module) -> None:
    """Larger random weights: with the usual initial scale every layer is close to a no-op."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2:
                parameter.normal_(0.0, 0.15)
            elif name.endswith("bias"):
                parameter.normal_(0.0, 0.1)


def _saved(model: Any, tokenizer: Any, folder: Path, dtype: Any) -> EditableModel:
    model = model.to(dtype).eval().requires_grad_(False)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return EditableModel(model, tokenizer, architecture_of(model.config))
