"""The whole life of a ledger on the embedded model, through the commands.

Facts are chosen from those the model was taught, targets are other values of the same relation;
nothing depends on how well an edit succeeds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from editors.model import EditableModel
from ledger.base import demo_folder
from ledger.demo import facts
from tests.e2e.harness import Kel, check_export, copied, picture, refolded, write_lines

SURE = ("--no-gate", "--set", "max_update_ratio=10000")
STATUS = {"version", "active", "weights_digest", "base", "reverted", "rejected", "head", "tags"}
SHOW = {
    *("id", "active", "fact", "method", "layers", "hparams", "metrics", "delta"),
    *("created_at", "author", "note", "batch", "hash", "probes", "rejected"),
}
HEX = set("0123456789abcdef")


@dataclass(frozen=True)
class Story:
    """A ledger with three edits, and what it was made from."""

    place: Path
    source: Path
    outcomes: list[dict[str, Any]]
    requests: list[dict[str, Any]]


def requests() -> Iterator[dict[str, Any]]:
    """English, Chinese, English: different people, each with another value of the relation."""
    known = facts()
    seen: set[str] = set()
    for language in ("en", "zh", "en"):
        fact = next(f for f in known if f["language"] == language and f["subject"] not in seen)
        same = [f for f in known if f["relation"] == fact["relation"] and f["language"] == language]
        other = next(f for f in same if f["target_true"] != fact["target_true"])
        seen |= {fact["subject"], other["subject"]}
        yield {
            **{name: fact[name] for name in ("subject", "prompt", "target_true", "paraphrases")},
            "target_new": other["target_true"],
            "neighbourhood": [{"prompt": text(other), "answer": other["target_true"]}],
        }


def text(fact: dict[str, Any]) -> str:
    return str(fact["prompt"].replace("{}", fact["subject"]))


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, probes: Path) -> Story:
    folder = tmp_path_factory.mktemp("life")
    kel, given = Kel(), list(requests())
    source = write_lines(folder / "facts.jsonl", given)
    kel.json("init", str(folder / "ledger"), "--base", "demo", "--probes", str(probes))
    kel.place = folder / "ledger"
    first = write_lines(folder / "first.jsonl", given[:2])
    begun = kel.json("edit", "--from", str(first), *SURE, "-m", "three facts")
    assert begun["summary"] == {"applied": 2}
    ended = kel.json("edit", "--from", str(source), *SURE, "-m", "three facts")
    assert ended["summary"] == {"skipped": 2, "applied": 1}
    outcomes = [*begun["outcomes"], ended["outcomes"][2]]
    return Story(kel.place, source, outcomes, given)


@pytest.fixture
def kel(story: Story, tmp_path: Path, clean: None) -> Kel:
    return Kel(copied(story.place, tmp_path / "ledger"))


def test_a_run_goes_on_where_an_earlier_one_stopped_and_skips_what_is_done(kel: Kel, story: Story):
    assert [(o["outcome"], o["edit"], o["version"]) for o in story.outcomes] == [
        ("applied", 1, 1),
        ("applied", 2, 2),
        ("applied", 3, 3),
    ]
    before = picture(kel.place)
    again = kel.json("edit", "--from", str(story.source), *SURE, "-m", "three facts")
    assert [(o["outcome"], o["edit"]) for o in again["outcomes"]] == [
        ("skipped", 1),
        ("skipped", 2),
        ("skipped", 3),
    ]
    assert picture(kel.place) == before
    lines = kel("edit", "--from", str(story.source), *SURE).out.splitlines()
    assert lines[-1] == "3 requests: 3 skipped"


def test_status_and_show_carry_what_other_programs_rely_on(kel: Kel, story: Story):
    status = kel.json("status")
    assert status["schema"] == "kel.status/1"
    assert set(status) >= STATUS
    assert (status["version"], status["active"]) == (3, [1, 2, 3])
    assert set(status["base"]) >= {"id", "revision", "path", "dtype", "digest", "model_type"}
    assert (status["base"]["id"], status["base"]["path"]) == ("demo", str(demo_folder()))
    for number, request in enumerate(story.requests, start=1):
        shown = kel.json("show", str(number))
        assert set(shown) >= SHOW
        assert shown["id"] == number
        wanted = {n: request[n] for n in ("subject", "prompt", "target_new", "target_true")}
        assert shown["fact"].items() >= wanted.items()
        assert set(shown["delta"]) >= {"oid", "path", "rank", "parameters"}
        assert Path(shown["delta"]["path"]).read_bytes()
        assert (shown["delta"]["rank"], len(shown["delta"]["parameters"])) == (1, 1)
        assert (shown["method"], shown["note"], shown["active"]) == ("rome", "three facts", True)
        assert shown["probes"]["paraphrases"] == request["paraphrases"]
        assert set(shown["metrics"]) >= {"reliability", "generalization", "locality"}
        assert all(0 <= shown["metrics"][name] <= 1 for name in ("reliability", "locality"))
        assert kel.json("show", shown["hash"][:8])["id"] == number
    assert set(status["weights_digest"]) <= HEX
    assert len(status["weights_digest"]) == 64


@pytest.mark.promise("P3")
def test_the_middle_edit_is_taken_out_and_put_back_exactly(kel: Kel):
    digests = [kel.json("replay", "--to", f"v{n}")["weights_digest"] for n in range(4)]
    assert [refolded(kel.place, n) for n in (0, 2, 3)] == [digests[0], digests[2], digests[3]]
    without = kel.json("revert", "2", "-m", "not the middle one")["weights_digest"]
    assert without not in digests
    assert refolded(kel.place, 4) == without
    assert kel.json("status")["active"] == [1, 3]
    assert kel.json("reapply", "2")["weights_digest"] == digests[3]
    assert kel.json("revert", "3")["weights_digest"] == digests[2]
    assert kel.json("revert", "1", "2")["weights_digest"] == digests[0]
    assert kel.json("reapply", "3", "1", "2")["weights_digest"] == digests[3]
    assert kel("verify", "--weights").status == 0


def test_each_kind_of_change_can_be_undone_and_done_again(kel: Kel):
    def digest() -> str:
        return str(kel.json("status")["weights_digest"])

    three = digest()
    two = kel.json("undo")["weights_digest"]  # the edit
    assert two == kel.json("replay", "--to", "v2")["weights_digest"]
    assert kel.json("undo")["weights_digest"] == three  # done again
    one = kel.json("revert", "1")["weights_digest"]
    assert kel.json("undo")["weights_digest"] == three  # the revert
    assert kel.json("undo")["weights_digest"] == one
    kel.json("reapply", "1")
    assert kel.json("undo")["weights_digest"] == one  # the reapply
    assert kel.json("undo")["weights_digest"] == three
    kel.json("tag", "best", "v2")
    kel.json("tag", "best", "v1")
    assert kel.json("undo")["tag"] == "best"  # the tag moves back
    assert kel.json("tag")["tags"] == {"best": 2}
    assert kel.json("undo")["tag"] == "best"
    assert kel.json("tag")["tags"] == {"best": 1}
    assert digest() == three
    assert kel("verify", "--weights").status == 0


def test_history_differences_and_names(kel: Kel, story: Story):
    assert kel.json("tag", "released", "v2") == {
        "schema": "kel.tag/1",
        "name": "released",
        "version": 2,
    }
    log = kel.json("log")["entries"]
    assert [e["op"] for e in log if e["op"] in ("init", "apply", "tag")] == [
        *("tag", "apply", "apply", "apply", "init"),
    ]
    assert [e["seq"] for e in log] == list(range(len(log), 0, -1))
    assert next(e for e in log if e["version"] == 2 and e["op"] == "apply")["tags"] == ["released"]
    difference = kel.json("diff", "base", "released")
    assert (difference["added"], difference["removed"]) == ([1, 2], [])
    assert kel.json("diff", "HEAD", "released")["removed"] == [3]
    assert list(difference["facts"]) == ["1", "2"]
    (changed,) = difference["parameters"].values()
    assert (changed["old"], len(changed["new"])) == (None, 64)
    told = kel("log").out
    assert all(request["subject"] in told for request in story.requests)
    assert len(kel("log", "--oneline", "-n", "2").out.splitlines()) == 2


@pytest.mark.promise("P4")
def test_versions_are_asked_replayed_tested_and_cleaned(kel: Kel, story: Story):
    for request, outcome in zip(story.requests, story.outcomes, strict=True):
        prompt = text(request)
        told = kel.json("ask", prompt, "--at", f"v{outcome['version']}", "--compare")
        assert told["text"].startswith(outcome["after"][:5])
        assert told["base"]["version"] == 0
    tested = kel("test", "--json")
    rows = tested.body["rows"]
    assert tested.status == (0 if all(row["holds"] for row in rows) else 1)
    assert [row["edit"] for row in rows] == [1, 2, 3]
    assert rows[2]["metrics"]["reliability"] == rows[2]["at_edit"]["reliability"]
    assert kel("test", "3").status in (0, 1)
    again = kel("test", "--json").body
    assert set(again["drift"].values()) == {0.0}
    assert [s["layer"] for s in kel.json("stats", "--layer", "2", "--tokens", "2000")["stats"]] == [
        2
    ]
    assert kel.json("gc", "--dry-run")["objects"] == []
    assert kel.json("replay")["matches"] is True
    assert kel.json("verify", "--weights") == {"schema": "kel.verify/1", "ok": True, "findings": []}


def test_an_export_is_the_base_but_for_the_edited_tensors(kel: Kel, story: Story, tmp_path: Path):
    target = tmp_path / "merged"
    view = kel.json("export", str(target))
    assert view["rewritten"] == kel.json("show", "1")["delta"]["parameters"]
    check_export(demo_folder(), target, set(view["rewritten"]))
    assert view["weights_digest"] == kel.json("status")["weights_digest"]
    prompt = text(story.requests[1])
    merged = EditableModel.load(target)
    assert merged.generate([prompt], 32) == [kel.json("ask", prompt)["text"]]
    manifest = json.loads((target / "kel.json").read_text("utf-8"))
    assert [fact["subject"] for fact in manifest["facts"]] == [
        request["subject"] for request in story.requests
    ]
    kel.refused(1, "export", str(target), says=["exists already", "choose a new folder"])
    kel.refused(2, "export", str(target / "config.json"), says=["is a file"])
    out = tmp_path / "replayed"
    assert kel.json("replay", "--out", str(out))["out"] == str(out)
    assert (out / "model.safetensors").read_bytes() == (target / "model.safetensors").read_bytes()
