"""A real edit that the ledger knows nothing of is found in a checkpoint and read from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.sequence import grown, opened
from bench.truth import states
from ledger import EditRequest
from ledger.demo.world import build_world
from tests.e2e.harness import Kel
from tests.sim.places import copied


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> tuple[Path, Path, EditRequest]:
    """A ledger with one edit of the embedded model, a checkpoint with one more, and that one."""
    folder = tmp_path_factory.mktemp("reading")
    with opened(folder / "ledger") as ledger:
        next(grown(ledger, "rome", 1, seed=0))
    copied(folder / "ledger", folder / "other")
    with opened(folder / "other") as ledger:
        ((_, request, _),) = grown(ledger, "rome", 2, seed=0)
        ledger.export(folder / "deployed")
    return folder / "ledger", folder / "deployed", request


def test_subject_and_object_of_an_unledgered_edit_are_read(given, tmp_path, clean):
    ledger, deployed, request = given
    facts = build_world().facts
    (tmp_path / "people").write_text("\n".join({fact.subject for fact in facts}), "utf-8")
    (tmp_path / "relations").write_text("\n".join({fact.prompt for fact in facts}), "utf-8")
    lists = ("--subjects", str(tmp_path / "people"), "--prompts", str(tmp_path / "relations"))
    done = Kel(ledger)("audit", str(deployed), *lists, "--json")
    assert (done.status, done.body["verdict"]) == (1, "unledgered change")
    assert [edit["verdict"] for edit in done.body["edits"]] == ["present"]
    (reading,) = done.body["readings"]
    assert reading["subjects"][0][0] == request.subject
    prompt, answer, gain = reading["objects"][0]
    assert prompt == request.text
    assert states(answer, request.target_new)
    assert gain > 1
