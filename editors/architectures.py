"""Where the edited matrices live: one table, model type -> module names and weight layout.

Promise: `architecture_of` either returns the row of a model that can be edited or raises
`UnsupportedModel` saying why and what to do. `architecture_in` also recognises types without a row.
Rules: names are module paths inside the causal language model; `mlp_template` and
`attention_template` are the modules whose output is the MLP's and the attention's contribution to
the residual stream, `layer_template` the module whose output is that stream; the layout is that of
the module class (GPT-2's Conv1D stores [d_in, d_out]) and is never guessed from a shape.

    row = architecture_of(model.config)
    row.mlp_out_template.format(5)      # "model.layers.5.mlp.down_proj"
    row.layout                          # "linear"
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, Literal, TypeAlias

from editors.errors import UnsupportedModel

Layout: TypeAlias = Literal["linear", "conv1d"]


@dataclass(frozen=True)
class Architecture:
    """Module names of one model type; templates take the layer number.

    `assumed`: for a type without a row, what was taken for what (see editors.recognition).
    """

    model_type: str
    layer_template: str
    mlp_out_template: str
    mlp_template: str
    attention_template: str
    embedding: str
    final_norm: str
    head: str = "lm_head"
    layout: Layout = "linear"
    assumed: str | None = None


def _gpt(model_type: str, out: str, *, layout: Layout = "linear") -> Architecture:
    return Architecture(
        model_type=model_type,
        layer_template="transformer.h.{}",
        mlp_out_template="transformer.h.{}.mlp." + out,
        mlp_template="transformer.h.{}.mlp",
        attention_template="transformer.h.{}.attn",
        embedding="transformer.wte",
        final_norm="transformer.ln_f",
        layout=layout,
    )


def _llama(model_type: str, out: str = "down_proj", norm: str = "norm") -> Architecture:
    return Architecture(
        model_type=model_type,
        layer_template="model.layers.{}",
        mlp_out_template="model.layers.{}.mlp." + out,
        mlp_template="model.layers.{}.mlp",
        attention_template="model.layers.{}.self_attn",
        embedding="model.embed_tokens",
        final_norm="model." + norm,
    )


# The MLP modules of OPT (none) and BLOOM (adds the residual itself, as its attention does) are not
# the contribution alone; their output projection is.
_ROWS = (
    _gpt("gpt2", "c_proj", layout="conv1d"),
    _gpt("gptj", "fc_out"),
    Architecture(
        model_type="gpt_neox",
        layer_template="gpt_neox.layers.{}",
        mlp_out_template="gpt_neox.layers.{}.mlp.dense_4h_to_h",
        mlp_template="gpt_neox.layers.{}.mlp",
        attention_template="gpt_neox.layers.{}.attention",
        embedding="gpt_neox.embed_in",
        final_norm="gpt_neox.final_layer_norm",
    ),
    Architecture(
        model_type="opt",
        layer_template="model.decoder.layers.{}",
        mlp_out_template="model.decoder.layers.{}.fc2",
        mlp_template="model.decoder.layers.{}.fc2",
        attention_template="model.decoder.layers.{}.self_attn",
        embedding="model.decoder.embed_tokens",
        final_norm="model.decoder.final_layer_norm",
    ),
    Architecture(
        model_type="bloom",
        layer_template="transformer.h.{}",
        mlp_out_template="transformer.h.{}.mlp.dense_4h_to_h",
        mlp_template="transformer.h.{}.mlp.dense_4h_to_h",
        attention_template="transformer.h.{}.self_attention.dense",
        embedding="transformer.word_embeddings",
        final_norm="transformer.ln_f",
    ),
    Architecture(
        model_type="falcon",
        layer_template="transformer.h.{}",
        mlp_out_template="transformer.h.{}.mlp.dense_4h_to_h",
        mlp_template="transformer.h.{}.mlp",
        attention_template="transformer.h.{}.self_attention",
        embedding="transformer.word_embeddings",
        final_norm="transformer.ln_f",
    ),
    *map(_llama, ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3")),
    _llama("phi", "fc2", "final_layernorm"),
)
ARCHITECTURES = MappingProxyType({row.model_type: row for row in _ROWS})
_EXPERT_FIELDS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_QUANTISED_FIELDS = ("quantization_config", "compression_config", "quantization")


def architecture_of(config: Any) -> Architecture:
    """The row for a model's config.

    Raises: UnsupportedModel for quantised models, mixtures of experts and unknown model types.
    """
    refuse(config)
    model_type = getattr(config, "model_type", None)
    if not in_table(config):
        raise UnsupportedModel(
            f"no recognisable MLP output projection for model type {model_type!r}; known are "
            f"{', '.join(ARCHITECTURES)}: add a row to editors/architectures.py"
        )
    return ARCHITECTURES[str(model_type)]


def architecture_in(folder: Path) -> Architecture:
    """The row for a checkpoint folder, of the table or by its modules; no weights are read.

    Raises: UnsupportedModel.
    """
    try:
        fields = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config = SimpleNamespace(**fields)
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UnsupportedModel(f"{folder / 'config.json'} is not a JSON object") from error
    if in_table(config) or not isinstance(fields.get("model_type"), str):
        return architecture_of(config)
    refuse(config)
    # Only a type without a row needs transformers, which takes seconds to import.
    from editors.loading import read_skeleton
    from editors.recognition import recognise

    return recognise(read_skeleton(folder))


def in_table(config: Any) -> bool:
    """Whether the table has a row for the model type of a config."""
    model_type = getattr(config, "model_type", None)
    return isinstance(model_type, str) and model_type in ARCHITECTURES


def refuse(config: Any) -> None:
    """Raise UnsupportedModel for quantised models, mixtures of experts, models with an encoder."""
    model_type = getattr(config, "model_type", None)
    if getattr(config, "is_encoder_decoder", False):
        raise UnsupportedModel(
            f"the {model_type} model has an encoder: choose a decoder-only model"
        )
    for name in _QUANTISED_FIELDS:
        if quantised := getattr(config, name, None):
            raise UnsupportedModel(
                f"the {model_type} model is quantised{_method(quantised)}: load the float16, "
                "bfloat16 or float32 weights of the original model"
            )
    for part in (config, *_parts(config)):
        experts = [name for name in _EXPERT_FIELDS if _get(part, name)]
        if experts:
            raise UnsupportedModel(
                f"the {model_type} model is a mixture of experts ({experts[0]} is set): choose a "
                "dense model, the experts have no single output projection"
            )


def _method(quantised: Any) -> str:
    """ " (gptq)", where the config says it."""
    method = _get(quantised, "quant_method")
    return f" ({method})" if method else ""


def _parts(config: Any) -> list[Any]:
    """Configs inside a config, where multimodal models and some others keep the decoder's."""
    return [part for name in ("text_config", "ffn_config") if (part := _get(config, name))]


def _get(config: Any, name: str) -> Any:
    return config.get(name) if isinstance(config, Mapping) else getattr(config, name, None)
