"""What is recorded of kmeng01/rome and kmeng01/memit."""

from __future__ import annotations

import json
from typing import Any

from torch import Tensor

from tests.reference.golden_files import packed
from tests.reference.golden_world import (
    CASES,
    EASY,
    FACTS,
    KNOWN,
    LAYERS,
    LONG,
    QUICK,
    SETTINGS,
    TEMPLATES,
    golden_model,
)
from tests.reference.recording import shims
from tests.reference.recording.settings import (
    NESTED,
    changed,
    ft_hparams,
    hparams,
    linear,
    nested,
    products,
)


def from_rome() -> dict[str, Any]:
    """ROME, FT with and without bound, KN, and the scores of CounterFact."""
    from baselines.ft import ft_main
    from rome import compute_u, rome_main

    model = golden_model("gpt2")
    shims.second_moments(compute_u, model)
    rome_main.CONTEXT_TEMPLATES_CACHE = list(TEMPLATES)
    args = (model.model, model.tokenizer)
    cases = [(f"rome {i}", fact, {}) for i, fact in enumerate(FACTS)]
    found: dict[str, Any] = {
        name: products(
            rome_main.execute_rome(*args, nested(fact), hparams("rome", "gpt2", changes))
        )
        for name, fact, changes in (*cases, ("rome easy", EASY, QUICK))
    }
    for name, facts, changes in (
        ("ft one", FACTS[1:2], {}),
        ("ft two", FACTS[1:], {}),
        ("ft easy", [EASY], LONG),
        ("ft-l one", FACTS[1:2], {}),
        ("ft-l two", FACTS[1:], {}),
    ):
        settings = ft_hparams(name.split()[0], "gpt2", changes)
        requests = [nested(fact) for fact in facts]
        found[name] = linear(ft_main.execute_ft(*args, requests, settings), "gpt2")
    found["kn"] = from_kn()
    found["counterfact"] = counterfact()
    return found


def counterfact() -> dict[str, Any]:
    """Scores of the unedited model on four records, case by case and together."""
    from experiments import summarize
    from experiments.py import eval_utils_counterfact

    model = golden_model("gpt2")
    with shims.in_an_empty_folder() as folder:
        (folder / "run_000").mkdir()
        for i, fact in enumerate(CASES):
            record = {
                "requested_rewrite": nested(fact),
                "paraphrase_prompts": list(fact.paraphrases),
                "neighborhood_prompts": [probe.prompt for probe in fact.neighbourhood],
                "attribute_prompts": [],
                "generation_prompts": [],
            }
            post = eval_utils_counterfact.compute_rewrite_quality_counterfact(
                model.model, model.tokenizer, record, None, None
            )
            case = {"case_id": i, "time": 0, "post": post}
            (folder / "run_000" / f"case_{i}.json").write_text(json.dumps(case))
        (cases,) = summarize.main(folder, None, get_uncompressed=True, abs_path=True)
        (summary,) = summarize.main(folder, None, abs_path=True)
    kept = {name: [float(x) for x in cases[name]] for name in cases if name.startswith("post_")}
    return kept | {"post_score": float(summary["post_score"][0])}


def from_kn() -> dict[str, Any]:
    """Scores with the activation hooked, as published and with one point; the edit."""
    from baselines.kn.knowledge_neurons.knowledge_neurons import KnowledgeNeurons

    fact, settings = KNOWN, SETTINGS["kn"]
    model, before = golden_model("gpt2"), golden_model("gpt2")
    kn = KnowledgeNeurons(model.model, model.tokenizer, model_type="gpt2", device="cpu")
    answer = " " + (fact.target_true or "")

    def scores(steps: int) -> Tensor:
        return kn.get_scores(fact.text, answer, batch_size=1, steps=steps, pbar=False)

    def chosen() -> list[list[int]]:
        return kn.get_coarse_neurons(
            fact.text,
            answer,
            batch_size=1,
            steps=settings["points"],
            adaptive_threshold=settings["threshold"],
            pbar=False,
        )

    as_published = chosen()
    kn.input_ff_attr = "mlp.act"
    neurons = chosen()
    found = {
        "neurons": neurons,
        "neurons of the preactivation": as_published,
        "scores at zero": packed(scores(1)),
        "scores": packed(scores(settings["points"] + 1)),
    }
    kn.edit_knowledge(
        fact.text, " " + fact.target_new, neurons, undo_modification=False, quiet=True
    )
    return found | {"change": changed(model, before, list(range(LAYERS)))}


def from_memit() -> dict[str, Any]:
    """MEMIT."""
    from memit import memit_main

    model = golden_model("gpt2")
    shims.second_moments(memit_main, model)
    memit_main.CONTEXT_TEMPLATES_CACHE = NESTED
    return {
        name: products(
            memit_main.execute_memit(
                model.model,
                model.tokenizer,
                [nested(fact) for fact in facts],
                hparams("memit", "gpt2", changes),
            )
        )
        for name, facts, changes in (("memit", FACTS, {}), ("memit easy", [EASY], QUICK))
    }
