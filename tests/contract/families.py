"""One tiny random model per model type of the table, with its family's way of tokenising.

build_family("mistral", folder)       # EditableModel; folder holds the saved checkpoint
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from editors.architectures import ARCHITECTURES
from editors.model import EditableModel
from editors.recognition import architecture_for
from tests.contract.tiny import TEXTS, finished

CORPUS = [
    *TEXTS,
    "Zoé Öğüt was born in Köln and lived in Málaga.",
    "我知道鲁迅出生于绍兴。老舍住在北京。",
    "The home city of Zoé Öğüt is Köln.",
]
VOCABULARY = 420
COMMON = {
    "vocab_size": VOCABULARY + 28,  # as in published models, more rows than tokens
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
    "max_position_embeddings": 128,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
_GPT = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 128}
SIZES: dict[str, dict[str, Any]] = {
    "gpt2": _GPT,
    "gptj": {**_GPT, "rotary_dim": 4},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "bloom": {"n_layer": 3, "n_head": 4},
    "falcon": {"ffn_hidden_size": 48},
}
SPECIAL = ["<s>", "</s>", "<unk>"]
_BYTES = [f"<0x{i:02X}>" for i in range(256)]


def byte_level(*, bos: bool = False, nfc: bool = False, prefix: bool = False) -> Any:
    """GPT-2, Llama 3 (BOS), Qwen (NFC): byte-level BPE; `prefix` as of RoBERTa's kind."""
    tokenizer = Tokenizer(models.BPE())
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return _trained(tokenizer, trainers.BpeTrainer, bos, initial_alphabet=alphabet)


def sentence_pieces(*, bos: bool = True, prefix: bool = True) -> Any:
    """Llama 2, Phi 3 (no BOS), Gemma (no prefix): BPE over ▁, what it lacks as bytes."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    spaces = normalizers.Replace(" ", "▁")
    tokenizer.normalizer = (
        normalizers.Sequence([normalizers.Prepend("▁"), spaces]) if prefix else spaces
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            *([decoders.Strip(" ", 1, 0)] if prefix else []),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    return _trained(tokenizer, trainers.BpeTrainer, bos, special_tokens=[*SPECIAL, *_BYTES])


def metaspace(*, bos: bool = True, scheme: str = "first") -> Any:
    """Mistral of today: the ▁ comes from the pre-tokenizer, at the first word only."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme=scheme)]
    )
    return _trained(tokenizer, trainers.BpeTrainer, bos, special_tokens=[*SPECIAL, *_BYTES])


def unigram(*, bos: bool = True) -> Any:
    """SentencePiece's other model: Unigram over ▁, a prefix before every text."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    return _trained(tokenizer, trainers.UnigramTrainer, bos, unk_token="<unk>")


TOKENIZERS: dict[str, Callable[[], Any]] = {
    "gpt2": byte_level,
    "gptj": byte_level,
    "gpt_neox": lambda: byte_level(nfc=True),
    "opt": lambda: byte_level(bos=True),
    "bloom": byte_level,
    "falcon": byte_level,
    "llama": sentence_pieces,
    "mistral": metaspace,
    "qwen2": lambda: byte_level(nfc=True),
    "qwen3": lambda: byte_level(nfc=True),
    "gemma": lambda: sentence_pieces(prefix=False),
    "gemma2": unigram,
    "gemma3_text": lambda: sentence_pieces(prefix=False),
    "phi": lambda: byte_level(prefix=True),
    "phi3": lambda: sentence_pieces(bos=False),
}
FAMILIES = sorted(ARCHITECTURES)


def random_model(model_type: str, **fields: Any) -> Any:
    """A transformers model of three layers with weights that are far from a no-op."""
    size = SIZES.get(model_type, {})
    derived = {"head_dim"} if model_type == "falcon" else set()
    common = {k: v for k, v in COMMON.items() if k not in derived}
    if "n_embd" in size:
        common = {k: v for k, v in common.items() if k.endswith("_id") or k == "vocab_size"}
    config = AutoConfig.for_model(model_type, **{**common, **size, **fields})
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    for parameter in model.parameters():
        if parameter.ndim == 2:
            nn.init.normal_(parameter, 0.0, 0.2)
    return model.eval().requires_grad_(False)


def build_family(model_type: str, folder: Path | None = None) -> EditableModel:
    """The model type with its tokenizer; saved in `folder` if there is one."""
    model, tokenizer = random_model(model_type), TOKENIZERS[model_type]()
    if folder is not None:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return EditableModel(model, tokenizer, architecture_for(model))


def _trained(tokenizer: Any, trainer: Any, bos: bool, **options: Any) -> Any:
    settings = {"vocab_size": VOCABULARY, "special_tokens": SPECIAL, "show_progress": False}
    tokenizer.train_from_iterator(CORPUS * 3, trainer(**{**settings, **options}))
    fields = json.loads(tokenizer.to_str())
    # Given to the trainer as special tokens, so that they come first; text consists of them.
    fields["added_tokens"] = [t for t in fields["added_tokens"] if t["content"] in SPECIAL]
    return finished(Tokenizer.from_str(json.dumps(fields)), bos=bos, unk_token="<unk>")
