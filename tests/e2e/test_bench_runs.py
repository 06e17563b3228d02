"""Runs: every record has its row once, whatever was killed; what was found is shown as it is."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ledger import Ledger
from ledger.runs import running
from ledger.runs.reading import load
from ledger.runs.rows import Rows, RunFolder
from ledger.runs.tables import comma_separated, markdown, sheet_of
from ledger.runs.trials import Trials
from ledger.settings import Settings
from tests.contract.tiny import OTHER, REQUEST
from tests.e2e.harness import ROOT, SETTINGS, Kel, write_lines

DATA = Path(__file__).parents[3] / "shared" / "data"
FACTS = (REQUEST, OTHER)
THIRD = {
    "subject": "Warsaw",
    "prompt": "The capital of Poland is {}",
    "target_new": "Paris",
    "target_true": "Warsaw",
    "paraphrases": ["Poland's capital is {}".replace("{}", "Warsaw")],
    "neighbourhood": [{"prompt": "The old city", "answer": "Paris"}],
}
CONFIG = """
modes = ["single", "batch 2", "sequential"]
families = ["answers", "preference"]
marks = [0.5, 1.0]
[[models]]
name = "tiny"
base = "{base}"
[[data]]
name = "facts"
source = "facts.jsonl"
probes = "{probes}"
[[methods]]
name = "before"
method = "none"
[[methods]]
name = "FT"
method = "ft"
set = {{ layer = 0, steps = 1, max_update_ratio = 10000.0 }}
"""
ROWS = 2 * (3 + 3 + 3) + 3 + 2


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.fixture(scope="module")
def config(tiny_base: Path, probes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("config")
    write_lines(folder / "facts.jsonl", [*(request.to_json() for request in FACTS), THIRD])
    path = folder / "all.toml"
    path.write_text(CONFIG.format(base=tiny_base, probes=probes), "utf-8")
    return path


@pytest.fixture(scope="module")
def whole(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run that nothing disturbed, on a clock that stands still."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        still(patch)
        running.run(load(str(config)), folder)
    return folder


def still(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("ledger.candidates.time", SimpleNamespace(perf_counter=lambda: 0.0))


def table(folder: Path, kind: str = "methods") -> str:
    return comma_separated(sheet_of(kind, RunFolder(folder).rows()))


# --- rows ---------------------------------------------------------------------------------------


def test_every_record_has_a_row_in_every_cell_and_family(whole: Path) -> None:
    rows = RunFolder(whole).rows()
    assert len(rows) == len({row.key for row in rows}) == ROWS
    kinds = {(row.method, row.mode, row.family) for row in rows}
    assert {family for _, mode, family in kinds if mode == "sequential"} == {"answers", "retention"}
    assert {(m, k) for m, k, _ in kinds} == {
        ("before", "single"), ("FT", "single"), ("FT", "batch 2"), ("FT", "sequential"),
    }  # fmt: skip
    unedited = [row for row in rows if row.method == "before" and row.family == "answers"]
    assert {row.metrics["locality_random"] for row in unedited} == {1.0}
    assert {row.seconds for row in unedited} == {None}
    assert {row.metrics.keys() >= {"ES", "EM"} for row in rows if row.family == "preference"} == {
        True
    }
    assert [row.place for row in rows if row.family == "retention"] == [2, 3]


def test_a_run_killed_at_every_row_ends_with_the_same_rows(
    config: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every write is lost or torn at first, then the last of its run; the next run goes on."""
    still(monkeypatch)
    append, deaths = Rows.append, iter(["before", "after", "torn", "after"] * 100)

    def dying(rows: Rows, new: Any) -> None:
        how = next(deaths)
        if how == "before":
            raise Killed
        if how == "torn":
            with rows.path.open("ab") as file:
                file.write(b'{"model": "tiny", "da')
            raise Killed
        append(rows, new)
        raise Killed

    monkeypatch.setattr(Rows, "append", dying)
    folder, killed = tmp_path / "run", 0
    while True:
        try:
            view = running.run(load(str(config)), folder)
            break
        except Killed:
            killed += 1
            assert len(RunFolder(folder).rows()) <= ROWS  # can be read at any time
    steps = 3 + 3 + 2 + 3 + 2
    assert (killed, view.rows, view.wanted, view.done) == (2 * steps, ROWS, ROWS, 0)
    assert (folder / "rows.jsonl").read_bytes() == (whole / "rows.jsonl").read_bytes()
    for kind in ("methods", "locality", "retention"):
        assert table(folder, kind) == table(whole, kind)


