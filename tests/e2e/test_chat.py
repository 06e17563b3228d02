"""`kel chat`, line by line: statement, proposal, yes, changed answer, undo; in both languages."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from ledger import EditRequest, Ledger
from ledger.demo import facts
from tests.e2e.harness import Kel, copied, rows

ENGLISH = next(f for f in facts() if f["relation"] == "birthplace")
CHINESE = next(f for f in facts() if f["relation"] == "职业")
ASK = ENGLISH["prompt"].replace("{}", ENGLISH["subject"])
NEW = "Quenby" if ENGLISH["target_true"] != "Quenby" else "Vantry"


@pytest.fixture(scope="module")
def demo(probes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of the embedded model with its statistics measured, and two probes."""
    folder = tmp_path_factory.mktemp("demo") / "ledger"
    with Ledger.init(folder, base="demo", probes=probes, author="ada") as ledger:
        ledger.stats()
    return folder


@pytest.fixture
def chat(demo, tmp_path, monkeypatch, clean):
    place = copied(demo, tmp_path / "ledger")
    kel = Kel(place)

    def run(*lines: str, options: tuple[str, ...] = ()):
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        return kel("chat", *options)

    run.kel, run.place = kel, place
    return run


def test_a_correction_is_proposed_confirmed_made_seen_and_undone(chat):
    old = ENGLISH["target_true"]
    done = chat(ASK, f"No, it is {NEW}.", "yes", ASK, "/facts", "/compare", ASK, "/undo", "y", ASK)
    assert done.status == 0
    assert "no chat model" in done.err
    lines = [line.split() for line in done.out.splitlines()]
    answers = [line for line in lines if line[0] in ("v0", "v1", "v2", "base")]
    assert answers == [["v0", f"{old}."], ["v1", f"{NEW}."], ["base", f"{old}."],
                       ["v1", f"{NEW}."], ["base", f"{old}."], ["v2", f"{old}."]]  # fmt: skip
    assert f"a change? {ASK} -> {NEW}" in done.out
    assert ["says", "now", f"{old}."] in lines
    assert ["would", "say", f"{NEW}."] in lines
    assert "applied edit 1, the ledger is at v1" in done.out
    assert ["undone,", "the", "ledger", "is", "at", "v2"] in lines
    entry = chat.kel.json("log")["entries"][1]
    assert entry["note"] == f"chat: No, it is {NEW}."


def test_the_same_in_chinese_as_a_document(chat):
    asked = CHINESE["prompt"].replace("{}", CHINESE["subject"])
    new = "律师" if CHINESE["target_true"] != "律师" else "画家"
    done = chat(asked, f"不对，是{new}。", "是", asked, options=("--json",))
    kinds = [turn["kind"] for turn in done.body["turns"]]
    assert kinds == ["answer", "edit", "answer"]
    first, edit, last = done.body["turns"]
    assert (first["answer"]["version"], last["answer"]["version"]) == (0, 1)
    assert edit["outcome"]["request"]["target_true"] == CHINESE["target_true"]
    assert last["answer"]["text"] == f"{new}。"
    assert last["base"] is None


def test_with_four_eyes_a_change_is_only_proposed(chat):
    with Ledger.open(chat.place) as ledger:
        ledger.access.accounts.need_four_eyes(True, author="root")
        head = ledger.status().version
    done = chat(ASK, f"No, it is {NEW}.", "yes", options=("--json",))
    (proposal,) = [turn["proposal"] for turn in done.body["turns"] if turn["kind"] == "proposed"]
    with Ledger.open(chat.place) as ledger:
        assert ledger.status().version == head
        (pending,) = ledger.access.proposals.waiting()
        ledger.edit(EditRequest.from_json(pending.body), gate=None)
    assert (pending.id, pending.proposer, pending.kind) == (proposal["id"], "ada", "edit")
    told = chat("/undo", "y")
    assert "proposed by ada; nothing is changed yet" in told.out
    with Ledger.open(chat.place) as ledger:
        assert ledger.status().version == head + 1
        assert ledger.access.proposals.waiting()[-1].kind == "revert"


@pytest.mark.parametrize("answer", [(), ("maybe",)])
def test_without_a_yes_nothing_is_changed(chat, answer):
    before = rows(chat.place)
    done = chat(ASK, f"No, it is {NEW}.", *answer)
    assert done.status == 0
    assert "nothing was changed" in done.out
    assert rows(chat.place) == before


def test_a_turn_that_fails_does_not_end_the_conversation(chat):
    done = chat("/at v9", "/at base", ASK, "/clean", "/facts", "/what", "/quit", ASK)
    assert done.status == 0
    assert "kel: 'v9' names no version; the head is version 0." in done.err
    assert done.out.count(ENGLISH["target_true"]) == 1
    assert "the conversation is forgotten" in done.out
    assert "no facts" in done.out
    assert "/undo" in done.out


def test_what_the_model_says_already_is_no_change(chat):
    done = chat(ASK, f"Wrong, it is {ENGLISH['target_true']}")
    assert "the model says so already" in done.out
    assert "change the model?" not in done.err


def test_an_undo_with_nothing_to_undo_says_so(chat):
    done = chat("/undo", "y")
    assert done.status == 0
    assert "nothing to undo" in done.err


def test_an_unknown_version_is_refused_at_once(chat):
    assert chat.kel.refused(2, "chat", "--at", "v7", says=["v7"])


def test_a_model_without_a_chat_template_cannot_be_the_detector(chat):
    for command in ("chat", "serve"):
        chat.kel.refused(2, command, "--detector", "model", says=["no chat template"])
