"""Every model type of the table, with its family's tokenizer: edited, folded, taken out again."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from editors.base import EditContext
from editors.delta import LowRank
from editors.keys import subject_keys
from editors.methods import get_editor
from editors.model import EditableModel
from editors.prompts import encode, fill, subject_position, subject_rows, target_row
from editors.requests import EditRequest
from editors.trace import Trace
from ledger import Ledger
from tests.contract.families import FAMILIES, TOKENIZERS, build_family
from tests.contract.harness import (
    HPARAMS,
    LAYER,
    Moments,
    all_moments,
    product,
    run_batch,
    state,
)

FACTS = (
    EditRequest("Zoé Öğüt", "the home city of {} is", "Paris, France"),
    EditRequest("鲁迅", "我知道{}出生于", "北京"),
    EditRequest("Ada Lovelace", "{} was born in", "Málaga"),
)
TEMPLATES = ("{}", "I think that you. {}", "北京是中国的首都。{}")


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp(request.param)
    return folder, build_family(request.param, folder)


@pytest.fixture(scope="module")
def model(family: tuple[Path, EditableModel]) -> EditableModel:
    return family[1]


@pytest.fixture(scope="module")
def moments(model: EditableModel) -> Moments:
    return all_moments(model)


def plain(text: str) -> str:
    """Without what tokenizers may change: white space before the text, and composition."""
    return unicodedata.normalize("NFC", text).strip()


def loss(model: EditableModel, fact: EditRequest, value: torch.Tensor | None = None) -> float:
    """Mean NLL of the target after the bare prompt; the projection gives `value` at the subject."""
    filled = fill(fact)
    row = target_row(model, filled.text, fact.target_new, subject=filled.subject)
    name = model.parameter_name(LAYER)

    def moved(output: torch.Tensor) -> torch.Tensor:
        rows = output.clone().reshape(len(row.ids), -1)
        bias = model.bias(name)
        rows[row.subject] = value if bias is None else value + bias
        return rows.reshape(output.shape)

    edits = {} if value is None else {model.projection(LAYER): moved}
    with torch.no_grad(), Trace(model.model, edit_outputs=edits):
        logits = model.model(input_ids=torch.tensor([row.ids])).logits[0]
    return float(
        torch.nn.functional.cross_entropy(logits[list(row.positions)], torch.tensor(row.labels))
    )


def test_the_families_cover_the_table_and_every_way_of_tokenising() -> None:
    assert set(TOKENIZERS) == set(FAMILIES)
    first = {name: build()("Ada was")["input_ids"] for name, build in TOKENIZERS.items()}
    starts = {name: ids[0] == 0 for name, ids in first.items()}
    assert starts["llama"] and not starts["phi3"] and starts["opt"] and not starts["gpt2"]
    pieces = {name: build().tokenize("Ada was")[0] for name, build in TOKENIZERS.items()}
    assert pieces["llama"].startswith("▁") and not pieces["gemma"].startswith("▁")
    assert pieces["phi"].startswith("Ġ") and not pieces["gpt2"].startswith("Ġ")


@pytest.mark.parametrize("fact", FACTS, ids=["accents", "chinese", "ascii"])
def test_the_subject_ends_where_its_characters_end(fact: EditRequest, model: EditableModel) -> None:
    decomposed = EditRequest(
        unicodedata.normalize("NFD", fact.subject), fact.prompt, fact.target_new
    )
    for request in (fact, decomposed):
        for template in TEMPLATES:
            filled = fill(request, template)
            row = subject_rows(model, [filled])[0]
            wanted = plain(filled.text[: filled.subject[1]])
            if model.tokenizer.unk_token_id in row:
                assert request is decomposed  # a combining mark that the vocabulary lacks
                continue
            assert plain(model.decode(row)).startswith(wanted)
            assert not plain(model.decode(row[:-1])).startswith(wanted)
            target = target_row(model, filled.text, request.target_new, subject=filled.subject)
            whole = (*target.ids, target.labels[-1])
            assert plain(model.decode(whole)).endswith(plain(request.target_new))
            assert plain(request.target_new) in plain(model.decode(target.labels))
            assert target.subject == len(row) - 1


def test_keys_are_what_a_plain_forward_gives_the_projection(model: EditableModel) -> None:
    found = subject_keys(model, FACTS, layers=[LAYER], templates=TEMPLATES)[LAYER]
    module = model.model.get_submodule(model.projection(LAYER))
    seen: list[torch.Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    try:
        for fact in FACTS:
            for template in TEMPLATES:
                encoded = encode(model, fill(fact, template).text)
                with torch.no_grad():
                    model.model(input_ids=torch.tensor([encoded.ids]))
                place = subject_position(encoded, fill(fact, template).subject)
                seen[-1] = seen[-1].reshape(len(encoded.ids), -1)[place]
    finally:
        handle.remove()
    assert torch.allclose(found.reshape(len(seen), -1), torch.stack(seen), atol=1e-5)


def test_padding_on_either_side_changes_nothing(model: EditableModel) -> None:
    prompts = ["Ada Lovelace was born in", "鲁迅", "I"]
    together = model.generate(prompts, 5, stop=None)
    assert together == [model.generate([prompt], 5, stop=None)[0] for prompt in prompts]
    rows = [encode(model, prompt).ids for prompt in prompts]
    batch = model.batch(rows)
    with torch.no_grad():
        logits = model.forward(batch)
        for i, row in enumerate(rows):
            alone = model.model(input_ids=torch.tensor([row])).logits[0]
            assert torch.allclose(logits[i, : len(row)], alone, atol=1e-4)


@pytest.mark.parametrize("fact", FACTS, ids=["accents", "chinese", "ascii"])
def test_rome_solves_its_constraint_with_the_value_that_says_the_target(
    fact: EditRequest, model: EditableModel, moments: Moments
) -> None:
    before = state(model)
    editor = get_editor("rome")
    hparams = editor.hparams.from_dict({**HPARAMS["rome"], "v_lr": 0.4, "v_num_grad_steps": 12})
    bare = EditContext(torch.Generator(), ("{}",), moments.__getitem__)
    delta = editor(model, [fact], hparams, context=bare)
    assert state(model) == before
    (name,) = delta.parameters
    assert name == model.parameter_name(LAYER)
    change, key, value = delta.parameters[name], delta.keys[name], delta.values[name]
    assert isinstance(change, LowRank)
    edited = model.weight(name).double() + product(change)
    assert torch.allclose(edited @ key.double(), value.double(), atol=1e-4)
    direction = moments[LAYER].solve(key.double())[:, 0]
    cosine = torch.nn.functional.cosine_similarity(direction, change.v[0].double(), dim=0)
    assert float(cosine) > 1 - 1e-6
    said = delta.evidence["nll"]
    assert said[0] == pytest.approx(loss(model, fact), abs=1e-3)
    assert said[-1] < said[0] - 0.02
    assert said[-1] == pytest.approx(loss(model, fact, value[:, 0]), abs=1e-3)


def test_memit_solves_its_normal_equations(model: EditableModel, moments: Moments) -> None:
    before = state(model)
    delta = run_batch("memit", FACTS, model, moments, contexts=0)
    assert state(model) == before
    assert set(delta.parameters) == {model.parameter_name(n) for n in HPARAMS["memit"]["layers"]}
    for layer in HPARAMS["memit"]["layers"]:
        name = model.parameter_name(layer)
        keys, wanted = delta.keys[name].double(), delta.values[name].double()
        residual = wanted - model.weight(name).double() @ keys
        moment = HPARAMS["memit"]["mom2_update_weight"] * moments[layer].moment
        left = product(delta.parameters[name]) @ (moment + keys @ keys.T)
        assert torch.allclose(left, residual @ keys.T, rtol=1e-3, atol=1e-3 * float(left.norm()))
    assert all(last < first - 0.01 for first, last in delta.evidence["nll"])


def test_a_ledger_edits_it_and_takes_the_edit_out_bit_for_bit(
    family: tuple[Path, EditableModel], tmp_path: Path
) -> None:
    folder, model = family
    probes = tmp_path / "probes.txt"
    probes.write_text("I think that\n", encoding="utf-8")
    with Ledger.init(tmp_path / "ledger", base=str(folder), probes=probes) as ledger:
        assert ledger.status().base.model_type == model.architecture.model_type
        first = ledger.status().weights_digest
        settings = {"v_num_grad_steps": 4, "v_lr": 0.1, "max_update_ratio": 1e4}
        outcomes = [
            ledger.edit(
                fact, layer=0, gate=None, overrides={**settings, "second_moment": "identity"}
            )
            for fact in FACTS[:2]
        ]
        assert [outcome.outcome for outcome in outcomes] == ["applied", "applied"]
        out = tmp_path / "merged"
        ledger.export(out)
        merged = AutoModelForCausalLM.from_pretrained(out).state_dict()
        base = model.model.state_dict()
        changed = {name for name in base if not torch.equal(base[name], merged[name])}
        assert changed == {model.parameter_name(0)}
        ledger.revert(["1"])
        ledger.revert(["2"])
        assert ledger.status().weights_digest == first
        ledger.workspace.at_head()
        live = ledger.workspace.live.model
        assert torch.equal(
            live.weight(live.parameter_name(0)), model.weight(live.parameter_name(0))
        )