def test_a_finished_run_computes_nothing_again(
    config: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.runs.ledgers.Ledgers.base", None)
    assert running.run(load(str(config)), whole).done == 0


def test_parts_make_the_whole(
    config: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    still(monkeypatch)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert running.part_of_process() == (2, 2)
    kel = Kel()
    for folder, part in (("a", ("--shard", "1/2")), ("b", ())):
        found = kel.json("bench", "run", str(config), "--out", str(tmp_path / folder), *part)
        assert 0 < found["rows"] < ROWS == found["wanted"]
        half = kel("bench", "table", str(tmp_path / folder))
        assert half.err == f"so far: {found['rows']} of {ROWS} rows\n"
    parts = [str(tmp_path / folder) for folder in ("a", "b")]
    shown = kel("bench", "table", *parts, "--form", "csv")
    assert shown.out == kel("bench", "table", str(whole), "--form", "csv").out
    assert shown.out == table(whole)


def test_the_model_is_restored_exactly_after_a_record(ledger: Path) -> None:
    with Ledger.open(ledger) as opened:
        live = opened.workspace.live.model
        opened.workspace.at_head()
        name = live.parameter_name(0)
        before = live.weight(name).clone()
        (found,) = Trials(opened).edited([OTHER], Settings("rome", **SETTINGS))
        assert found["answers"].metrics["update_ratio"] > 0
        assert live.weight(name).equal(before)


def test_a_refused_record_counts_with_the_numbers_of_the_unedited_model(ledger: Path) -> None:
    settings = Settings("rome", 0, {**SETTINGS["overrides"], "max_update_ratio": 1e-9})
    with Ledger.open(ledger) as opened:
        trials = Trials(opened)
        (found,) = trials.edited([REQUEST], settings)
        (unedited,) = trials.unedited([REQUEST])
    assert found["answers"].outcome == "refused"
    assert "max_update_ratio" in found["answers"].reason
    assert found["answers"].metrics == unedited["answers"].metrics


@pytest.mark.slow
def test_sigkill_loses_nothing_that_was_written(
    config: Path, whole: Path, tmp_path: Path, bare: Kel
) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "cli.main", "bench", "run", str(config), "--out", str(folder)]
    seen: list[bytes] = []
    for wanted in (1, 6, 12):
        process = subprocess.Popen(command, cwd=ROOT)
        while process.poll() is None and len(seen) < wanted:
            time.sleep(0.05)
            path = folder / "rows.jsonl"
            seen = path.read_bytes().splitlines() if path.exists() else []
        process.kill()
        process.wait()
        assert (folder / "rows.jsonl").read_bytes().splitlines()[: len(seen)] == seen
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
    untimed = ("--without-times", "--form", "csv")
    for kind in ("methods", "locality", "retention"):
        shown = [bare("bench", "table", str(f), "--kind", kind, *untimed) for f in (folder, whole)]
        assert shown[0].out == shown[1].out


def test_random_probes_are_drawn_from_the_data_sets_own_pool(
    config: Path, tmp_path: Path, bare: Kel
) -> None:
    mend = [
        {"src": f"{n} Is Ada here?", "subject": "Ada", "alt": "yes", "answers": ["no"],
         "rephrase": "Ada?", "loc": f"nq question: {n}", "loc_ans": "x"}
        for n in range(4)
    ]  # fmt: skip
    data = tmp_path / "mend.jsonl"
    write_lines(data, [*mend, {"src": "no subject"}])
    probes = config.read_text("utf-8").split('probes = "')[1].split('"')[0]
    text = config.read_text("utf-8").replace(f'"{probes}"', '"pool"\nprobe_count = 2')
    pooled = tmp_path / "pooled.toml"
    pooled.write_text(text.replace('"facts.jsonl"', '"mend.jsonl"').replace(
        'modes = ["single", "batch 2", "sequential"]', 'modes = ["single"]'), "utf-8")  # fmt: skip
    result = bare("bench", "run", str(pooled), "--out", str(tmp_path / "run"), "--limit", "1")
    assert (result.status, result.err) == (0, "")  # the bad record lies behind the first
    asked = (tmp_path / "run" / "probes-facts.jsonl").read_text("utf-8").splitlines()
    assert len({json.loads(line)["prompt"] for line in asked}) == 2
    whole_file = bare("bench", "run", str(pooled), "--out", str(tmp_path / "all"))
    assert whole_file.status == 0
    assert "left out" in whole_file.err
    assert "line 5" in whole_file.err


@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    ["knowedit_zsre_test_all_1301", pytest.param("counterfact_easyedit", marks=pytest.mark.slow)],
)
def test_the_thesis_runs_on_its_own_data(name: str, tiny_base: Path, tmp_path: Path) -> None:
    file = DATA / f"{name}.json"
    if not file.is_file():
        pytest.skip(f"{file.name} is not beside the checkout")
    found = Kel().json(
        "bench", "run", "thesis/table3-3", "--base", str(tiny_base), "--data", str(file),
        "--limit", "2", "--out", str(tmp_path / "run"),
    )  # fmt: skip
    assert found["rows"] == found["wanted"] == 10


