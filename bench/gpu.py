"""`python -m bench.gpu`: the engine on a large model of random weights, on a GPU if there is one.

A Llama of 8 billion parameters in bfloat16 is built on the device; without a GPU the same shape is
measured at a small scale on the CPU, and the output says so. Peak memory is what the device's
allocator saw; on the CPU it is not measured.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from statistics import median
from typing import Any

import torch
from transformers import AutoConfig

from bench.clock import seconds
from bench.engine_models import Subject, embedded, random_model
from bench.machine import described, load
from bench.table import Row, rendered
from editors.covariance import accumulate
from editors.methods import get_editor
from editors.rows import Wish
from editors.values import optimise_values
from ledger.demo.corpus import texts
from ledger.demo.world import build_world

LARGE = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}
SMALL = {
    "hidden_size": 256,
    "intermediate_size": 896,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 8000,
}
LAYER, STEPS, BATCH, REPEATS = 5, 25, 32, 5


def main() -> int:
    """Print the table."""
    before, large = load(), torch.cuda.is_available()
    subject = _subject(large)
    parameters = sum(p.numel() for p in subject.model.model.parameters())
    rows = [*_edits(subject, large), _moments(subject, large)]
    print(described(before))
    if large:
        peak = torch.cuda.max_memory_allocated() / 2**30
        weights = 2 * parameters / 2**30
        print(
            f"{torch.cuda.get_device_name()}, {parameters / 1e9:.2f} billion parameters, bfloat16"
        )
        print(f"peak memory {peak:.1f} GiB, the weights take {weights:.1f} GiB of it")
    else:
        print(
            f"no GPU: small scale on the CPU, {parameters / 1e6:.1f} million parameters, float32;"
        )
        print("the limits of the 8 billion parameters do not apply")
    print()
    print(rendered(rows))
    return 0


def _subject(large: bool) -> Subject:
    small = embedded()
    config = AutoConfig.for_model("llama", **(LARGE if large else SMALL))
    where: dict[str, Any] = {"device": "cuda", "dtype": torch.bfloat16} if large else {}
    model = random_model(config, small.model.tokenizer, **where)
    rome = replace(
        small.rome, layer=LAYER, v_num_grad_steps=STEPS, clamp_norm_factor=1e3, v_weight_decay=0.0
    )
    return replace(
        small, name="random 8B Llama" if large else "small Llama", model=model, rome=rome
    )


def _edits(subject: Subject, large: bool) -> list[Row]:
    editor = get_editor("rome")
    settings = replace(subject.rome, stop_loss=0.0)
    wishes = [Wish((request,)) for request in subject.requests[:BATCH]]

    def one() -> None:
        editor(subject.model, subject.requests[:1], settings, context=subject.context())

    def many() -> None:
        optimise_values(
            subject.model,
            wishes,
            modules=[subject.model.projection(LAYER)],
            templates=subject.templates,
            settings=settings,
        )

    single, batch = _timed(one), _timed(many) / BATCH
    limits = (0.5, 0.15) if large else (None, None)
    what = f"one ROME edit, {STEPS} steps, {subject.name}"
    each = f"one of {BATCH} values searched at once, {subject.name}"
    return [
        Row("gpu", what, single, "s", "a batched edit", batch, limit=limits[0]),
        Row("gpu", each, batch, "s", "a single edit", single, limit=limits[1]),
    ]


def _moments(subject: Subject, large: bool) -> Row:
    model = subject.model
    layers = range(LAYER - 4, LAYER + 1)
    tokens = 10 * model.d_mlp
    corpus = list(islice(texts(build_world(), seed=2), tokens // 5))

    def several() -> None:
        accumulate(model, layers, corpus, max_tokens=tokens)

    def single() -> None:
        accumulate(model, layers[-1:], corpus, max_tokens=tokens)

    took, alone = seconds(_synchronised(several)), seconds(_synchronised(single))
    what = f"C of 5 layers, {tokens:,} tokens, {subject.name}"
    return Row("gpu", what, took, "s", "one layer", alone, limit=60.0 if large else None)


def _timed(work: Callable[[], None]) -> float:
    """Median seconds of a few calls after one that does not count."""
    times = [seconds(_synchronised(work)) for _ in range(REPEATS + 1)]
    return median(times[1:])


def _synchronised(work: Callable[[], None]) -> Callable[[], None]:
    def done() -> None:
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return done


if __name__ == "__main__":
    sys.exit(main())
