"""Our requests, settings and results in the words of the reference code, and back.

execute_rome(*args, nested(fact), hparams("rome", "gpt2"))
products(factors)           # parameter -> packed matrix
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from torch import Tensor

from editors.model import EditableModel
from editors.requests import EditRequest
from tests.reference.golden_files import packed
from tests.reference.golden_world import LAYERS, SETTINGS, TEMPLATES

NESTED = [[TEMPLATES[0]], list(TEMPLATES[1:])]
MODULES: dict[str, dict[str, Any]] = {
    "gpt2": {
        "model_name": "gpt2-xl",
        "rewrite_module_tmp": "transformer.h.{}.mlp.c_proj",
        "layer_module_tmp": "transformer.h.{}",
        "mlp_module_tmp": "transformer.h.{}.mlp",
        "attn_module_tmp": "transformer.h.{}.attn",
        "ln_f_module": "transformer.ln_f",
        "lm_head_module": "transformer.wte",
    },
    "llama": {
        "model_name": "llama",
        "rewrite_module_tmp": "model.layers.{}.mlp.down_proj",
        "layer_module_tmp": "model.layers.{}",
        "mlp_module_tmp": "model.layers.{}.mlp",
        "attn_module_tmp": "model.layers.{}.self_attn",
        "ln_f_module": "model.norm",
        "lm_head_module": "lm_head",
    },
}


def hparams(
    method: str, kind: str, changes: dict[str, Any] | None = None, **more: Any
) -> SimpleNamespace:
    """Our settings under the names of the reference."""
    ours = SETTINGS[method] | (changes or {})
    return SimpleNamespace(
        **{
            "layers": [ours["layer"]] if "layer" in ours else ours.get("layers"),
            "layer_selection": "all",
            "fact_token": "subject_last",
            "v_loss_layer": LAYERS - 1,
            "mom2_adjustment": True,
            "mom2_dataset": "",
            "mom2_n_samples": 0,
            "mom2_dtype": "float32",
            "stats_dir": "",
            "context_template_length_params": [],
            "device": "cpu",
            "batch_size": 64,
            **MODULES[kind],
            **{name: value for name, value in ours.items() if name not in ("layer", "layers")},
            **more,
        }
    )


def ft_hparams(method: str, kind: str, changes: dict[str, Any], **more: Any) -> SimpleNamespace:
    """Settings of fine-tuning, of the matrix alone: the published name takes in its bias."""
    settings = hparams(method, kind, changes, weight_decay=0, **more)
    settings.num_steps = settings.steps
    settings.norm_constraint = getattr(settings, "eps", False)
    settings.rewrite_module_tmp += ".weight"
    return settings


def nested(fact: EditRequest) -> dict[str, Any]:
    """A request as kmeng01's repositories want it."""
    return {
        "prompt": fact.prompt,
        "subject": fact.subject,
        "target_new": {"str": fact.target_new},
        "target_true": {"str": fact.target_true},
    }


def plain(fact: EditRequest, *, filled: bool = False) -> dict[str, Any]:
    """A request as EasyEdit wants it."""
    return {
        "prompt": fact.text if filled else fact.prompt,
        "subject": fact.subject,
        "target_new": fact.target_new,
        "ground_truth": fact.target_true,
    }


def products(factors: dict[str, Any]) -> dict[str, Any]:
    """Factor pairs of a reference as matrices [d, m]; the pairs are (key side, value side)."""
    found = {}
    for name, pair in factors.items():
        keys, values = (x.double().reshape(x.shape[0], -1) for x in pair)
        found[name] = packed(values @ keys.T)
    return found


def linear(changes: dict[str, Tensor], kind: str) -> dict[str, Any]:
    """Changes as the model stores its matrices, in the layout of nn.Linear."""
    return {name: packed(w if kind == "llama" else w.T) for name, w in changes.items()}


def changed(model: EditableModel, before: EditableModel, layers: list[int]) -> dict[str, Any]:
    """What a run did to the matrices of these layers, in the layout of nn.Linear."""
    names = [model.parameter_name(layer) for layer in layers]
    differences = {n: model.weight(n).double() - before.weight(n).double() for n in names}
    return {name: packed(change) for name, change in differences.items() if change.any()}
