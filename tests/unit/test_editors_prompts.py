"""The subject and the target are found at the right tokens, whatever the tokenizer does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from editors.errors import InvalidRequest, UnsupportedModel
from editors.model import EditableModel
from editors.prompts import (
    context_templates,
    encode,
    fill,
    fill_subject,
    natural_stop,
    separator,
    subject_position,
    subject_rows,
    target_row,
)
from editors.requests import EditRequest
from tests.contract.tiny import REQUEST, TEMPLATES, tiny_llama, tiny_square, tiny_tokenizer

CHINESE = EditRequest("爱因斯坦", "爱因斯坦出生于", "北京")


@pytest.fixture(scope="module", params=["bos", "no bos"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    build = tiny_llama if request.param == "bos" else tiny_square
    return build(tmp_path_factory.mktemp("model"))


def fake_tokenizer(ids: list[int], spans: list[tuple[int, int]]) -> Any:
    """A tokenizer that answers every text with these tokens."""

    class Fake:
        is_fast = True

        def __call__(self, texts: list[str], **options: Any) -> dict[str, Any]:
            return {"input_ids": [ids] * len(texts), "offset_mapping": [spans] * len(texts)}

    return Fake()


def text_of(model: EditableModel, ids: tuple[int, ...]) -> str:
    return model.decode(ids)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("request_", [REQUEST, CHINESE])
def test_a_row_cut_at_the_subject_ends_with_the_subject(
    request_: EditRequest, template: str, model: EditableModel
) -> None:
    filled = fill(request_, template)
    begin, end = filled.subject
    assert filled.text[begin:end] == request_.subject
    row = subject_rows(model, [filled])[0]
    assert text_of(model, row).startswith(filled.text[:end])
    assert not text_of(model, row[:-1]).startswith(filled.text[:end])


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_position_equals_that_of_separate_tokenisation(
    template: str, model: EditableModel
) -> None:
    filled = fill(REQUEST, template)
    head = filled.text[: filled.subject[1]]
    expected = len(model.tokenizer(head)["input_ids"]) - 1
    assert subject_position(encode(model, filled.text), filled.subject) == expected


def test_bos_is_kept_and_a_final_eos_is_dropped() -> None:
    tokenizer = tiny_tokenizer(bos=True)
    fake: Any = SimpleNamespace(tokenizer=tokenizer, end_ids=frozenset([1]), frame=None)
    plain = encode(fake, "Ada")
    assert plain.ids[0] == tokenizer.bos_token_id
    assert plain.spans[0] == (0, 0)
    ending = fake_tokenizer([0, 9, 1], [(0, 0), (0, 3), (0, 0)])
    fake.tokenizer = ending
    assert encode(fake, "Ada").ids == (0, 9)


def test_a_merge_over_the_end_of_the_subject_counts_as_the_subject() -> None:
    spans = ((0, 0), (0, 2), (2, 6), (6, 8))
    fake: Any = SimpleNamespace(text="Ada's..", spans=spans)
    assert subject_position(fake, (0, 3)) == 2
    assert subject_position(fake, (0, 2)) == 1
    with pytest.raises(InvalidRequest, match="drops the subject"):
        subject_position(fake, (9, 12))


def test_a_tokenizer_without_offsets_is_refused() -> None:
    slow: Any = SimpleNamespace(tokenizer=SimpleNamespace(is_fast=False), frame=None)
    with pytest.raises(UnsupportedModel, match="no character offsets"):
        encode(slow, "Ada")


@pytest.mark.parametrize(
    ("prompt", "target", "expected"),
    [
        ("born in", "Paris", " "),
        ("born in ", "Paris", ""),
        ("born in\u3000", "Paris", ""),
        ("出生于", "北京", ""),
        ("出生于", "Paris", ""),
        ("born in", "北京", ""),
        ("서울은", "한국", " "),
        ("出生于：", "北京", ""),
    ],
)
def test_exactly_one_separator_and_none_beside_cjk(prompt: str, target: str, expected: str) -> None:
    assert separator(prompt, target) == expected


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("request_", [REQUEST, CHINESE])
def test_labels_are_the_target_and_the_row_lacks_only_its_last_token(
    request_: EditRequest, template: str, model: EditableModel
) -> None:
    filled = fill(request_, template)
    row = target_row(model, filled.text, request_.target_new, subject=filled.subject)
    whole = (*row.ids, row.labels[-1])
    gap = separator(filled.text, request_.target_new)
    assert text_of(model, whole) == filled.text + gap + request_.target_new
    assert text_of(model, row.labels) == gap + request_.target_new
    assert whole[row.first :] == row.labels
    assert list(row.positions) == list(range(row.first - 1, len(row.ids)))
    assert row.subject is not None
    assert whole[: row.subject + 1] == subject_rows(model, [filled])[0]


def test_a_target_merged_into_the_subject_is_refused() -> None:
    merged = fake_tokenizer([3, 4], [(0, 1), (1, 4)])
    fake: Any = SimpleNamespace(tokenizer=merged, end_ids=frozenset(), frame=None)
    with pytest.raises(InvalidRequest, match="merges the end of the subject"):
        target_row(fake, "北京", "是的", subject=(0, 2))
    with pytest.raises(InvalidRequest, match="lengthen the prompt"):
        target_row(fake, "", "是的是", subject=None)


def test_the_essence_template_keeps_the_subject_s_place() -> None:
    filled = fill_subject("Ada", "{} is a")
    assert (filled.text, filled.subject) == ("Ada is a", (0, 3))


@pytest.mark.parametrize(
    ("text", "streaming", "complete"),
    [
        ("Paris", None, None),
        ("Paris.", None, 6),
        ("Paris. It", 6, 6),
        ("3.5 km", None, None),
        ("3.5 km. And", 7, 7),
        ("Paris\nLyon", 5, 5),
        ("Really?! Yes", 8, 8),
        ("北京。上海", 3, 3),
        ("真的？", 3, 3),
        ("\nParis\n", 6, 6),
        ("   ", None, None),
        ("", None, None),
        ("A\nb. c", 1, 1),
    ],
)
def test_where_an_answer_ends(text: str, streaming: int | None, complete: int | None) -> None:
    assert natural_stop(text, False) == streaming
    assert natural_stop(text, True) == complete


def test_context_templates_are_21_reproducible_and_from_the_generator_only(
    model: EditableModel,
) -> None:
    torch.manual_seed(1)
    first = context_templates(model, torch.Generator().manual_seed(5))
    torch.manual_seed(2)
    before = torch.get_rng_state()
    again = context_templates(model, torch.Generator().manual_seed(5))
    assert first == again
    assert torch.equal(before, torch.get_rng_state())
    assert context_templates(model, torch.Generator().manual_seed(6)) != first
    assert len(first) == 21
    assert first[0] == "{}"
    assert all(t.count("{}") == 1 and t.endswith(". {}") for t in first[1:])
    assert all("{" not in t[:-2] and "}" not in t[:-2] and t.isprintable() for t in first)
    words = [t.removesuffix(". {}") for t in first[1:]]
    for lead in ("The", "Therefore", "Because", "I", "You"):
        assert sum(w.startswith(lead) for w in words) >= 4
