"""What is recorded of zjunlp/EasyEdit, for both golden models."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np

from editors.model import EditableModel
from tests.reference.golden_world import (
    EASY,
    FACTS,
    GENERATED,
    HELD,
    KINDS,
    LONG,
    PROBES,
    QUICK,
    RECORDS,
    TEMPLATES,
    golden_model,
    shaken,
)
from tests.reference.recording import shims
from tests.reference.recording.settings import (
    MODULES,
    NESTED,
    changed,
    ft_hparams,
    hparams,
    linear,
    plain,
    products,
)


def from_easyedit() -> dict[str, Any]:
    """The methods, token accuracies and scores of records for both models; n-gram entropies."""
    shims.stand_ins()
    found: dict[str, Any] = {}
    for kind in KINDS:
        results = {**single(kind), **batched(kind), **alphaedit(kind), **ft_m(kind)}
        results["tokens"] = tokens(golden_model(kind))
        results["tokens of the shaken model"] = tokens(shaken(golden_model(kind)))
        results["records"] = scores(kind)
        found |= {f"{kind} {name}": value for name, value in results.items()}
    return found | {"n-gram entropy": entropies()}


def single(kind: str) -> dict[str, Any]:
    """ROME and r-ROME."""
    from easyeditor.models.r_rome import compute_u as r_compute_u
    from easyeditor.models.r_rome import r_rome_main
    from easyeditor.models.rome import compute_u, rome_main

    model = golden_model(kind)
    found = {}
    for main, direction, run, more in (
        (rome_main, compute_u, rome_main.execute_rome, {}),
        (
            r_rome_main,
            r_compute_u,
            r_rome_main.execute_r_rome,
            {
                "enable_prompt_keys": False,
                "enable_random_prefix_keys": True,
                "original_implementation": False,
            },
        ),
    ):
        shims.second_moments(direction, model)
        main.CONTEXT_TEMPLATES_CACHE = list(TEMPLATES)
        name = "r-rome" if more else "rome"
        request = plain(FACTS[1])
        if more:  # this wrapper always puts a space before the target
            request["target_new"] = request["target_new"].strip()
        factors = run(model.model, model.tokenizer, request, hparams("rome", kind, **more))
        found[name] = products(factors)
    return found


def batched(kind: str) -> dict[str, Any]:
    """MEMIT, EMMET and PMET."""
    from easyeditor.models.emmet import emmet_main
    from easyeditor.models.memit import memit_main
    from easyeditor.models.pmet import pmet_main

    model = golden_model(kind)
    model.model.config._name_or_path = kind
    model.model.name_or_path = kind
    args = (model.model, model.tokenizer)
    projection = MODULES[kind]["rewrite_module_tmp"]
    attention = "transformer.h.{}.attn.c_proj" if kind == "gpt2" else "model.layers.{}.self_attn"
    for main in (memit_main, emmet_main, pmet_main):
        shims.second_moments(main, model)
        main.CONTEXT_TEMPLATES_CACHE = NESTED
    found = {}
    for name, facts, changes in (
        ("memit", FACTS, {}),
        ("memit easy", [EASY], QUICK),
        ("emmet", FACTS, {}),
        ("pmet", FACTS, {}),
        ("pmet easy", [EASY], QUICK),
        ("pmet held", [EASY], HELD),
    ):
        requests = [plain(f) | {"target_new": " " + f.target_new} for f in facts]
        method = name.split()[0]
        settings = hparams(method, kind, changes)
        if method == "pmet":
            settings.nll_loss_factor = 1
            settings.rewrite_module_tmps = [projection]
            settings.mlp_module_tmp, settings.attn_module_tmp = projection, attention
            found[name] = linear(pmet_main.execute_pmet(*args, requests, settings), kind)
            continue
        run = {"memit": memit_main.execute_memit, "emmet": emmet_main.execute_emmet}[method]
        found[name] = products(run(*args, requests, settings))
    return found


def alphaedit(kind: str) -> dict[str, Any]:
    """Two calls one after the other: the second holds the keys of the first."""
    from easyeditor.models.alphaedit import AlphaEdit_main

    model = golden_model(kind)
    shims.second_moments(AlphaEdit_main, model)
    AlphaEdit_main.CONTEXT_TEMPLATES_CACHE = NESTED
    settings = hparams("alphaedit", kind, P_loc="no such file")
    found = {}
    for name, facts in (("alphaedit", FACTS[:2]), ("alphaedit again", FACTS[2:])):
        before = golden_model(kind)
        before.model.load_state_dict(model.model.state_dict())
        with shims.in_an_empty_folder():
            AlphaEdit_main.apply_AlphaEdit_to_model(
                model.model,
                model.tokenizer,
                [plain(f) for f in facts],
                settings,
                reset_cache=name == "alphaedit",
            )
        found[name] = changed(model, before, settings.layers)
    return found


def ft_m(kind: str) -> dict[str, Any]:
    """FT with the objective target_new."""
    from easyeditor.models.ft import ft_main

    model = golden_model(kind)
    model.tokenizer.padding_side = "left"
    cases = [("one", FACTS[:1], {}), ("easy", [EASY], LONG)]
    if kind == "llama":  # left padding moves the learned positions of GPT-2
        cases.append(("three", FACTS, {}))
    found = {}
    for name, facts, changes in cases:
        settings = ft_hparams("ft-m", kind, changes, objective_optimization="target_new")
        requests = [plain(fact, filled=True) for fact in facts]
        result = ft_main.execute_ft(model.model, model.tokenizer, requests, settings)
        found[f"ft-m {name}"] = linear(result, kind)
    return found


def tokens(model: EditableModel) -> list[dict[str, Any]]:
    """Teacher-forced accuracy and argmax of each probe alone."""
    from easyeditor.evaluate.evaluate_utils import test_prediction_acc

    args = (model.model, model.tokenizer, SimpleNamespace(max_length=40))
    return [
        {
            "accuracy": float(test_prediction_acc(*args, prompt, answer, "cpu")[0]),
            "argmax": test_prediction_acc(*args, prompt, answer, "cpu", locality=True)[0],
        }
        for prompt, answer in PROBES
    ]


def scores(kind: str) -> list[dict[str, float]]:
    """Of each record: what the model scores, with the shaken one in place of the unedited."""
    from easyeditor.evaluate.evaluate import compute_edit_quality

    settings = SimpleNamespace(max_length=40, alg_name="ROME")
    found = []
    for record in RECORDS:
        pre, post = (
            compute_edit_quality(
                model.model, kind, settings, model.tokenizer, copy.deepcopy(record), "cpu"
            )
            for model in (shaken(golden_model(kind)), golden_model(kind))
        )
        # As finalize_locality_metrics of editors/editor.py, which needs the whole framework.
        locality = {
            name: float(
                np.mean(
                    np.equal(
                        pre["locality"][f"{name}_output"][0], post["locality"][f"{name}_output"][0]
                    )
                )
            )
            for name in record["locality"]
        }
        own = {"reliability": post["rewrite_acc"], "generalization": post["rephrase_acc"]}
        found.append(
            {
                **{name: float(np.mean(values)) for name, values in own.items()},
                "portability": float(np.mean(post["portability"]["one_hop_acc"])),
                "locality": locality["neighborhood"],
                "locality_same_subject": locality["Relation_Specificity"],
            }
        )
    return found


def entropies() -> list[float]:
    """Of texts whose words stand between spaces."""
    from easyeditor.evaluate.evaluate_utils import n_gram_entropy

    return [float(n_gram_entropy([text])) for text in GENERATED]
