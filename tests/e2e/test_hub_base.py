"""A base by its Hub id: pinned to a commit, safetensors only; a failure of the Hub is exit 8."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import FACT, QUICK, ROOT, Kel, picture
from tests.e2e.hub import PICKLED, lead, served
from tests.sim.hub_server import COMMIT, REPO, Fault, Faults, HubServer


@pytest.fixture
def hub(tiny_base: Path, tmp_path: Path, clean: None) -> Iterator[HubServer]:
    with served(tiny_base, tmp_path / "home") as server:
        yield server


def init(kel: Kel, folder: Path, *argv: str) -> None:
    kel.json("init", str(folder), "--base", REPO, *argv)
    kel.place = folder


@pytest.mark.promise("P17")
def test_a_branch_is_pinned_to_its_commit(hub: HubServer, bare: Kel, probes: Path, tmp_path: Path):
    init(bare, tmp_path / "l", "--revision", "main", "--probes", str(probes))
    base = bare.json("status")["base"]
    assert (base["id"], base["revision"]) == (REPO, COMMIT)
    assert Path(base["path"]).name == COMMIT
    assert not any(PICKLED in path for path in hub.paths())
    assert not list((tmp_path / "home").rglob(PICKLED))
    hub.asked.clear()
    assert bare.json("edit", *FACT, *QUICK, "--no-gate")["outcome"] == "applied"
    assert bare("verify", "--weights").status == 0
    assert hub.asked == []  # what was pinned is on this machine


def test_the_same_commit_gives_the_same_base_with_and_without_the_branch(
    hub: HubServer, bare: Kel, tmp_path: Path
):
    for number, argv in enumerate(((), ("--revision", "main"), ("--revision", COMMIT))):
        init(bare, tmp_path / str(number), *argv)
        bare.place = None
    bases = [Kel(tmp_path / str(n)).json("status")["base"] for n in range(3)]
    assert bases[0] == bases[1] == bases[2]


def test_a_cache_that_was_thrown_away_is_filled_again_from_the_pinned_commit(
    hub: HubServer, bare: Kel, probes: Path, tmp_path: Path
):
    init(bare, tmp_path / "l", "--revision", "main", "--probes", str(probes))
    said = bare.json("ask", "Ada is")["text"]
    shutil.rmtree(tmp_path / "home")
    hub.asked.clear()
    assert bare.json("ask", "Ada is")["text"] == said
    assert not any("/revision/main" in path for path in hub.paths())
    shutil.rmtree(tmp_path / "home")
    hub.faults = lambda method, path: Fault(status=401)
    bare.refused(8, "ask", "Ada is", says=["cannot get owner/tiny", "network"])


@pytest.mark.promise("P33")
def test_a_blob_that_changed_in_the_cache_is_noticed(
    hub: HubServer, bare: Kel, probes: Path, tmp_path: Path
):
    """Its name says what it should be, and is not believed when the file was written since."""
    init(bare, tmp_path / "l", "--probes", str(probes))
    bare.json("ask", "Ada is")
    weights = next((tmp_path / "home").rglob("model.safetensors")).resolve()
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    bare.refused(4, "ask", "Ada is", says=["model.safetensors", "other bytes"])
    result = bare("verify", "--weights", "--json")
    assert (result.status, result.body["findings"][0]["code"]) == (4, "base.changed")
    (tmp_path / "l" / "cache" / "base.json").unlink()
    assert bare("verify", "--weights").status == 4


FAILURES: dict[str, Faults] = {
    "401": lambda method, path: Fault(401),
    "403 gated": lambda method, path: Fault(403, headers={"X-Error-Code": "GatedRepo"}),
    "404": lambda method, path: Fault(404, headers={"X-Error-Code": "RepoNotFound"}),
    "no revision": lambda m, path: Fault(404, headers={"X-Error-Code": "RevisionNotFound"}),
    "500": lambda method, path: Fault(500),
    "503": lambda method, path: Fault(503),
    "429": lambda method, path: Fault(429),
    "cut at once": lambda method, path: Fault(cut=0),
    "cut in the answer": lambda method, path: Fault(cut=5),
    "tree 500": lambda method, path: Fault(500) if "/tree/" in path else None,
    "tree cut": lambda method, path: Fault(cut=9) if "/tree/" in path else None,
    "file 401": lambda method, path: Fault(401) if path.endswith("tokenizer.json") else None,
    "file 404": lambda method, path: Fault(404) if path.endswith("config.json") else None,
    "file 500": lambda method, path: Fault(500) if "resolve" in path else None,
    "weights 500": lambda m, path: Fault(500) if m == "GET" and "safetensors" in path else None,
    "weights cut": lambda m, path: Fault(cut=99) if m == "GET" and "safetensors" in path else None,
}  # fmt: skip


@pytest.mark.parametrize("case", FAILURES)
def test_a_hub_that_fails_is_8_and_leaves_nothing_behind(
    hub: HubServer, bare: Kel, tmp_path: Path, case: str
):
    hub.faults = FAILURES[case]
    argv = ("init", str(tmp_path / "new" / "deep"), "--base", REPO, "--revision", "main")
    line = bare.refused(8, *argv, says=["cannot get owner/tiny from the Hub", "check the name"])
    assert len(line) < 600
    assert not (tmp_path / "new").exists()
    hub.faults = lambda method, path: None
    init(bare, tmp_path / "new" / "deep", "--revision", "main")
    assert bare.json("status")["base"]["revision"] == COMMIT


def test_an_unknown_model_and_an_unknown_revision_are_8(hub: HubServer, bare: Kel, tmp_path: Path):
    for argv in (("owner/other",), (REPO, "--revision", "nowhere"), (REPO, "--revision", "f" * 40)):
        bare.refused(8, "init", str(tmp_path / "new"), "--base", *argv, says=["404"])
        assert not (tmp_path / "new").exists()


@pytest.mark.promise("P29")
def test_a_hub_that_cannot_be_reached_is_8(bare: Kel, tmp_path: Path, monkeypatch):
    lead(monkeypatch, "http://127.0.0.1:9", tmp_path / "home")
    argv = ("init", str(tmp_path / "new"), "--base", REPO)
    bare.refused(8, *argv, says=["cannot get owner/tiny", "the network"])
    assert not (tmp_path / "new").exists()


@pytest.mark.promise("P17")
@pytest.mark.parametrize("name", ["a/b/c", "a--b", "x.git", "a/../b", "a b", "-x", "a/"])
def test_a_name_that_can_be_none_asks_nothing(
    hub: HubServer, bare: Kel, tmp_path: Path, name: str, figure
):
    bare.refused(2, "init", str(tmp_path / "new"), f"--base={name}")
    bare.refused(2, "init", str(tmp_path / "new"), "--base", REPO, "--revision=a..b")
    assert hub.asked == []
    figure("P17", "{} bad names and revisions: refused, 0 requests", 1)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"config.json": b'{"model_type": "mamba"}'}, 2),
        ({"config.json": b'{"model_type": "llama", "quantization_config": {"bits": 4}}'}, 2),
        ({"model.safetensors": b"\xff" * 100}, 4),
        ({"model.safetensors": None}, 2),
        ({"tokenizer.json": None}, 2),
    ],
)
def test_a_repository_that_cannot_be_edited_is_refused(hub, bare: Kel, tmp_path, change, status):
    (name,) = change
    hub.files.pop(name)
    hub.files |= {n: data for n, data in change.items() if data is not None}
    bare.refused(status, "init", str(tmp_path / "new"), "--base", REPO)
    assert not (tmp_path / "new").exists()
    assert not list((tmp_path / "home").rglob(PICKLED))


def test_as_a_process_led_by_the_environment(hub: HubServer, probes: Path, tmp_path: Path):
    """Nothing of the client's own progress and warnings is on standard error."""

    def run(folder: str) -> subprocess.CompletedProcess[str]:
        argv = ("init", folder, "--base", REPO, "--revision", "main", "--probes", str(probes))
        environment = {**os.environ, **hub.environment(tmp_path / "its"), "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [sys.executable, "-m", "cli.main", *argv],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    made = run("made")
    assert (made.returncode, made.stderr) == (0, "")
    assert picture(tmp_path / "made")
    shutil.rmtree(tmp_path / "its")
    faults = iter([Fault(cut=9), Fault(cut=9)])
    hub.faults = lambda m, path: next(faults, Fault(401)) if m == "GET" and "res" in path else None
    failed = run("failed")
    assert (failed.returncode, failed.stdout) == (8, "")
    assert failed.stderr.startswith("kel: cannot get owner/tiny from the Hub (")
    assert len(failed.stderr.splitlines()) == 1
    assert not (tmp_path / "failed").exists()
