"""Input that cannot be used: one line of what, where and what to do; the ledger as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.demo import facts
from ledger.evaluation.metrics import answers_with
from tests.e2e.harness import FACT, QUICK, ROOT, Kel, picture

MEGABYTE = "x" * 1_000_000


def of(**changes: str) -> tuple[str, ...]:
    """The fact with some of its parts replaced."""
    parts = {"subject": "Alan Turing", "prompt": "{} lived in", "target": "Paris"} | changes
    return tuple(f"--{name.replace('_', '-')}={value}" for name, value in parts.items())


TEXTS = [
    ("subject not in prompt", of(prompt="She lived in"), ["Alan Turing", "not in the prompt"]),
    ("subject twice", of(prompt="Alan Turing met Alan Turing in"), ["2 times", "mark one place"]),
    ("two slots", of(prompt="{} and {} lived in"), ["2 slots", "keep one"]),
    ("slot and subject", of(prompt="{} and Alan Turing lived in"), ["Alan Turing", "again"]),
    ("slot in subject", of(subject="Alan {}"), ["subject", "slot"]),
    ("slot in paraphrase", of(paraphrase="{} had a home in"), ["paraphrase", "write it out"]),
    ("slot in probe", of(same_subject="{} worked in=Bletchley"), ["same_subject", "write it out"]),
    ("empty subject", of(subject=""), ["subject is empty", "give"]),
    ("empty prompt", of(prompt=""), ["prompt is empty", "give"]),
    ("empty target", of(target="  "), ["target_new is empty", "give"]),
    ("empty paraphrase", of(paraphrase=""), ["paraphrase is empty"]),
    ("empty answer", of(neighbour="Bob lived in="), ["PROMPT=ANSWER"]),
    ("huge subject", of(subject=MEGABYTE), ["subject has 1000000", "limit is 500"]),
    ("huge prompt", of(prompt="{}" + MEGABYTE), ["prompt has 1000002", "limit is 2000"]),
    ("huge target", of(target=MEGABYTE), ["target_new has 1000000", "limit is 500"]),
    ("huge paraphrase", of(paraphrase=MEGABYTE), ["paraphrase has 1000000", "limit is 2000"]),
    ("surrogate in subject", of(subject="Al\udcff"), ["lone surrogate U+DCFF", "remove it"]),
    ("surrogate in target", of(target="\ud800"), ["lone surrogate U+D800", "remove it"]),
    ("NUL in prompt", of(prompt="{} lived\0 in"), ["control character U+0000", "remove it"]),
    ("escape in target", of(target="\x1b[2J"), ["control character U+001B", "remove it"]),
    ("target is what it was", of(target_true="Paris"), ["target_true", "nothing to edit"]),
    ("surrogate in note", (*of(), "-m", "why \udcff"), ["note", "surrogate"]),
    ("huge note", (*of(), "-m", MEGABYTE), ["note has 1000000", "limit"]),
]  # fmt: skip


@pytest.mark.parametrize(("argv", "says"), [t[1:] for t in TEXTS], ids=[t[0] for t in TEXTS])
def test_a_text_that_cannot_be_edited_is_2(kel: Kel, argv: tuple[str, ...], says: list[str]):
    line = kel.refused(2, "edit", *argv, *QUICK, says=says)
    assert len(line) < 10_000


SETTINGS = [
    ("method", ("--method", "r0me"), ["r0me", "did you mean 'rome'"]),
    ("layer", ("--layer", "3"), ["layer 3", "layers 0 to 2"]),
    ("layer of ft", ("--method", "ft", "--layer", "99"), ["layer 99", "layers 0 to 2"]),
    ("negative layer", ("--layer", "-1"), ["--layer", "-1"]),
    ("unknown", ("--set", "vlr=0.5"), ["vlr", "v_lr"]),
    ("text for a number", ("--set", "v_lr=fast"), ["v_lr", "float", "fast"]),
    ("number for a text", ("--set", "key=1"), ["key", "consistent"]),
    ("true for a number", ("--set", "v_num_grad_steps=true"), ["v_num_grad_steps", "int"]),
    ("range", ("--set", "v_num_grad_steps=1"), ["v_num_grad_steps is 2 to 10000"]),
    ("not finite", ("--set", "v_lr=1e999"), ["v_lr", "finite"]),
    ("NaN", ("--set", "v_lr=NaN"), ["v_lr", "NaN"]),
    ("layer twice", ("--layer", "1", "--set", "layer=2"), ["layer is given twice"]),
    ("no value", ("--set", "v_lr"), ["NAME=VALUE"]),
    ("gate", ("--min-reliability", "1.5"), ["--min-reliability", "1.5"]),
    ("gate and none", ("--min-locality", "1", "--no-gate"), ["--min-locality", "exclude"]),
    ("retry", ("--retry", "-1"), ["--retry", "-1"]),
]


@pytest.mark.parametrize(("argv", "says"), [t[1:] for t in SETTINGS], ids=[t[0] for t in SETTINGS])
def test_a_setting_that_makes_no_sense_is_2(kel: Kel, argv: tuple[str, ...], says: list[str]):
    kel.refused(2, "edit", *FACT, *argv, says=says)


NAMES = [
    (2, ("show", "99"), ["99", "names no edit", "its number"]),
    (2, ("show", "nothex"), ["nothex"]),
    (2, ("revert", "1", "99"), ["99"]),
    (2, ("reapply", ""), ["edit"]),
    (2, ("diff", "v0", "v99"), ["v99", "head is version 4"]),
    (2, ("ask", "Ada", "--at", "kepd"), ["kepd", "Did you mean kept"]),
    (2, ("ask", "Ada", "--at", "HEAD~9"), ["HEAD~9"]),
    (2, ("ask", ""), ["empty"]),
    (2, ("ask", MEGABYTE), ["1000000", "2000"]),
    (2, ("ask", "a\0b"), ["control character U+0000"]),
    (2, ("tag", "best", "v99"), ["v99"]),
    (2, ("tag", "HEAD"), ["HEAD", "cannot be a tag"]),
    (2, ("tag", "a\udcff"), ["tag", "surrogate"]),
    (2, ("tag", MEGABYTE), ["cannot be a tag"]),
    (2, ("replay", "--to", "v99"), ["v99"]),
    (2, ("test", "--at", "nowhere"), ["nowhere"]),
    (5, ("test", "4"), ["edit 4 is not active", "version 4"]),
    (2, ("export", "out", "--at", "v99"), ["v99"]),
    (2, ("stats", "--layer", "3"), ["layer 3", "layers 0 to 2"]),
    (5, ("revert", "4"), ["edit 4 is not active", "nothing to revert"]),
    (5, ("revert", "3"), ["edit 3 is not active"]),
    (5, ("revert", "1", "4"), ["edit 4 is not active"]),
    (5, ("reapply", "1"), ["edit 1 is active", "already"]),
    (5, ("reapply", "3"), ["edit 3 was never applied"]),
    (2, ("nonsense",), ["nonsense"]),
    (2, ("log", "-n", "0"), ["-n"]),
]


@pytest.mark.parametrize(
    ("status", "argv", "says"), NAMES, ids=[ascii(" ".join(name[1])[:20]) for name in NAMES]
)
def test_a_name_that_leads_nowhere_is_2_and_a_state_that_forbids_it_is_5(
    kel: Kel, tmp_path: Path, monkeypatch, status: int, argv: tuple[str, ...], says: list[str]
):
    monkeypatch.chdir(tmp_path)
    kel.refused(status, *argv, says=says)
    assert not (tmp_path / "out").exists()


def test_an_author_that_cannot_be_recorded_is_2(kel: Kel, monkeypatch):
    monkeypatch.setenv("KEL_AUTHOR", "ada \udcff")
    kel.refused(2, "edit", *FACT, *QUICK, says=["author", "surrogate"])
    monkeypatch.setenv("KEL_AUTHOR", MEGABYTE)
    kel.refused(2, "revert", "1", says=["author", "1000000"])


def test_a_target_that_is_the_answer_already_is_no_edit(bare: Kel, tmp_path: Path, probes):
    """On the embedded model: the first fact that it answers as it was taught."""
    kel = bare
    kel.json("init", str(tmp_path / "l"), "--base", "demo", "--probes", str(probes))
    kel.place = tmp_path / "l"
    fact = next(fact for fact in facts(60) if knows(kel, fact))
    argv = ("--subject", fact["subject"], "--prompt", fact["prompt"], "--target")
    before = picture(kel.place)
    result = kel("edit", *argv, fact["target_true"])
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith("no-op")
    assert kel.json("edit", *argv, fact["target_true"])["outcome"] == "no-op"
    assert picture(kel.place) == before
    kel.refused(2, "edit", *argv, fact["target_true"], "--method", "r0me", says=["r0me"])
    kel.refused(2, "edit", *argv, fact["target_true"], "--layer", "99", says=["layer 99"])


def knows(kel: Kel, fact: dict[str, str]) -> bool:
    """Whether the model answers as it was taught."""
    answer: str = kel.json("ask", fact["prompt"].replace("{}", fact["subject"]))["text"]
    return answers_with(answer, fact["target_true"])


def test_bytes_of_the_command_line_that_are_no_text_are_2(ledger: Path, tmp_path: Path):
    """As a process: what the shell hands over as bytes."""
    before = picture(ledger)
    argv = [
        "--ledger",
        ledger,
        "edit",
        "--subject",
        b"Al\xff",
        "--prompt",
        "{} is",
        "--target",
        "x",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    process = subprocess.run(
        [sys.executable, "-m", "cli.main", *argv],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr.startswith("kel: subject has a lone surrogate U+DCFF")
    assert len(process.stderr.splitlines()) == 1
    assert picture(ledger) == before
