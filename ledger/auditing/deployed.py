"""A model as it was deployed: only its weights, seen as tensors of the base.

Promise: nothing in the folder but weights and the adapter's own arithmetic is believed: no
manifest, no card. Tensors are read where they lie, by rows.

Rules: a folder of safetensors, sharded or not; a PEFT LoRA adapter, which stands for the base plus
its product; or a Hub id. Names may differ from the base's by a leading part. Weights that are
packed by a quantiser have to be unpacked first. A copy in a wider dtype that holds only values of
the base's dtype counts as stored in that one.

    deployed = open_deployed("merged/", None, workspace.versions)
    deployed.tensor("model.layers.3.mlp.down_proj.weight")[:10]  # rows as stored; or None
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from editors.delta import LowRank
from ledger.adapter import CONFIG, WEIGHTS
from ledger.auditing.matrices import Added, Rows, Stored
from ledger.base import locate
from ledger.errors import BaseMismatch, InvalidInput
from ledger.versions import Versions
from ledger.weights import DTYPES, from_raw
from store.checkpoints import Checkpoint
from store.headers import read_header

_FACTOR = re.compile(
    r"(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<side>[AB])(?:\.default)?\.weight"
)
_PLAIN: Mapping[str, tuple[object, object]] = {
    "use_dora": (False, None),
    "bias": ("none", None),
    "modules_to_save": (None, []),
    "trainable_token_indices": (None, []),
}


class Deployed(Protocol):
    """What was deployed: a folder, and its tensors under the names of the base's checkpoint."""

    @property
    def folder(self) -> Path: ...
    @property
    def kind(self) -> str: ...
    @property
    def extra(self) -> tuple[str, ...]: ...
    def tensor(self, name: str) -> Rows | None: ...


def open_deployed(spec: str, revision: str | None, versions: Versions) -> Deployed:
    """Open a folder, an adapter or a Hub id.

    Raises: InvalidInput (not a model, packed, an adapter that is more than low-rank factors),
    CheckpointError, RemoteFailure.
    """
    folder = locate(spec, revision=revision).folder
    if (folder / CONFIG).is_file():
        return Adapter(folder, versions, _factors(folder, versions))
    checkpoint = Checkpoint.open(folder)
    if checkpoint.quantised:
        raise InvalidInput(
            f"{spec} is packed by a quantiser (quantization_config): unpack it into plain weights "
            "first, for example with dequantize() and save_pretrained() of transformers"
        )
    return Merged(checkpoint, versions)


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter on the base: tensors are the base's in float32 plus the adapter's product."""

    folder: Path
    versions: Versions
    changes: Mapping[str, LowRank]  # by the base's checkpoint name, Linear layout
    kind: str = "adapter"
    extra: tuple[str, ...] = ()

    def tensor(self, name: str) -> Rows | None:
        """The base's tensor as stored, or base + product in float32 where the adapter acts."""
        base = Stored.of(self.versions.checkpoint, name)
        change = self.changes.get(name)
        return base if change is None else Added(base, change, self.versions.transposed)


class Merged:
    """A checkpoint folder."""

    kind = "checkpoint"

    def __init__(self, checkpoint: Checkpoint, versions: Versions) -> None:
        self._checkpoint, self._base = checkpoint, versions.checkpoint
        self._names = _paired(self._base.names(), checkpoint.names())

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self._checkpoint.folder

    @property
    def extra(self) -> tuple[str, ...]:
        """Its tensors that the base does not have."""
        return tuple(sorted(set(self._checkpoint.names()) - set(self._names.values())))

    def tensor(self, name: str) -> Rows | None:
        """The tensor that stands for the base's `name`; None if there is none."""
        if name not in self._names:
            return None
        found = Stored.of(self._checkpoint, self._names[name])
        dtype = self._base.entry(name).dtype
        return found.narrowed(DTYPES[dtype]) if dtype in DTYPES else found


def _paired(base: list[str], found: list[str]) -> dict[str, str]:
    """The base's name -> the deployed one, which may have or lack a leading part."""
    names, pairs = set(found), {}
    ends: dict[str, list[str]] = {}
    for name in found:
        parts = name.split(".")
        for start in range(1, len(parts)):
            ends.setdefault(".".join(parts[start:]), []).append(name)
    for name in base:
        parts = name.split(".")
        shorter = [".".join(parts[start:]) for start in range(1, len(parts) - 1)]
        if name in names:
            pairs[name] = name
        elif len(longer := ends.get(name, [])) == 1:
            pairs[name] = longer[0]
        elif there := [short for short in shorter if short in names]:
            pairs[name] = there[0]
    return pairs


# --- adapters -----------------------------------------------------------------------------------


def _factors(folder: Path, versions: Versions) -> dict[str, LowRank]:
    config = _config(folder / CONFIG)
    found: dict[str, dict[str, Tensor]] = {}
    for entry in read_header(folder / WEIGHTS):
        match = _FACTOR.fullmatch(entry.name)
        if match is None or entry.dtype not in DTYPES:
            raise InvalidInput(
                f"{folder / WEIGHTS} holds {entry.name} ({entry.dtype}), which is no LoRA factor: "
                "merge the adapter into its base and audit the result"
            )
        tensor = Checkpoint(folder, {entry.name: entry}, (entry.file,), None).own(entry.name)
        found.setdefault(match["module"], {})[match["side"]] = from_raw(entry, tensor).float()
    _check_layers(found, config.get("layers_to_transform"))
    return dict(_change(module, sides, config, versions) for module, sides in found.items())


def _check_layers(modules: Iterable[str], layers: object) -> None:
    """PEFT leaves out the factors of layers that the configuration does not name."""
    named = layers if isinstance(layers, list) else [layers]
    if layers is None or named == []:
        return
    for module in modules:
        numbers = [int(part) for part in module.split(".") if part.isdigit()]
        if not numbers or numbers[0] not in named:
            raise InvalidInput(
                f"the adapter holds factors of {module}, which is in none of its "
                f"layers_to_transform ({', '.join(map(str, named))}): PEFT would leave them out"
            )


def _change(
    module: str, sides: Mapping[str, Tensor], config: Mapping[str, Any], versions: Versions
) -> tuple[str, LowRank]:
    if set(sides) != {"A", "B"} or sides["A"].ndim != 2:
        raise InvalidInput(f"the adapter holds half of the factors of {module}: it is cut short")
    try:
        name = versions.key(f"{module}.weight")
    except BaseMismatch as error:
        raise InvalidInput(
            f"the adapter changes {module}, which the base does not have: it belongs to another"
        ) from error
    rank = sides["A"].shape[0]
    alpha = float(_pattern(config.get("alpha_pattern"), module, config.get("lora_alpha", rank)))
    scale = alpha / (rank**0.5 if config.get("use_rslora") else rank)
    return name, LowRank((sides["B"] * scale).contiguous(), sides["A"].contiguous())


def _pattern(patterns: object, module: str, default: object) -> Any:
    """A setting for some modules, as PEFT finds it: the key is the end of the module's name."""
    if isinstance(patterns, Mapping):
        for key, value in patterns.items():
            if re.fullmatch(rf"(.*\.)?({key})", module):
                return value
    return default


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} cannot be read ({error}): download it again") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise InvalidInput(f"{path} describes no LoRA adapter; other kinds have to be merged first")
    for name, plain in _PLAIN.items():
        if config.get(name, plain[0]) not in plain:
            raise InvalidInput(
                f"the adapter uses {name}: merge it into its base and audit the result"
            )
    return config
