"""Answers as they come: pieces that make the text, stops, samples, whole conversations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli.conversation import Conversation, Exchange
from editors.chat import frame_of
from editors.errors import InvalidRequest
from editors.model import EditableModel
from editors.prompts import encode, natural_stop
from editors.speaking import conversation_ids, room, speak
from ledger import Ledger
from ledger.conversing import MOST_CHARACTERS, Speech
from ledger.errors import InvalidInput
from ledger.intent import InstructDetector, Proposal, Turn
from tests.contract.families import byte_level, random_model
from tests.contract.test_chat_contract import CHATML, chat_tokenizer

SAID = [
    {"role": "user", "content": "Where was Ada born?"},
    {"role": "assistant", "content": "In London."},
    {"role": "user", "content": "And 北京?"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chat model of random weights."""
    place = tmp_path_factory.mktemp("chatty")
    chatty = random_model("qwen2")
    chatty.config.max_position_embeddings = 1024
    chatty.save_pretrained(place)
    chat_tokenizer(lambda: byte_level(nfc=True), CHATML).save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def model(folder: Path) -> EditableModel:
    plain = EditableModel.load(folder)
    return EditableModel.load(folder, frame=frame_of(plain.tokenizer))


@pytest.fixture(scope="module")
def ledger(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    probes = tmp_path_factory.mktemp("probes") / "probes.txt"
    probes.write_text("Ada\n", "utf-8")
    place = tmp_path_factory.mktemp("ledger") / "ledger"
    with Ledger.init(place, base=str(folder), probes=probes, chat_template=True) as opened:
        yield opened


def test_the_pieces_are_the_text_and_the_text_is_the_greedy_one(model: EditableModel) -> None:
    heard: list[str] = []
    ids = encode(model, "Where was Ada born?").ids
    spoken = speak(model, ids, 24, listener=lambda piece: heard.append(piece) is None)
    assert "".join(heard) == spoken.text
    assert len(heard) > 1
    assert spoken.text == model.generate(["Where was Ada born?"], 24, stop=None)[0]
    assert (spoken.finish, spoken.prompt_tokens) == ("length", len(ids))


def test_no_piece_ends_within_a_character(model: EditableModel) -> None:
    for prompt in ("北京", "Ada", "é"):
        heard: list[str] = []
        speak(model, encode(model, prompt).ids, 24, listener=lambda p, h=heard: h.append(p) is None)
        assert [piece for piece in heard[:-1] if piece.endswith("\ufffd")] == []
        assert len(heard) > 1


def test_a_listener_stops_the_answer_at_once(model: EditableModel) -> None:
    heard: list[str] = []

    def twice(piece: str) -> bool:
        heard.append(piece)
        return len(heard) < 2

    spoken = speak(model, encode(model, "Ada").ids, 24, listener=twice)
    assert spoken.finish == "stopped"
    assert spoken.text == "".join(heard)
    assert spoken.tokens < 24


def test_an_answer_ends_where_the_rule_says(model: EditableModel) -> None:
    whole = speak(model, encode(model, "Ada").ids, 24).text
    mark = whole[len(whole) // 2]

    def at_mark(text: str, complete: bool) -> int | None:
        place = text.find(mark)
        return None if place < 0 else place

    spoken = speak(model, encode(model, "Ada").ids, 24, stop=at_mark)
    assert spoken.text == whole[: whole.index(mark)]
    assert spoken.finish == "stop"
    assert natural_stop("a. b", False) == 2


def test_a_conversation_is_what_the_template_makes_of_it(model: EditableModel) -> None:
    ids = model.tokenizer.apply_chat_template(SAID, add_generation_prompt=True, return_dict=True)
    assert conversation_ids(model, SAID) == list(ids["input_ids"])
    assert conversation_ids(model, SAID[:1]) == list(encode(model, SAID[0]["content"]).ids)
    assert conversation_ids(model.plain, SAID) == list(encode(model.plain, "And 北京?").ids)
    with pytest.raises(InvalidRequest, match="user's"):
        conversation_ids(model, SAID[:2])


def test_what_does_not_fit_is_refused(model: EditableModel) -> None:
    limit = room(model)
    assert limit is not None
    with pytest.raises(InvalidRequest, match="no room"):
        speak(model, [5] * limit, 1)
    cut = speak(model, [5] * (limit - 3), 10)
    assert (cut.finish, cut.tokens) == ("length", 3)


def test_old_turns_are_dropped_until_the_conversation_fits(ledger: Ledger) -> None:
    limit = room(ledger.workspace.live.model)
    long = [*SAID[:2] * 60, SAID[2]]
    reply = ledger.say(long, speech=Speech(4))
    assert limit is not None
    assert reply.prompt_tokens + 4 <= limit
    assert reply.prompt_tokens > ledger.say(SAID, speech=Speech(4)).prompt_tokens
    system = {"role": "system", "content": "Be kind."}
    assert ledger.say([system, *long], speech=Speech(4)).prompt_tokens + 4 <= limit


def test_samples_follow_their_seed_and_the_coldest_is_greedy(ledger: Ledger) -> None:
    def text(**how: Any) -> str:
        return ledger.say(SAID, speech=Speech(12, **how)).text

    assert text(temperature=2.0, seed=1) == text(temperature=2.0, seed=1)
    assert len({text(temperature=2.0, seed=seed) for seed in range(4)}) > 1
    assert text(temperature=2.0, top_p=1e-9, seed=1) == text()


def test_a_stop_text_ends_the_answer_before_it(ledger: Ledger) -> None:
    whole = ledger.complete("Ada was", speech=Speech(16)).text
    stop = whole[3:5]
    found = ledger.complete("Ada was", speech=Speech(16, stops=(stop,)))
    assert found.text == whole[: whole.index(stop)]
    assert found.finish == "stop"


@pytest.mark.parametrize(
    "how",
    [{"max_new_tokens": 0}, {"max_new_tokens": 4097}, {"temperature": -1}, {"temperature": 2.1},
     {"top_p": 0}, {"top_p": 1.1}, {"stops": ("",)}, {"stops": ("a",) * 5}],
)  # fmt: skip
def test_a_way_to_answer_that_makes_no_sense_cannot_exist(how: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Speech(**how)


@pytest.mark.parametrize(
    "messages",
    [[], [{"role": "user", "content": " "}], [{"role": "tool", "content": "x"}],
     [{"role": "user", "content": "x" * (MOST_CHARACTERS + 1)}], SAID * 70],
)  # fmt: skip
def test_messages_have_limits(ledger: Ledger, messages: list[dict[str, str]]) -> None:
    with pytest.raises(InvalidInput):
        ledger.say(messages)


def test_an_instruct_model_can_be_the_detector(ledger: Ledger) -> None:
    # Random weights say nothing in JSON, so nothing is proposed; the way there and back is real.
    assert ledger.detector()("Ada was born in Paris") is None
    good = '{"intent": true, "subject": "Ada", "prompt": "{} was born in", "new": "Paris"}'
    assert InstructDetector(lambda _: good)("Ada was born in Paris") == Proposal(
        "Ada", "{} was born in", "Paris", None, 0.5, ("Paris",)
    )


def test_the_other_detector_is_asked_where_the_rules_find_nothing() -> None:
    asked: list[Any] = []

    def other(message: str, turn: Any = None) -> Proposal:
        asked.append((message, turn))
        return Proposal("Ada", "{} was born in", "Rome")

    talk = Conversation()
    talk.add(Exchange("Where was Ada born?", " In London.", 3))
    assert talk.proposed("No, it is Paris", other) == talk.proposed("No, it is Paris")
    assert asked == []
    assert talk.proposed("Rome, rather") is None
    found = talk.proposed("Rome, rather", other)
    assert found is not None
    assert found.target_new == "Rome"
    assert asked == [("Rome, rather", Turn("Where was Ada born?", "In London."))]
