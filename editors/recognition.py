"""Where the matrices of a model type without a row in the table are, by its modules.

Promise: a model is either recognised, and its `Architecture` says in `assumed` what was taken for
what, or refused with the reason. Nothing is concluded from the shape of a matrix alone.
Rules: the blocks are the one list of as many modules as the model has layers in which each holds
exactly one output projection of a usual name outside the attention; its class gives the layout, and
all blocks must be alike. The table always goes first.

    row = architecture_for(gpt_neo)
    row.mlp_out_template            # "transformer.h.{}.mlp.c_proj"
    row.assumed                     # None for a type that the table has
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from torch import nn
from transformers.pytorch_utils import Conv1D

from editors.architectures import Architecture, Layout, architecture_of, in_table, refuse
from editors.errors import UnsupportedModel

OUTPUTS: Final = ("down_proj", "c_proj", "fc_out", "fc2", "dense_4h_to_h")
_ATTENTION: Final = ("attn", "attention")
_EXPERTS: Final = ("expert", "router")


def architecture_for(model: Any) -> Architecture:
    """The row for a transformers model. Raises: UnsupportedModel.

    The head is what the model says: older transformers have another name for that of gpt_neox.
    """
    if not in_table(model.config):
        return recognise(model)
    head = _name(model, model.get_output_embeddings())
    return replace(architecture_of(model.config), head=head)


def recognise(model: Any) -> Architecture:
    """The row of a model by its modules alone; its weights may be on the meta device.

    Raises: UnsupportedModel where there is no such projection, or more than one.
    """
    refuse(model.config)
    kind = model.config.model_type
    blocks, inside = _blocks(model, kind)
    first = model.get_submodule(blocks)[0]
    attention = _attention(first, kind)
    layout: Layout = "conv1d" if isinstance(first.get_submodule(inside), Conv1D) else "linear"
    parent = inside.rpartition(".")[0]
    return Architecture(
        model_type=kind,
        layer_template=blocks + ".{}",
        mlp_out_template=f"{blocks}.{{}}.{inside}",
        mlp_template=f"{blocks}.{{}}.{parent or inside}",
        attention_template=f"{blocks}.{{}}.{attention}",
        embedding=_name(model, model.get_input_embeddings()),
        final_norm=_final_norm(model, blocks, kind),
        head=_name(model, model.get_output_embeddings()),
        layout=layout,
        assumed=(
            f"model type {kind!r} has no row in the table: by the names of its modules, "
            f"{blocks}.N.{inside} ({layout}) was taken for the MLP's output projection and the "
            f"output of {blocks}.N for the residual stream"
        ),
    )


def _blocks(model: Any, kind: str) -> tuple[str, str]:
    """The list of blocks, and the projection's path in each of them."""
    depth = getattr(model.config, "num_hidden_layers", None)
    width = getattr(model.config, "hidden_size", None)
    found = []
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            paths = {tuple(_outputs(block, width, kind)) for block in module}
            found += [(name, path) for path in paths]
    if not found or any(len(path) != 1 for _, path in found) or len(found) != 1:
        seen = sorted({inside for _, path in found for inside in path})
        raise UnsupportedModel(
            f"no recognisable MLP output projection for model type {kind!r}: expected exactly one "
            f"of {', '.join(OUTPUTS)} in each of {depth} equal layers, found "
            f"{', '.join(seen) or 'none'}; add a row to editors/architectures.py"
        )
    ((name, (inside,)),) = found
    return name, inside


def _outputs(block: nn.Module, width: int | None, kind: str) -> list[str]:
    """Paths of the modules in a block that may be the projection."""
    found = []
    for path, module in block.named_modules():
        if any(word in path.lower() for word in _EXPERTS):
            raise UnsupportedModel(
                f"the {kind} model is a mixture of experts (its layers have {path!r}): choose a "
                "dense model, the experts have no single output projection"
            )
        if path.split(".")[-1] in OUTPUTS and not _of_attention(path) and _writes(module, width):
            found.append(path)
    return found


def _writes(module: nn.Module, width: int | None) -> bool:
    """Whether a module is a plain projection whose outputs are as wide as the residual stream."""
    if isinstance(module, Conv1D):
        return bool(module.weight.shape[1] == width)
    return isinstance(module, nn.Linear) and module.out_features == width


def _of_attention(path: str) -> bool:
    return any(word in path.lower() for word in _ATTENTION)


def _attention(block: Any, kind: str) -> str:
    for name, _ in block.named_children():
        if _of_attention(name) and "norm" not in name:
            return str(name)
    raise UnsupportedModel(
        f"the layers of the {kind} model have no attention: choose a transformer, or add a row to "
        "editors/architectures.py"
    )


def _final_norm(model: Any, blocks: str, kind: str) -> str:
    """The last norm beside the list of blocks."""
    parent = blocks.rpartition(".")[0]
    names = [name for name, _ in model.get_submodule(parent).named_children()]
    norms = [name for name in names if "norm" in name or name.startswith("ln")]
    if not norms:
        raise UnsupportedModel(
            f"the {kind} model has no final norm beside {blocks}: add a row to "
            "editors/architectures.py"
        )
    return f"{parent}.{norms[-1]}"


def _name(model: Any, wanted: nn.Module | None) -> str:
    for name, module in model.named_modules():
        if module is wanted:
            return str(name)
    raise UnsupportedModel("the model has no embedding or no head: it is not a language model")
