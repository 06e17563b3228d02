"""Where the edited matrices live: one table, model type -> module names and weight layout.

Promise: `architecture_of` either returns the row of a model that can be edited or raises
`UnsupportedModel` saying why and what to do.
Rules: names are module paths inside the causal language model; `mlp_template` and
`attention_template` are the modules whose output is the MLP's and the attention's contribution to
the residual stream, `layer_template` the module whose output is that stream; the layout is that of
the module class (GPT-2's Conv1D stores [d_in, d_out]) and is never guessed from a shape.

    row = architecture_of(model.config)
    row.mlp_out_template.format(5)      # "model.layers.5.mlp.down_proj"
    row.layout                          # "linear"
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from editors.errors import UnsupportedModel

Layout: TypeAlias = Literal["linear", "conv1d"]


@dataclass(frozen=True)
class Architecture:
    """Module names of one model type; templates take the layer number."""

    model_type: str
    layer_template: str
    mlp_out_template: str
    mlp_template: str
    attention_template: str
    embedding: str
    final_norm: str
    head: str = "lm_head"
    layout: Layout = "linear"


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


def _llama(model_type: str) -> Architecture:
    return Architecture(
        model_type=model_type,
        layer_template="model.layers.{}",
        mlp_out_template="model.layers.{}.mlp.down_proj",
        mlp_template="model.layers.{}.mlp",
        attention_template="model.layers.{}.self_attn",
        embedding="model.embed_tokens",
        final_norm="model.norm",
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
    *map(_llama, ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "phi3")),
)
ARCHITECTURES = MappingProxyType({row.model_type: row for row in _ROWS})
_EXPERT_FIELDS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")


def architecture_of(config: Any) -> Architecture:
    """The row for a model's config.

    Raises: UnsupportedModel for quantised models, mixtures of experts and unknown model types.
    """
    model_type = getattr(config, "model_type", None)
    if getattr(config, "quantization_config", None):
        raise UnsupportedModel(
            f"the {model_type} model is quantised: load the float16, bfloat16 or float32 weights"
        )
    experts = [name for name in _EXPERT_FIELDS if getattr(config, name, None)]
    if experts:
        raise UnsupportedModel(
            f"the {model_type} model is a mixture of experts ({experts[0]} is set): choose a dense "
            "model, the experts have no single output projection"
        )
    if not isinstance(model_type, str) or model_type not in ARCHITECTURES:
        raise UnsupportedModel(
            f"no recognisable MLP output projection for model type {model_type!r}; known are "
            f"{', '.join(ARCHITECTURES)}: add a row to editors/architectures.py"
        )
    return ARCHITECTURES[model_type]