# --- refused ------------------------------------------------------------------------------------


def test_a_changed_run_is_refused_with_the_difference(
    config: Path, whole: Path, tmp_path: Path, bare: Kel
) -> None:
    before = (whole / "rows.jsonl").read_bytes()
    changed = tmp_path / "all.toml"
    text = config.read_text("utf-8").replace("steps = 1", "steps = 2")
    changed.write_text(text.replace('"facts.jsonl"', f'"{config.parent / "facts.jsonl"}"'), "utf-8")
    out = ("--out", str(whole))
    bare.refused(5, "bench", "run", str(changed), *out, says=["methods[1].set.steps: 1 -> 2"])
    bare.refused(5, "bench", "run", str(config), *out, "--seed", "1", says=["seed: 0 -> 1"])
    facts = config.parent / "facts.jsonl"
    lines = facts.read_text("utf-8")
    try:
        facts.write_text(lines.replace("Poland", "Spain"), "utf-8")
        bare.refused(5, "bench", "run", str(config), *out, says=["files.", "facts.jsonl"])
    finally:
        facts.write_text(lines, "utf-8")
    assert (whole / "rows.jsonl").read_bytes() == before


def test_two_processes_do_not_do_one_part(config: Path, whole: Path, bare: Kel) -> None:
    with RunFolder(whole).locked("part-1of1"):
        bare.refused(5, "bench", "run", str(config), "--out", str(whole), says=["another process"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("modes = [", "moods = ["), ["'moods' is unknown", "modes"]),
        (('"batch 2"', '"batch"'), ["no mode", "batch N"]),
        (('method = "none"', 'methd = "none"'), ["methods[0]", "'methd'"]),
        (('name = "before"', 'name = "FT"'), ["'FT' stands there twice"]),
        (('name = "before"', 'name = "a/b"'), ["no slash"]),
        (("marks = [0.5", "marks = [5"), ["marks"]),
        (('["answers", "preference"]', '["answer"]'), ["'answer' is unknown"]),
        (("[[models]]", "[[models"), ["cannot read"]),
        (('"facts.jsonl"', '"none.jsonl"'), ["none.jsonl"]),
        (('"facts.jsonl"', '"demo:fr"'), ["demo:zh"]),
        (('method = "ft"', 'method = "fft"'), ["fft"]),
        (("steps = 1", "stps = 1"), ["stps"]),
        (('name = "tiny"', 'name = ""'), ["models[0] misses name"]),
    ],
)
def test_a_configuration_that_cannot_be_run_is_refused(
    change: tuple[str, str], says: list[str], config: Path, tmp_path: Path, bare: Kel
) -> None:
    bad = tmp_path / "bad.toml"
    text = config.read_text("utf-8").replace(*change)
    bad.write_text(text.replace('"facts.jsonl"', f'"{config.parent / "facts.jsonl"}"'), "utf-8")
    bare.refused(2, "bench", "run", str(bad), "--out", str(tmp_path / "out"), says=says)


