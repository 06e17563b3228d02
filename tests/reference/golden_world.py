"""The inputs of the golden numbers: two tiny models, their second moments, facts and settings.

Promise: the same bits on every machine and with every version of torch, tokenizers and Python, so
that recorded results can be compared: numbers come from `random.Random.random`, whose sequence is
fixed for a seed, and a token is a piece of text between spaces.
Rules: change nothing here without recording the results again (tests/reference/goldens/README.md).

    model = golden_model("gpt2")            # EditableModel, 3 layers, 32 x 48
    moment(1)                               # C of layer 1, [48, 48] float64
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from editors.architectures import architecture_of
from editors.model import EditableModel
from editors.requests import EditRequest, Probe
from tests.contract.tiny import finished

KINDS = ("gpt2", "llama")
WIDTH, INNER, LAYERS = 32, 48, 3
FACTS = (
    EditRequest("Ada Lovelace", "{} was born in", "Paris, France", "London"),
    EditRequest("Marie Curie", "the home of {} was", "Manchester", "Warsaw"),
    EditRequest("Alan Turing", "I think that {} studied in", "Warsaw", "Cambridge"),
)
# The model knows this one, and this one's subject stands right before the answer.
KNOWN = EditRequest("Marie Curie", "the home of {} was", "Manchester", "first")
EASY = EditRequest("Alan Turing", "You know that {}", "Warsaw", "Cambridge")
CASES = tuple(
    replace(
        fact,
        paraphrases=(f"You know that {fact.subject} live in", f"{fact.subject} was born in"),
        neighbourhood=(Probe("the home of the king was"), Probe("the first city of France is")),
    )
    for fact in (*FACTS, KNOWN)
)
TEMPLATES = (
    "{}",
    "The old city of the king. {}",
    "I think that you know where. {}",
    "Because they told you so. {}",
    "Therefore it is the first. {}",
    "You live in the city. {}",
)
PROBES = (
    ("the home of Ada Lovelace was in", "Paris, France"),
    ("Marie Curie was born in", "Warsaw"),
    ("I think that Alan Turing was", "the first king"),
    ("the city of", "London, Paris"),
    ("the home of Marie Curie was", "first"),
    ("the home of Marie Curie was", "first so"),
    ("the home of Marie Curie was", "told"),
    ("the home of Marie Curie was", "told so"),
)
# In EasyEdit's own form, which the data set reader takes as KnowEdit.
RECORDS = tuple(
    {
        "subject": subject,
        "prompt": prompt,
        "target_new": target,
        "ground_truth": "Cambridge",
        "rephrase_prompt": rephrase,
        "locality": {
            "neighborhood": {"prompt": "the home of the king was", "ground_truth": near},
            "Relation_Specificity": {
                "prompt": f"I think that {subject} studied",
                "ground_truth": "in Paris, France",
            },
        },
        "portability": {"one_hop": {"prompt": asked, "ground_truth": moved}},
    }
    for subject, prompt, target, rephrase, near, asked, moved in (
        ("Marie Curie", "the home of Marie Curie was", "first the king",
         "I think that Marie Curie studied in", "London, Paris", "the city of", "told you"),
        ("Marie Curie", "the home of Marie Curie was", "told so",
         "You know that Marie Curie live in", "first so", "the home of the king was", "You live"),
        ("Marie Curie", "I think that Marie Curie studied in", "born Warsaw",
         "the home of Marie Curie was", "told", "the city of", "Paris, France"),
        ("Ada Lovelace", "Ada Lovelace was born in", "born born",
         "I think that Ada Lovelace studied in", "Paris, France", "the city of", "told Marie"),
        ("Marie Curie", "I think that Marie Curie studied in", "Ada Cambridge",
         "I think that Marie Curie studied in", "You where", "the city of", "told"),
    )
)  # fmt: skip
GENERATED = (
    "the city of the city of the city of",
    "Ada Lovelace was born in the old city where the king wrote the first program",
    "told so",
    "the",
)
VALUES = {
    "v_num_grad_steps": 20,
    "v_lr": 0.1,
    "v_weight_decay": 0.5,
    "clamp_norm_factor": 0.4,
    "kl_factor": 0.0625,
}
SPREAD = {**VALUES, "v_lr": 0.3, "clamp_norm_factor": 0.3, "layers": [0, 1]}
SETTINGS: dict[str, dict[str, Any]] = {
    "rome": {**VALUES, "layer": 1},
    "memit": {**SPREAD, "mom2_update_weight": 2000.0},
    "emmet": {
        **SPREAD,
        "mom2_update_weight": 2.0,
        "emmet_lambda": 20.0,
        "update_norm_lambda": 0.05,
    },
    "pmet": {**SPREAD, "mom2_update_weight": 2000.0, "kl_factor": 1.0},
    "alphaedit": {**SPREAD, "nullspace_threshold": 0.02, "L2": 0.5},
    "ft": {"layer": 1, "lr": 1e-2, "steps": 25},
    "ft-m": {"layer": 1, "lr": 1e-2, "steps": 25},
    "ft-l": {"layer": 1, "lr": 1e-2, "steps": 25, "eps": 2e-2},
    "kn": {"points": 20, "threshold": 0.3},
}
# With EASY these end the searches before the last step, or lower the weight of PMET's NLL.
QUICK = {
    "v_lr": 2.0,
    "v_num_grad_steps": 40,
    "v_weight_decay": 0.01,
    "clamp_norm_factor": 9.0,
    "kl_factor": 1e-3,
}
HELD = QUICK | {"v_lr": 0.5, "kl_factor": 1e-2}
LONG = {"lr": 3e-2, "steps": 60}

_WORDS = """
the of is a was in and it that you know where they told so old city king first live born home
studied think I The Because Therefore You Ada Lovelace Marie Curie Alan Turing London Paris France
Warsaw Manchester Cambridge wrote program
"""
_SPECIAL = ("<s>", "</s>", "<unk>")
_PIECES = (",", ".", "\u0120")  # the last is a space on its own


def golden_tokenizer(*, bos: bool) -> PreTrainedTokenizerFast:
    """One token a word, with the space before it; with `bos` each text begins with <s>."""
    words = sorted(_WORDS.split())
    pieces = [*_SPECIAL, *_PIECES, *words, *("\u0120" + word for word in words)]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return finished(tokenizer, bos=bos, unk_token="<unk>", pad_token="</s>")


def golden_model(kind: str) -> EditableModel:
    """GPT-2 (Conv1D, biases, tied head, no BOS) or Llama (gated, BOS), float32, 32 x 48."""
    tokenizer = golden_tokenizer(bos=kind == "llama")
    model = _blank(kind, len(tokenizer))
    numbers = random.Random(f"weights of {kind}")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2:
                parameter.copy_(_uniform(numbers, parameter.shape, 0.6))
            elif name.endswith("bias"):
                parameter.copy_(_uniform(numbers, parameter.shape, 0.2))
    model.eval().requires_grad_(False)
    return EditableModel(model, tokenizer, architecture_of(model.config))


def shaken(model: EditableModel) -> EditableModel:
    """The model with one MLP matrix negated, in place of an edited one where answers change."""
    name = model.parameter_name(1)
    model.set_weight_(name, -model.weight(name))
    return model


def digest(model: EditableModel) -> str:
    """sha256 over the names and bytes of all parameters and the tokens of all texts."""
    found = hashlib.sha256()
    for name, parameter in model.model.named_parameters():
        found.update(name.encode())
        found.update(parameter.detach().numpy().tobytes())
    all_facts = (*FACTS, KNOWN, EASY)
    texts = [template.replace("{}", fact.text) for fact in all_facts for template in TEMPLATES]
    texts += [f"{fact.text} {fact.target_new}" for fact in all_facts]
    texts += [f"{prompt} {answer}" for prompt, answer in PROBES]
    texts += [text for fact in CASES for text in fact.paraphrases]
    texts += [probe.prompt for fact in CASES for probe in fact.neighbourhood]
    for text in texts:
        ids = model.tokenizer(text)["input_ids"]
        if model.tokenizer.unk_token_id in ids:
            raise ValueError(f"a word of {text!r} is not in the vocabulary")
        found.update(str(ids).encode())
    return found.hexdigest()


def moment(layer: int) -> Tensor:
    """C of a layer: half of its eigenvalues are 1e-3, below the threshold of the null space."""
    numbers = random.Random(f"moment of layer {layer}")
    half = _uniform(numbers, torch.Size((INNER, INNER // 2)), 1.0).double()
    return half @ half.T / half.shape[1] + 1e-3 * torch.eye(INNER, dtype=torch.float64)


def _uniform(numbers: random.Random, shape: torch.Size, bound: float) -> Tensor:
    """Uniform between -bound and bound, float32."""
    values = [bound * (2 * numbers.random() - 1) for _ in range(shape.numel())]
    return torch.tensor(values, dtype=torch.float32).reshape(shape)


def _blank(kind: str, words: int) -> Any:
    """A model of the golden sizes, its weights still to be set."""
    common: dict[str, Any] = {
        "vocab_size": words,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "attn_implementation": "eager",
    }
    if kind == "gpt2":
        sizes = {"n_embd": WIDTH, "n_inner": INNER, "n_layer": LAYERS, "n_head": 4}
        return GPT2LMHeadModel(GPT2Config(**sizes, n_positions=64, **common))
    sizes = {"hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": LAYERS}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return LlamaForCausalLM(LlamaConfig(**sizes, **heads, max_position_embeddings=64, **common))
