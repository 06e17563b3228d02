"""Every command writes one JSON document, and its fields do not go away."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.documents import plain
from ledger import views
from ledger.views import BatchOutcome, ChangeOutcome, EditView, LogView
from tests.unit.test_cli_fake import CHANGE as REVERTED
from tests.unit.test_cli_fake import EDIT, LOG, ROW, SHA, STATUS, Runner

pytestmark = pytest.mark.promise("P35")

OUTCOME = (
    "schema outcome request version edit reasons metrics before after broken method layer "
    "assumed disturbs"
)
STATUS_KEYS = "schema ledger version active reverted rejected weights_digest head base tags entries"
STATUS_KEYS += " expired branch branches elsewhere"
CHANGE = "schema op edits version weights_digest tag notes retest resolved disturbs dry_run back"
CHANGE += " branch"
MERGE = (
    "schema outcome branch into version common theirs weights_digest added removed left_out "
    "conflicts moved threshold reasons metrics broken rows resolved notes"
)
ANALYSIS = "schema kind versions settings metrics content entry object"
EDIT_ONE = ("edit", "--subject", "Ada", "--prompt", "{} lives in", "--target", "Rome")

CASES = [
    (("init", "--base", "demo"), "init", STATUS_KEYS),
    (EDIT_ONE, "edit", OUTCOME),
    (("ask", "Ada lives in"), "ask", "schema version prompt text"),
    (("ask", "Ada lives in", "--compare"), "ask", "schema version prompt text base"),
    (("log",), "log", "schema entries"),
    (("log", "--oneline"), "log", "schema entries"),
    (
        ("show", "1"),
        "show",
        "schema id hash active rejected fact method layers hparams metrics details delta "
        "created_at author note batch probes supersedes superseded_by branch elsewhere",
    ),
    (("status",), "status", STATUS_KEYS),
    (("diff", "v1", "v3"), "diff", "schema old new added removed facts parameters"),
    (("tag",), "tag", "schema tags"),
    (("tag", "best", "v2"), "tag", "schema name version"),
    (("branch",), "branch", "schema branches"),
    (("branch", "trial"), "branch", "schema name version closed"),
    (
        ("switch", "trial"),
        "switch",
        "schema branch left version like added removed weights_digest",
    ),
    (("merge", "trial"), "merge", MERGE),
    (("revert", "1"), "revert", CHANGE),
    (("reapply", "1"), "reapply", CHANGE),
    (("undo",), "undo", CHANGE),
    (
        ("replay",),
        "replay",
        "schema version matches weights_digest recorded_digest tensors out",
    ),
    (("test",), "test", "schema version rows metrics drift previous_version"),
    (
        ("interference",),
        "interference",
        "schema version threshold rows edit disturbs revert",
    ),
    (("verify",), "verify", "schema ok findings"),
    (("stats",), "stats", "schema stats part"),
    (
        ("export", "out"),
        "export",
        "schema directory version rewritten weights_digest bytes form notes merkle_root adapter",
    ),
    (
        ("import", ".", "out"),
        "import",
        "schema directory version entries active weights_digest head replayed repo commit",
    ),
    (
        ("pull", "owner/x", "out"),
        "pull",
        "schema directory version entries active weights_digest head replayed repo commit",
    ),
    (
        ("push", "owner/x"),
        "push",
        "schema repo commit url form version weights_digest merkle_root uploaded copied unchanged"
        " deleted bytes notes",
    ),
    (("facts",), "facts", "schema facts known"),
    (("methods",), "methods", "schema methods"),
    (("trace", "--subject", "Ada", "--prompt", "{} lives in"), "trace", ANALYSIS),
    (("lens", "Ada lives in"), "lens", ANALYSIS),
    (("activations", "Ada lives in"), "activations", ANALYSIS),
    (("layers", "--stored", "9"), "layers", ANALYSIS),
    (("repair", "--objects", "."), "repair", "schema repaired lost base"),
    (("gc",), "gc", "schema objects temps bytes dry_run"),
    (("demo",), "demo", "schema directory lines"),
    (("demo", "facts"), "demo.facts", "schema facts"),
]


@pytest.fixture
def kel(monkeypatch, capsys, stories) -> Runner:
    return Runner(monkeypatch, capsys)


@pytest.fixture
def stories(monkeypatch):
    """The demonstration, without its model."""
    import ledger.demo

    class Story:
        @staticmethod
        def run(directory, say):
            say(f"made in {directory}\nand done")
            return directory

    known = [
        {
            "subject": "阿达",
            "relation": "birthplace",
            "prompt": "{} 出生于",
            "target_true": "北京",
            "paraphrases": ["p"],
            "unseen_paraphrases": ["q"],
            "language": "zh",
        }
    ]
    monkeypatch.setattr(ledger.demo, "story", Story, raising=False)
    monkeypatch.setattr(ledger.demo, "facts", lambda limit: (known * 3)[:limit], raising=False)


@pytest.mark.parametrize(("argv", "name", "keys"), CASES, ids=[" ".join(c[0][:2]) for c in CASES])
def test_a_command_writes_one_document_with_these_fields(kel, argv, name, keys):
    result = kel(*argv, "--json")
    assert (result.status, result.err) == (0, "")
    assert result.json["schema"] == f"kel.{name}/1"
    assert list(result.json) == keys.split()


@pytest.mark.parametrize(("argv", "name", "keys"), CASES, ids=[" ".join(c[0][:2]) for c in CASES])
def test_without_json_a_command_writes_lines_for_people(kel, argv, name, keys):
    result = kel(*argv)
    assert result.status == 0
    assert result.out
    assert not result.out.startswith("{")
    assert not any(line.endswith(" ") for line in result.out.splitlines())


def test_json_may_stand_before_the_command(kel):
    assert kel("--json", "status").json == kel("status", "--json").json


def test_status_holds_the_whole_state(kel):
    body = kel("status", "--json").json
    assert body.pop("schema") == "kel.status/1"
    assert body == plain(STATUS)
    fields = ["id", "revision", "path", "dtype", "digest", "model_type", "assumed", "chat"]
    assert list(body["base"]) == fields


def test_facts_of_the_demo_are_whole_and_can_be_limited(kel):
    facts = kel("demo", "facts", "--json", "--limit", "1").json["facts"]
    assert " ".join(facts[0]) == (
        "subject relation prompt target_true paraphrases unseen_paraphrases language"
    )
    assert facts[0]["target_true"] == "北京"
    assert len(facts) == 1
    assert len(kel("demo", "facts", "--json").json["facts"]) == 3


def test_ask_can_compare_a_version_with_the_base(kel):
    body = kel("ask", "p", "--at", "v2", "--compare", "--json").json
    assert (body["version"], body["text"]) == (3, "Paris")
    assert (body["base"]["version"], body["base"]["text"]) == (0, "London")
    assert [call[1]["at"] for call in kel.ledger.calls["ask"]] == ["v2", "base"]
    assert kel("ask", "p", "--compare").out == "base  London\nv3    Paris\n"


def test_show_lays_out_what_was_answered(kel):
    probes = [{"prompt": "Bob was born in", "answer": "Rome", "after": " Paris.", "score": 0.0}]
    details = {
        "reasons": [],
        "environment": {"device": "cpu"},
        "measured": {"locality": {"asked": 1, "probes": probes}},
    }
    kel.ledger.returns["show"] = EditView(**{**vars(EDIT), "details": details})
    lines = [" ".join(line.split()) for line in kel("show", "1").out.splitlines()]
    assert "environment.device cpu" in lines
    assert "measured.locality.asked 1" in lines
    assert "locality Bob was born in Rome Paris. 0" in lines
    assert not any("reasons" in line or "{" in line for line in lines if "{} was" not in line)


def test_the_log_says_which_tag_was_set_and_which_was_removed(kel):
    made = {"op": "tag", "edits": (), "facts": (), "note": "", "tags": ()}
    payloads = ({"name": "best", "version": None}, {"name": "best", "version": 3})
    kel.ledger.returns["log"] = [
        LogView(**{**vars(LOG), **made, "payload": payload}) for payload in payloads
    ]
    assert [line.split("tag  ")[1] for line in kel("log", "--oneline").out.splitlines()] == [
        "  best removed",
        "  best = v3",
    ]
    assert "    best = v3\n" in kel("log").out


def test_a_revert_out_of_a_batch_says_what_it_means_and_shows_what_changed(kel):
    lost = views.TestRow(
        2, "Bob lives in -> Rome", {"reliability": 0.5}, {"reliability": 1.0}, "", False
    )
    same = views.TestRow(
        5, "Eve lives in -> Rome", {"reliability": 1.0}, {"reliability": 1.0}, "", True
    )
    notes = ("edits 2, 4, 5 of batch 7 keep their columns",)
    view = views.TestView(4, (ROW, lost, same), {}, {}, None)
    kel.ledger.returns["revert"] = ChangeOutcome("revert", (3,), 4, SHA, notes=notes, retest=view)
    shown = kel("revert", "3").out
    assert "note edits 2, 4, 5 of batch 7 keep their columns" in shown
    assert "tested again: 2 changed, 1 as right after the edit" in shown
    assert "reliability 0.500 (was 1.000)" in shown
    assert "Eve" not in shown
    assert "kel revert --resolve-batch 3 " in shown
    body = kel("revert", "3", "--json").json
    assert body["notes"] == list(notes)
    assert [row["edit"] for row in body["retest"]["rows"]] == [1, 2, 5]
    kel.ledger.returns["revert"] = ChangeOutcome("revert", (3,), 4, SHA, notes=notes)
    assert "--resolve-batch 3" in kel("revert", "3", "--no-retest").out
    kel.ledger.returns["revert"] = REVERTED
    assert "--resolve-batch" not in kel("revert", "1").out


def test_a_resolved_batch_is_shown_and_a_refused_one_is_3(kel):
    done = BatchOutcome("applied", 5, 2, (), metrics={"reliability": 1.0})
    kel.ledger.returns["resolve_batch"] = ChangeOutcome(
        "revert", (1, 2), 5, SHA, notes=("edit 1 goes on as edit 3",), resolved=done
    )
    result = kel("revert", "--resolve-batch", "2")
    assert result.status == 0
    assert "edit 1 goes on as edit 3" in result.out
    assert "reliability 1.000" in result.out
    why = "mean reliability 0.50 is below 0.90"
    refused = BatchOutcome("rejected", 4, 2, (), reasons=(why,))
    kel.ledger.returns["resolve_batch"] = ChangeOutcome("revert", (), 4, SHA, resolved=refused)
    result = kel("revert", "--resolve-batch", "2")
    assert result.status == 3
    assert "nothing was taken out" in result.out
    assert why in result.out
    assert kel("revert", "--resolve-batch", "2", "--json").json["resolved"]["reasons"] == [why]


def test_methods_are_listed_with_their_defaults(kel):
    lines = [" ".join(line.split()) for line in kel("methods").out.splitlines()]
    assert lines[0] == "rome Meng"
    assert "defaults layer=3, x=1, 2" in lines
    (view,) = kel("methods", "--json").json["methods"]
    assert view["defaults"] == {"layer": 3, "x": [1, 2]}


def test_the_demo_tells_its_story_line_by_line(kel):
    assert kel("demo", "--dir", "here").out == "made in here\nand done\n"
    assert kel("demo", "--json").json["lines"] == ["made in kel-demo", "and done"]


def test_numbers_without_a_json_form_are_null_and_unknown_values_are_refused():
    assert plain({"a": float("nan"), 3: (1, Path("x"))}) == {"a": None, "3": [1, "x"]}
    with pytest.raises(TypeError, match="object cannot be written"):
        plain(object())