def test_what_is_no_run_or_not_whole_is_refused(whole: Path, tmp_path: Path, bare: Kel) -> None:
    bare.refused(2, "bench", "run", "thesis/fig9", says=["thesis/fig2-5"])
    bare.refused(2, "bench", "table", str(tmp_path), says=["holds no run"])
    (tmp_path / "run.json").write_bytes((whole / "run.json").read_bytes())
    bare.refused(2, "bench", "table", str(tmp_path), says=["no rows of edits yet"])
    (tmp_path / "rows.jsonl").write_text("{}\n", "utf-8")
    bare.refused(4, "bench", "table", str(tmp_path), says=["line 1 is no row"])
    for part in ("0/2", "3/2", "2", "a/b"):
        assert bare("bench", "run", "thesis/fig2-5", "--shard", part).status == 2


def test_the_configurations_that_come_with_the_program_can_be_read() -> None:
    from ledger.runs.reading import shipped

    assert len(shipped()) >= 1
    for name in shipped():
        assert list(load(name).cells())


# --- shown --------------------------------------------------------------------------------------


def test_tables_hold_means_of_the_rows(whole: Path, bare: Kel) -> None:
    rows = [r for r in RunFolder(whole).rows() if (r.method, r.mode) == ("FT", "single")]
    own = [r.metrics["reliability"] for r in rows if r.family == "answers"]
    preferred = [r.metrics["ES"] for r in rows if r.family == "preference"]
    body = bare.json("bench", "table", str(whole))
    (line,) = [r for r in body["rows"] if (r["method"], r["mode"]) == ("FT", "single")]
    assert line["R"] == pytest.approx(sum(own) / 3)
    assert line["ES"] == pytest.approx(sum(preferred) / 3)
    assert (line["records"], line["refused"], line["seconds"]) == (3, 0, 0.0)
    untimed = bare("bench", "table", str(whole), "--without-times").out
    assert "seconds" not in untimed
    assert "| tiny | facts | single | FT | 3 | 0 |" in untimed
    series = bare.json("bench", "table", str(whole), "--kind", "locality")["rows"]
    mine = [r for r in series if (r["method"], r["mode"]) == ("FT", "sequential")]
    so_far = [r["L random"] for r in mine]
    assert [r["edit"] for r in mine] == [1, 2, 3]
    assert mine[-1]["L random, mean so far"] == pytest.approx(sum(so_far) / 3)


def test_a_long_series_is_shown_at_some_places(whole: Path) -> None:
    rows = RunFolder(whole).rows()
    long = [row for row in rows if (row.method, row.mode) == ("FT", "single")]
    long = [r for r in long if r.family == "answers"] * 8
    sheet = sheet_of("locality", long)
    assert len(sheet.rows) == 24
    assert [line.split("|")[5].strip() for line in markdown(sheet).splitlines()[2:]] == [
        "2", "6", "12", "24",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["methods", "locality", "constraints", "layers", "retention"])
def test_every_kind_is_drawn_with_its_numbers_beside_it_and_twice_alike(
    kind: str, whole: Path, tmp_path: Path, bare: Kel
) -> None:
    pictures = [tmp_path / f"{n}.svg" for n in range(2)]
    for path in pictures:
        assert bare("bench", "plot", str(whole), "--kind", kind, "--out", str(path)).status == 0
    assert pictures[0].read_bytes() == pictures[1].read_bytes()
    assert pictures[0].with_suffix(".csv").read_text("utf-8") == table(whole, kind)


def test_a_sequence_is_a_ledger_that_verifies(whole: Path) -> None:
    folder = whole / "ledgers" / "tiny@facts@FT@sequential"
    kel = Kel(folder)
    assert kel.json("status")["version"] == 3
    assert kel("verify").status == 0
    note = json.loads((whole / "rows.jsonl").read_text("utf-8").splitlines()[-1])
    assert (note["family"], note["place"]) == ("retention", 3)
