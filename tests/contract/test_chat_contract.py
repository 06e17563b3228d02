"""Through a chat template: rows are the template's, subjects are found in it, edits hold in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from editors.chat import Frame, frame_of
from editors.errors import UnsupportedModel
from editors.keys import subject_keys
from editors.model import EditableModel
from editors.prompts import encode, fill, natural_stop, subject_rows, target_row
from editors.requests import EditRequest, Probe
from editors.trace import Trace
from ledger import Ledger
from tests.contract.families import byte_level, metaspace, random_model, sentence_pieces
from tests.contract.harness import LAYER, all_moments, product, run_batch

CHATML = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nBe brief.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
THINKING = CHATML.replace(
    "<|im_start|>assistant\n{% endif %}",
    "<|im_start|>assistant\n{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"
    "{% endif %}",
).replace(
    "{{ m.content }}",
    "{% if m.role == 'assistant' %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}",
)
INST = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}"
    "[INST] {{ m.content | trim }} [/INST]{% else %} {{ m.content | trim }}{{ eos_token }}"
    "{% endif %}{% endfor %}"
)
TURNS = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>"
    "{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>model\n{% endif %}"
)
KINDS: dict[str, tuple[str, Any, str]] = {
    "qwen2": ("qwen2", lambda: byte_level(nfc=True), CHATML),
    "qwen3": ("qwen3", lambda: byte_level(nfc=True), THINKING),
    "llama": ("llama", sentence_pieces, INST),
    "mistral": ("mistral", metaspace, INST),
    "gemma": ("gemma", lambda: sentence_pieces(prefix=False), TURNS),
}
FACTS = (
    EditRequest("Zoé Öğüt", "the home city of {} is", "Paris, France"),
    EditRequest("鲁迅", "我知道{}出生于", "北京"),
    EditRequest("Ada Lovelace", "{} was born in", "Málaga"),
)
TEMPLATES = ("{}", "I think that you. {}", "北京是中国的首都。{}")


def chat_tokenizer(build: Any, template: str | None) -> Any:
    tokenizer = build()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = template
    return tokenizer


@pytest.fixture(scope="module", params=sorted(KINDS))
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp(request.param)
    model_type, build, template = KINDS[request.param]
    random_model(model_type).save_pretrained(folder)
    chat_tokenizer(build, template).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(saved: Path) -> EditableModel:
    plain = EditableModel.load(saved)
    return EditableModel.load(saved, frame=frame_of(plain.tokenizer))


def by_template(model: EditableModel, prompt: str, answer: str | None = None) -> list[int]:
    """The token ids of a conversation as transformers makes them."""
    messages = [{"role": "user", "content": prompt}]
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    ids = model.tokenizer.apply_chat_template(
        messages, add_generation_prompt=answer is None, enable_thinking=False, return_dict=True
    )["input_ids"]
    return list(ids)


@pytest.mark.parametrize("prompt", ["Ada was born in", "鲁迅出生于", "Zoé {x}\nis", " I think "])
def test_a_prompt_is_what_the_template_makes_of_it(prompt: str, model: EditableModel) -> None:
    assert list(encode(model, prompt).ids) == by_template(model, prompt.strip())


@pytest.mark.parametrize("fact", FACTS, ids=["accents", "chinese", "ascii"])
def test_a_target_stands_where_the_template_puts_an_answer(
    fact: EditRequest, model: EditableModel
) -> None:
    for template in TEMPLATES:
        filled = fill(fact, template)
        row = target_row(model, filled.text, fact.target_new, subject=filled.subject)
        whole = by_template(model, filled.text, fact.target_new)
        ids = [*row.ids, row.labels[-1]]
        assert ids == whole[: len(ids)]
        assert model.decode(row.labels).strip() == fact.target_new
        assert list(row.labels) == ids[row.first :]


@pytest.mark.parametrize("fact", FACTS, ids=["accents", "chinese", "ascii"])
def test_the_subject_is_found_in_the_rendered_text(fact: EditRequest, model: EditableModel) -> None:
    for template in TEMPLATES:
        filled = fill(fact, template)
        row = subject_rows(model, [filled])[0]
        text = model.tokenizer.decode(row)
        assert text.rstrip().endswith(filled.text[: filled.subject[1]])
        assert not model.tokenizer.decode(row[:-1]).endswith(fact.subject)
        assert list(row) == by_template(model, filled.text)[: len(row)]


def test_white_space_before_a_prompt_does_not_move_its_subject(model: EditableModel) -> None:
    plain = fill(EditRequest("Ada Lovelace", "{} was born in", "Paris"))
    spaced = fill(EditRequest("Ada Lovelace", "\n\t {} was born in ", "Paris"))
    assert plain.subject != spaced.subject
    assert subject_rows(model, [plain])[0] == subject_rows(model, [spaced])[0]


def test_an_edit_solves_its_constraint_at_the_subject_of_the_conversation(
    model: EditableModel,
) -> None:
    moments = all_moments(model)
    name = model.parameter_name(LAYER)
    for fact in FACTS:
        delta = run_batch("rome", [fact], model, moments, v_lr=0.3)
        edited = model.weight(name).double() + product(delta.parameters[name])
        wanted = delta.values[name].double()
        assert torch.allclose(edited @ delta.keys[name].double(), wanted, atol=1e-4)
        assert delta.evidence["nll"][-1] < delta.evidence["nll"][0]
    (losses, *_) = run_batch("memit", FACTS, model, moments).evidence["nll"]
    assert losses[1] < losses[0]


def test_keys_are_those_of_the_conversation(model: EditableModel) -> None:
    fact = FACTS[0]
    (key,) = subject_keys(model, [fact], layers=[LAYER], templates=["{}"])[LAYER][0]
    ids = by_template(model, fact.text)
    with torch.no_grad(), Trace(model.model, inputs=[model.projection(LAYER)]) as trace:
        model.model(input_ids=torch.tensor([ids]))
    place = len(subject_rows(model, [fill(fact)])[0]) - 1
    assert torch.allclose(key, trace.input(model.projection(LAYER))[0, place], atol=1e-5)
    (raw,) = subject_keys(model.plain, [fact], layers=[LAYER], templates=["{}"])[LAYER][0]
    assert not torch.allclose(key, raw, atol=1e-3)


def test_a_corpus_is_read_without_the_template(model: EditableModel) -> None:
    assert torch.equal(all_moments(model)[0].moment, all_moments(model.plain)[0].moment)


@pytest.mark.parametrize("saved", ["llama", "qwen3"], indirect=True)
def test_a_ledger_asks_edits_tests_and_reverts_through_the_template(
    saved: Path, tmp_path: Path
) -> None:
    probes = tmp_path / "probes.txt"
    probes.write_text("I think that\n", encoding="utf-8")
    settings: Any = {
        "layer": 0,
        "gate": None,
        "overrides": {
            "second_moment": "identity",
            "v_num_grad_steps": 4,
            "v_lr": 0.1,
            "max_update_ratio": 1e4,
        },
    }
    fact = EditRequest(
        "Ada Lovelace",
        "{} was born in",
        "Málaga",
        paraphrases=("The home city of Ada Lovelace is",),
        neighbourhood=(Probe("Marie Curie was born in"),),
    )
    directory = tmp_path / "ledger"
    with Ledger.init(directory, base=str(saved), probes=probes, chat_template=True) as ledger:
        assert ledger.status().base.chat
        assert ledger.ask("Ada Lovelace was born in").text == answer(saved, fact.text)
        outcome = ledger.edit(fact, **settings)
        assert outcome.outcome == "applied"
    with Ledger.open(directory) as ledger:
        (batch,) = ledger.journal.batches([1]).values()
        frame = ledger.workspace.live.model.frame
        assert frame is not None
        assert Frame.from_json(batch.environment["chat"]) == frame
        kept = {m.protocol for m in ledger.journal.measurements(edit_id=1, suite="edit")}
        assert len(kept) == 1
        assert "; chat template " in kept.pop()
        again = ledger.test("HEAD")
        assert dict(again.rows[0].metrics) == {
            name: value for name, value in outcome.metrics.items() if name in again.rows[0].metrics
        }
        merged = tmp_path / "merged"
        ledger.export(merged)
        assert ledger.ask(fact.text).text == answer(merged, fact.text)
        ledger.revert(["1"])
        assert ledger.ask(fact.text).text == answer(saved, fact.text)


def answer(folder: Path, prompt: str) -> str:
    """What transformers alone answers through the template, greedily, to the same stop."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    inputs = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}],
        add_generation_prompt=True,
        enable_thinking=False,
        return_tensors="pt",
        return_dict=True,
    )
    start = inputs["input_ids"].shape[1]
    ids = model.generate(**inputs, do_sample=False, max_new_tokens=32)[0, start:]
    text = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text[: natural_stop(text, True)]


def test_a_tokenizer_without_a_template_is_refused(tmp_path: Path) -> None:
    random_model("llama").save_pretrained(tmp_path)
    chat_tokenizer(sentence_pieces, None).save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModel, match="has no chat template: leave --chat-template out"):
        Ledger.init(tmp_path / "ledger", base=str(tmp_path), chat_template=True)
    assert not (tmp_path / "ledger").exists()


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ messages[0].content | upper }}", "changes the user's words"),
        ("{{ messages[0].content }}{{ messages[0].content }}", "changes the user's words"),
        ("{{ messages[0].content | replace('{', '') }} A:", "changes the user's words"),
        (THINKING.replace("enable_thinking is false", "false"), "thinking part"),
        ("{{ raise_exception('only tools') }}", "cannot be used .*only tools"),
        ("{{ nothing.at.all }}", "cannot be used"),
        ("{% if %}", "cannot be used"),
    ],
)
def test_a_template_that_is_no_frame_is_refused(template: str, reason: str) -> None:
    with pytest.raises(UnsupportedModel, match=reason):
        frame_of(chat_tokenizer(byte_level, template))
