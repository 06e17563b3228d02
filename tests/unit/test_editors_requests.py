"""A request that exists is valid; what cannot be edited is refused with a reason."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editors.errors import InvalidRequest
from editors.requests import EditRequest, Fact, Probe


@pytest.mark.parametrize(
    ("subject", "prompt", "template"),
    [
        ("Ada", "Ada was born in", "{} was born in"),
        ("Ada", "{} was born in", "{} was born in"),
        ("Ada", "The home of Ada", "The home of {}"),
        ("  Ada ", "The home of Ada's cat", "The home of {}'s cat"),
        ("Art", "Art of Arthur is", "{} of Arthur is"),
        ("北京", "中国的首都北京位于", "中国的首都{}位于"),
        ("C++", "C++ was made by", "{} was made by"),
        ("a.c", "abc and a.c are", "abc and {} are"),
    ],
)
def test_the_prompt_becomes_a_template(subject: str, prompt: str, template: str) -> None:
    request = EditRequest(subject, prompt, "x")
    assert request.prompt == template
    assert request.text == template.replace("{}", subject.strip())
    assert request.fact == Fact(subject.strip(), template, "x")


def test_braces_in_a_prompt_are_only_text() -> None:
    request = EditRequest("Ada", "{0} {x!r} {{ {} %s", "x")
    assert request.text == "{0} {x!r} {{ Ada %s"


@pytest.mark.promise("P20")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"subject": "Bob"}, "'Bob' is not in the prompt"),
        ({"subject": "Ad"}, "is not in the prompt"),
        ({"prompt": "Ada and Ada are"}, "is 2 times in the prompt"),
        ({"prompt": "{} and {} are"}, "2 slots"),
        ({"prompt": "{} and Ada are"}, "has a slot and names the subject"),
        ({"subject": "a{}b"}, "contains '{}'"),
        ({"subject": " "}, "subject is empty"),
        ({"prompt": "\u3000"}, "prompt is empty"),
        ({"target_new": ""}, "target_new is empty"),
        ({"target_true": " "}, "target_true is empty"),
        ({"target_new": "London ", "target_true": " London"}, "nothing to edit"),
        ({"subject": "A" * 501}, "subject has 501 characters, the limit is 500"),
        ({"prompt": "Ada " + "x" * 1997}, "prompt has 2001 characters"),
        ({"target_new": "x" * 501}, "target_new has 501"),
        ({"target_true": "x" * 501}, "target_true has 501"),
        ({"subject": "A\x00da"}, "subject has a control character U[+]0000 at character 1"),
        ({"prompt": "Ada\vis"}, "prompt has a control character U[+]000B"),
        ({"subject": "A\nda"}, "subject has a control character U[+]000A"),
        ({"target_new": "a\x85b"}, "target_new has a control character U[+]0085"),
        ({"target_new": "a\ud800"}, "target_new has a lone surrogate U[+]D800"),
        ({"subject": 3}, "subject must be a text, not int"),
        ({"target_new": None}, "target_new must be a text"),
        ({"paraphrases": "Ada"}, "paraphrases must be a sequence, not str"),
        ({"paraphrases": ["x" * 2001]}, "paraphrase has 2001"),
        ({"neighbourhood": [3]}, "neighbourhood must hold probes, not int"),
        ({"portability": [{"prompt": "x", "y": 1}]}, "unknown field 'y'"),
        ({"same_subject": [{"answer": "x"}]}, "'prompt' is missing"),
    ],
)
def test_what_cannot_be_edited_is_refused(
    changes: dict[str, Any], message: str, figure: Callable[..., None]
) -> None:
    fields = {"subject": "Ada", "prompt": "Ada was born in", "target_new": "Paris"}
    assert EditRequest(**fields)
    with pytest.raises(InvalidRequest, match=message):
        EditRequest(**(fields | changes))
    if re.search(r"has \d{3}", message):
        figure("P20", "{} sizes beyond a limit: each refused", 1)


@pytest.mark.promise("P20")
def test_texts_at_the_limit_are_taken() -> None:
    request = EditRequest("A" * 500, "{}" + "x" * 1998, "y" * 500, paraphrases=("z" * 2000,))
    assert len(request.text) == 2498


@pytest.mark.parametrize("prompt", ["", "a\x07", "x" * 2001, None])
def test_probes_are_checked_too(prompt: Any) -> None:
    with pytest.raises(InvalidRequest, match="probe prompt"):
        Probe(prompt)


def test_requests_are_frozen_and_hashable() -> None:
    request = EditRequest("Ada", "{} is", "x", neighbourhood=[Probe("Bob is")])
    assert {request: 1}[request] == 1
    with pytest.raises(FrozenInstanceError):
        request.subject = "Bob"  # type: ignore[misc]


TEXT = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="{}"), min_size=1, max_size=40
).filter(lambda text: bool(text.strip()))
PROBES = st.lists(st.builds(Probe, TEXT, st.none() | TEXT), max_size=3).map(tuple)


@given(TEXT, TEXT, PROBES, st.lists(TEXT, max_size=3).map(tuple))
def test_json_round_trip(
    subject: str, target: str, probes: tuple[Probe, ...], paraphrases: tuple[str, ...]
) -> None:
    request = EditRequest(
        subject, "{}", target, paraphrases=paraphrases, neighbourhood=probes, portability=probes
    )
    data = json.loads(json.dumps(request.to_json()))
    assert EditRequest.from_json(data) == request
    assert Fact.from_json(request.fact.to_json()) == request.fact


def test_unknown_and_missing_json_fields_are_refused() -> None:
    data = EditRequest("Ada", "{} is", "x").to_json()
    with pytest.raises(InvalidRequest, match="unknown field 'extra'"):
        EditRequest.from_json(data | {"extra": 1})
    del data["subject"]
    with pytest.raises(InvalidRequest, match="'subject' is missing"):
        EditRequest.from_json(data)
    with pytest.raises(InvalidRequest, match="must be an object, not list"):
        EditRequest.from_json([])


def test_requests_errors_and_tables_import_without_torch() -> None:
    code = (
        "import sys, editors.requests, editors.errors, editors.hparams;"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_prompts_may_hold_newlines_and_tabs_as_benchmark_records_do() -> None:
    request = EditRequest(
        "Ada", "Chapter 2.\n\nAda was born in", "Paris", paraphrases=("A\tb Ada",)
    )
    assert request.text == "Chapter 2.\n\nAda was born in"
