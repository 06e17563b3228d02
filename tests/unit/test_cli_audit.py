"""What the audit commands show, and how they exit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.test_cli_fake import AUDIT, FACT, Runner


@pytest.fixture
def kel(monkeypatch, capsys) -> Runner:
    return Runner(monkeypatch, capsys)


def test_an_audit_tells_edits_tensors_groups_and_guesses(kel):
    done = kel("audit", "merged", "--probe")
    assert (done.status, done.err) == (1, "")
    for text in ("unledgered change", "nearest v3 (best)", "0.998", "0.990 to 1.006", FACT, "Paris",
                 "edits 1-2 cannot be told apart", "unbounded", "structured", "5.00e-01",
                 "Ada 0.90", "says    Ada was Paris +2.00", "Rome 3.00"):  # fmt: skip
        assert text in done.out
    assert kel.ledger.calls["audit"] == [
        (("merged", None), {"subjects": [], "prompts": [], "probe": True})
    ]


def test_files_of_subjects_and_prompts_are_read(kel, tmp_path):
    names, wordings = tmp_path / "names", tmp_path / "wordings"
    names.write_text("Ada\n\n  李白 \n", "utf-8")
    wordings.write_text("{} was\n", "utf-8")
    kel("audit", "x", "--revision", "r", "--subjects", names, "--prompts", wordings)
    ((args, given),) = kel.ledger.calls["audit"]
    assert (args, given["subjects"], given["prompts"]) == (("x", "r"), ["Ada", "李白"], ["{} was"])
    names.write_bytes(b"\xff\xfe")
    done = kel("audit", "x", "--subjects", names)
    assert done.status == 2
    assert "not UTF-8" in done.err


@pytest.mark.parametrize(
    ("by", "status", "says"),
    [("digest", 0, "bit for bit"), ("regression", 1, "not its bits"), ("nearest", 1, "no version")],
)
def test_only_the_very_bits_exit_with_zero(kel, by, status, says):
    identity = replace(AUDIT.identity, by=by)
    kel.ledger.returns = {"identify": identity, "audit": replace(AUDIT, identity=identity)}
    for command in ("identify", "audit"):
        done = kel(command, "merged")
        assert done.status == status
        assert says in done.out
    assert kel("identify", "merged", "--json").json["versions"] == [3]


def test_a_long_list_begins_with_what_is_not_as_the_head_has_it(kel):
    edits = [replace(AUDIT.edits[0], edit=n) for n in range(1, 60)]
    edits[50] = replace(edits[50], verdict="absent", coefficient=0.001)
    kel.ledger.returns["audit"] = replace(AUDIT, edits=tuple(edits))
    lines = kel("audit", "merged").out.splitlines()
    heading = next(n for n, line in enumerate(lines) if line.startswith("edit"))
    assert lines[heading + 1].split()[:2] == ["51", "absent"]
    assert any("and 19 more" in line for line in lines)
