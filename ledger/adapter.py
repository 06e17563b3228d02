"""Export of a version as a PEFT LoRA adapter: the sum of its edits, beside an untouched base.

Promise: folding the adapter's columns over the base in float64 gives the version's digests, bit for
bit (not after `compress`, which says how far it is off); PEFT, vLLM, SGLang and llama.cpp read the
same numbers from it.
Rules: one rank for all, zero-padded, alpha = r, no rank or alpha pattern: SGLang and llama.cpp
ignore them. Only low-rank changes of weight matrices in layers; anything else is refused.

    export_adapter(workspace, version=3, target=Path("adapter"), compress=False)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from editors.architectures import Architecture
from ledger.errors import InvalidInput
from ledger.lora import Pair, balanced, compressed, joined, padded
from ledger.manifest import Json
from ledger.release import describe, release_files
from ledger.released import ExportView
from ledger.versions import Plan
from ledger.workspace import Workspace
from store.adapters import encode_adapter
from store.checkpoints import Checkpoint
from store.staging import staging

WEIGHTS: Final = "adapter_model.safetensors"
CONFIG: Final = "adapter_config.json"
PREFIX: Final = "base_model.model."
# The ranks that vLLM 0.33 can be started with; without --max-lora-rank it takes up to 16.
VLLM_RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
_VLLM_DEFAULT: Final = 16
_MANY: Final = 128
_NOT_IN_VLLM: Final = ("gpt2", "gptj")


@dataclass(frozen=True)
class _Site:
    """Where an edited matrix lies: its module, the layer, and the module's name in the layer."""

    module: str
    layer: int
    inside: str


def export_adapter(
    workspace: Workspace, version: int, target: Path, *, private: bool, compress: bool
) -> ExportView:
    """Write `version` as an adapter into the new folder `target`.

    Raises: InvalidInput if an edit is dense or lies outside of the layers, or there is none.
    """
    versions = workspace.versions
    plan = versions.plan(workspace.journal.history().active(version))
    pairs, errors = _pairs(plan, compress)
    rank = max(pair.rank for pair in pairs.values())
    manifest = describe(workspace.journal, version, form="adapter", private=private)
    manifest["adapter"] = {
        "rank": rank,
        "ranks": {name: pair.rank for name, pair in pairs.items()},
        "exact": not compress,
        "errors": errors,
    }
    base = manifest["base"]
    config = adapter_config(versions.architecture, versions.checkpoint, base, pairs, rank)
    tensors = adapter_tensors(versions.architecture, pairs, rank)
    with staging(target) as stage:
        stage.write(WEIGHTS, encode_adapter({n: t.numpy() for n, t in tensors.items()}))
        stage.write(CONFIG, config)
        for name, document in release_files(manifest).items():
            stage.write(name, document(stage.folder))
    return ExportView(
        directory=str(target),
        version=version,
        rewritten=(),
        weights_digest=manifest["weights_digest"],
        bytes=sum(path.stat().st_size for path in target.iterdir()),
        form="adapter",
        notes=_notes(rank, base["model_type"]),
        merkle_root=manifest["merkle_root"],
        adapter=manifest["adapter"],
    )


def _pairs(plan: Plan, compress: bool) -> tuple[dict[str, Pair], dict[str, float]]:
    """Parameter -> its factors, and the error where they were compressed."""
    if not plan:
        raise InvalidInput("this version carries no edits: an adapter of it would be empty")
    pairs = {name: joined(name, plan[name]) for name in sorted(plan)}
    if not compress:
        return {name: balanced(pair) for name, pair in pairs.items()}, {}
    small = {name: compressed(pair) for name, pair in pairs.items()}
    return {name: pair for name, (pair, _) in small.items()}, {
        name: error for name, (_, error) in small.items()
    }


def _sites(architecture: Architecture, parameters: Iterable[str]) -> dict[str, _Site]:
    """Parameter -> its place. Raises: InvalidInput for one that no adapter can hold."""
    before, after = map(re.escape, architecture.layer_template.split("{}"))
    pattern = re.compile(rf"{before}([0-9]+){after}\.(.+)\.weight")
    found: dict[str, _Site] = {}
    for name in parameters:
        match = pattern.fullmatch(name)
        if match is None:
            raise InvalidInput(f"{name} is no weight matrix of a layer: export it merged")
        found[name] = _Site(name.removesuffix(".weight"), int(match[1]), match[2])
    return found


