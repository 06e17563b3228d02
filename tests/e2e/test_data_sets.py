"""`kel data`, and data sets by their Hub name: what a user sees, and how it exits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import QUICK, Kel, write_lines
from tests.e2e.hub import lead
from tests.sim.hub_server import COMMIT, Fault, HubServer, Repository

GOOD = {"subject": "Alan Turing", "prompt": "{} lived in", "target_new": "Paris"}
BAD = GOOD | {"prompt": "He lived in"}
NAME = "hub:owner/facts/data/facts.jsonl"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    """A Hub that holds one data set."""
    lines = "\n".join(map(json.dumps, (GOOD, GOOD | {"target_new": "Rome"})))
    with pytest.MonkeyPatch.context() as patch, HubServer({}) as server:
        files = {"data/facts.jsonl": lines.encode()}
        server.repos["datasets/owner/facts"] = Repository({COMMIT: files})
        lead(patch, server.url, tmp_path / "home")
        yield server


def test_a_check_tells_counts_faults_and_the_way_to_them(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "facts.jsonl", [GOOD, BAD, GOOD | {"target_new": "Rome"}])
    told = Kel()("data", "check", str(source))
    assert (told.status, told.err) == (1, "")
    assert told.out.startswith("2 records with 2 requests, 1 cannot be used")
    assert "line 2  subject 'Alan Turing' is not in the prompt" in told.out
    assert "conflicts, the first 1" in told.out
    body = Kel()("data", "check", str(source), "--json").body
    assert body["schema"] == "kel.data.check/1"
    assert (body["records"], body["conflicts"], body["bad"]) == (2, 1, {"subject_missing": 1})
    write_lines(source, [GOOD])
    assert Kel()("data", "check", str(source), "--strict").status == 0


def test_a_strict_check_stops_at_the_first_fault(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "facts.jsonl", [GOOD, BAD])
    line = Kel().refused(2, "data", "check", str(source), "--strict", says=["line 2", "write it"])
    assert line.startswith(f"kel: {source}, line 2: ")
    Kel().refused(2, "data", "check", str(tmp_path / "none"), says=["does not exist"])
    Kel().refused(2, "data", "check", str(tmp_path), says=["is a directory"])
    shape = ("--shape", "nonsense", "--strict")
    Kel().refused(2, "data", "check", str(source), *shape, says=["there are mquake, counterfact"])


def test_every_known_shape_is_listed() -> None:
    shapes = Kel().json("data", "list")["shapes"]
    assert [shape["name"] for shape in shapes][-2:] == ["knowedit", "kel"]
    assert {shape["use"] for shape in shapes} == {"edit", "known facts"}
    told = Kel()("data", "list").out
    assert all(shape["about"] in told for shape in shapes)


def test_a_data_set_of_the_hub_is_read_by_its_name(hub: HubServer) -> None:
    body = Kel().json("data", "check", NAME)
    assert (body["records"], body["conflicts"]) == (2, 1)
    assert COMMIT in body["path"]
    asked = len(hub.asked)
    assert Kel().json("data", "check", f"{NAME}@{COMMIT}")["records"] == 2
    assert len(hub.asked) == asked  # a commit that is here is not asked for again


def test_facts_of_the_hub_are_edited(kel: Kel, hub: HubServer) -> None:
    found = kel.json("edit", "--from", NAME, *QUICK, "--no-gate")
    assert [outcome["request"]["target_new"] for outcome in found["outcomes"]] == ["Paris", "Rome"]


def test_a_hub_that_fails_is_8(hub: HubServer) -> None:
    Kel().refused(8, "data", "check", "hub:owner/none/facts.jsonl", says=["owner/none"])
    Kel().refused(8, "data", "check", NAME.replace("facts.jsonl", "x.jsonl"), says=["data/x.jsonl"])
    hub.faults = lambda method, path: Fault(status=500)
    Kel().refused(8, "data", "check", NAME, says=["cannot get data/facts.jsonl", "check"])
    Kel().refused(2, "data", "check", "hub:owner", says=["write hub:owner/name/path"])
