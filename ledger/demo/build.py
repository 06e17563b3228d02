"""Builds the embedded models from nothing: world, tokenizer, training, bf16 safetensors.

Promise: `python -m ledger.demo.build` writes `model/` (Llama, shipped as `--base demo`) and
`model-gpt2/` (the same world in a GPT-2 architecture) and `facts.jsonl`; seeds are fixed.

    python -m ledger.demo.build --out ledger/demo
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tqdm import tqdm
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from ledger.demo.corpus import BOS, EOS, PAD, RowSampler, train_tokenizer
from ledger.demo.training import Phase, Recipe, gpt2_forward, llama_forward, train
from ledger.demo.world import World, build_world

log = logging.getLogger(__name__)

CONTEXT = 256
# Facts first with plain attention; then the masks, for more and more of the rows.
PHASES = (
    Phase(steps=800, lr=3e-3, last_only=0.0, alone=0.0, blind=0.0),
    Phase(steps=700, lr=1e-3, last_only=0.6, alone=0.5, blind=0.5),
    Phase(steps=800, lr=1e-3, last_only=0.95, alone=0.9, blind=0.9),
)
LLAMA = Recipe(phases=PHASES, blind_layers=4, rows=16)
GPT2 = Recipe(phases=PHASES, blind_layers=3, rows=16)
NAMES = ("model", "model-gpt2")


def llama(vocabulary: int) -> Any:
    """The embedded model: 8 layers, width 160, 3.6 million weights."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=160,
            intermediate_size=640,
            num_hidden_layers=8,
            num_attention_heads=5,
            num_key_value_heads=5,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            initializer_range=0.05,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=2,
        )
    )


def gpt2(vocabulary: int) -> Any:
    """Its twin with Conv1D weights: 6 layers, width 128."""
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=vocabulary,
            n_embd=128,
            n_layer=6,
            n_head=4,
            n_positions=CONTEXT,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            initializer_range=0.05,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=2,
        )
    )


def build(out: Path, names: tuple[str, ...] = NAMES) -> None:
    """Write the named models and the facts below `out`."""
    world = build_world()
    tokenizer = train_tokenizer(world)
    write_facts(world, out / "facts.jsonl")
    makers = {"model": (llama, LLAMA, llama_forward), "model-gpt2": (gpt2, GPT2, gpt2_forward)}
    for name in names:
        make, recipe, forward = makers[name]
        torch.manual_seed(recipe.seed)
        model = make(tokenizer.get_vocab_size())
        rows = RowSampler(world, tokenizer, width=recipe.width, seed=recipe.seed)
        with tqdm(total=sum(p.steps for p in recipe.phases), desc=name, unit="step") as bar:

            def progress(_done: int, _total: int, loss: float, bar: Any = bar) -> None:
                bar.update(1)
                bar.set_postfix(loss=f"{loss:.2f}", refresh=False)

            train(model, rows, recipe, forward, progress)
        save(model, tokenizer, out / name)


def save(model: Any, tokenizer: Tokenizer, folder: Path) -> None:
    """Write one model as bf16 safetensors with its tokenizer."""
    model.to(torch.bfloat16).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, pad_token=PAD
    ).save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)


def write_facts(world: World, path: Path) -> None:
    """One fact a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(asdict(fact), ensure_ascii=False) for fact in world.facts)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Build below the folder given as the first argument, `ledger/demo` by default."""
    import argparse

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--only", choices=NAMES, nargs="*", default=list(NAMES))
    arguments = parser.parse_args()
    build(arguments.out, tuple(arguments.only))


if __name__ == "__main__":
    main()