def adapter_config(
    architecture: Architecture,
    checkpoint: Checkpoint,
    base: Json,
    parameters: Iterable[str],
    rank: int,
) -> bytes:
    """What PEFT 0.17, vLLM 0.33, SGLang 0.5 and llama.cpp understand alike.

    Raises: InvalidInput for a parameter that no adapter can hold.
    """
    places = list(_sites(architecture, parameters).values())
    pattern = architecture.layer_template.removesuffix(".{}").rpartition(".")[2]
    targets = {_target(checkpoint, pattern, site) for site in places}
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "inference_mode": True,
        "base_model_name_or_path": base["id"],
        "revision": base["revision"],
        "r": rank,
        "lora_alpha": rank,
        "use_rslora": False,
        "use_dora": False,
        "bias": "none",
        "lora_bias": False,
        "lora_dropout": 0.0,
        "target_modules": sorted(targets),
        "layers_to_transform": sorted({site.layer for site in places}),
        "layers_pattern": pattern,
        "fan_in_fan_out": architecture.layout == "conv1d",
        "rank_pattern": {},
        "alpha_pattern": {},
        "modules_to_save": None,
        "init_lora_weights": True,
    }
    return (json.dumps(config, indent=1, sort_keys=True) + "\n").encode()


def _target(checkpoint: Checkpoint, pattern: str, site: _Site) -> str:
    """The shortest name that means this module of a layer and no other."""
    marker = f"{pattern}.{site.layer}."
    others = {
        key.partition(marker)[2].rpartition(".")[0] for key in checkpoint.entries if marker in key
    }
    parts = site.inside.split(".")
    for count in range(1, len(parts)):
        name = ".".join(parts[-count:])
        if sum(other == name or other.endswith(f".{name}") for other in others) == 1:
            return name
    return site.inside


def names_of(parameter: str) -> tuple[str, str]:
    """The names of a parameter's two factors, A and B, in the weight file."""
    module = f"{PREFIX}{parameter.removesuffix('.weight')}"
    return f"{module}.lora_A.weight", f"{module}.lora_B.weight"


def adapter_tensors(
    architecture: Architecture, pairs: Mapping[str, Pair], rank: int
) -> dict[str, torch.Tensor]:
    """Every module that the config targets has both factors; without edits they are zero."""
    sites = _sites(architecture, pairs)
    whole = {name: padded(pair, rank) for name, pair in pairs.items()}
    shapes = {
        sites[name].inside: (pair.b.shape[0], pair.a.shape[1]) for name, pair in pairs.items()
    }
    taken = {(site.layer, site.inside): name for name, site in sites.items()}
    found: dict[str, torch.Tensor] = {}
    for layer in sorted({site.layer for site in sites.values()}):
        for inside, (outputs, inputs) in shapes.items():
            empty = Pair(torch.zeros(outputs, rank), torch.zeros(rank, inputs))
            name = taken.get((layer, inside))
            pair = whole[name] if name else empty
            module = architecture.layer_template.format(layer)
            first, second = names_of(f"{module}.{inside}.weight")
            found[first], found[second] = pair.a, pair.b
    return found


def _notes(rank: int, model_type: str) -> tuple[str, ...]:
    """What to know before it is served."""
    notes = []
    if rank > VLLM_RANKS[-1]:
        notes.append(
            f"rank {rank}: vLLM serves at most {VLLM_RANKS[-1]}; try --compress, or export merged"
        )
    elif rank > _VLLM_DEFAULT:
        needed = next(limit for limit in VLLM_RANKS if limit >= rank)
        notes.append(f"rank {rank}: start vLLM and SGLang with --max-lora-rank {needed}")
    if rank > _MANY:
        notes.append(f"more than {_MANY} edits in one layer slow every request; consider merged")
    if model_type in _NOT_IN_VLLM:
        notes.append(f"vLLM serves no adapters of {model_type}: export merged for it")
    return tuple(notes)
