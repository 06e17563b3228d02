"""P22: the Hub token appears nowhere but in requests to the Hub."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from cli.main import COMMANDS
from cli.reference import helps
from tests.e2e.harness import FACT, QUICK, ROOT, Kel
from tests.e2e.hub import served
from tests.sim.hub_server import REPO, Fault, HubServer

pytestmark = pytest.mark.promise("P22")

CANARY = "hf_CANARYbird+0123456789/abcdef"


def coded(secret: str) -> set[str]:
    """The secret inside of a base64 text: what stands before it shifts its letters."""
    return {
        encode(bytes(shift) + secret.encode() + bytes(2)).decode()[4:-8]
        for encode in (base64.b64encode, base64.urlsafe_b64encode)
        for shift in range(3)
    }


FORMS = (CANARY, "CANARY", quote(CANARY, safe=""), CANARY.encode().hex(), *sorted(coded(CANARY)))
FAULTS = (
    None, Fault(401), Fault(403, headers={"X-Error-Code": "GatedRepo"}), Fault(404), Fault(500),
    Fault(cut=5),
)  # fmt: skip


# The commands that are not run in earnest: most of them fail, as tracebacks are where a token would
# be seen.
NONE = ("--subject", "x", "--prompt", "no slot")
EVERY = (
    ("facts",), ("branch",), ("switch", "none"), ("merge", "none"), ("resolve", "--dry-run"),
    ("rebase", "--onto", REPO, "--revision", "none"), ("history",), ("interference",),
    ("bisect", "Ada is", "--good", "v0", "--bad", "none"), ("audit", "none/none"), ("methods",),
    ("identify", "none/none"), ("import", "none", "none"), ("verify-release", "none"), ("stats",),
    ("trace", *NONE), ("lens", "Ada is", "--at", "none"), ("activations",), ("layers", *NONE),
    ("db", "current"), ("data", "check", "none"), ("bench", "run", "none"), ("doctor",),
    ("repair", "--objects", "none"), ("user", "list"), ("chat", "--at", "none"),
    ("serve", "--host", "0.0.0.0"), ("demo", "facts", "--limit", "1"),
)  # fmt: skip


@pytest.fixture(params=["environment", "file"])
def hub(request, tiny_base: Path, tmp_path: Path, clean: None, monkeypatch) -> Iterator[HubServer]:
    """A Hub, and a token for it."""
    with served(tiny_base, tmp_path / "home") as server:
        if request.param == "environment":
            monkeypatch.setenv("HF_TOKEN", CANARY)
        else:
            (tmp_path / "home").mkdir()
            (tmp_path / "home" / "token").write_text(CANARY)
        yield server


def command_lines() -> bytes:
    """Those of all processes of this machine, which every user of it can read."""
    found = b""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # the process has ended
            found += path.read_bytes()
    return found


# What `kel bisect --run` starts: it keeps its environment and the command lines it sees.
LOOKS = """
import json, os, pathlib, sys
lines = [path.read_bytes().decode("latin-1") for path in pathlib.Path("/proc").glob("*/cmdline")]
with open(sys.argv[1], "a") as file:
    print(json.dumps([dict(os.environ), lines]), file=file)
"""


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_the_token_is_sent_to_the_hub_and_shown_to_nobody(
    hub: HubServer, bare: Kel, probes: Path, tmp_path: Path, figure
):
    kel, seen = bare, list[bytes]()
    told = []
    init = ("init", str(tmp_path / "l"), "--base", REPO, "--probes", str(probes), "--debug")
    for fault in reversed(FAULTS):
        hub.faults = lambda method, path, fault=fault: seen.append(command_lines()) or fault
        result = kel(*init)
        assert result.status == (8 if fault else 0)
        told.append(result)
    assert any(asked.authorization == f"Bearer {CANARY}" for asked in hub.asked)
    kel.place = tmp_path / "l"
    asked = {"init"}
    (tmp_path / "looks.py").write_text(LOOKS)
    script = f"{sys.executable} {tmp_path / 'looks.py'} {tmp_path / 'looked'}"
    for argv in (
        *EVERY,
        ("status",), ("log",), ("edit", *FACT, *QUICK, "--no-gate", "-m", "x"), ("show", "1"),
        ("ask", "Ada is"), ("test",), ("revert", "1"), ("undo",), ("tag", "x"), ("replay",),
        ("verify", "--weights"), ("export", str(tmp_path / "out")), ("gc",), ("diff", "v0", "v1"),
        ("bisect", "--run", script, "--good", "v0", "--bad", "v1"),
        ("push", "owner/new"), ("push", "owner/new", "--form", "bundle"), ("push", REPO),
        ("pull", "owner/new", str(tmp_path / "pulled")), ("pull", REPO, str(tmp_path / "none")),
        ("show", "99"), ("ask", ""), ("edit", *FACT, "--method", "x"), ("reapply", "1"),
    ):  # fmt: skip
        told += [kel(*argv, "--debug"), kel(*argv, "--json")]
        asked.add(argv[0])
    assert asked == set(COMMANDS)
    assert leaks("\n".join(result.out + result.err for result in told).encode()) == []
    places = ("l", "out", "pulled", "looked")
    kept = [path for place in places for path in (tmp_path / place, *(tmp_path / place).rglob("*"))]
    kept = [path for path in kept if path.is_file()]
    assert len(kept) > 10
    assert [path for path in kept if leaks(path.read_bytes())] == []
    assert len((tmp_path / "looked").read_text().splitlines()) >= 2
    assert seen
    assert [leaks(lines) for lines in seen if leaks(lines)] == []
    figure(
        "P22", "{} runs of all commands, in earnest, failing or as JSON: 0 occurrences", len(told)
    )
    figure("P22", "{} files of ledgers, exports and caches: 0 occurrences", len(kept))
    figure("P22", "{} looks at the command lines of all processes: 0 occurrences", len(seen))


@pytest.mark.parametrize("hub", ["environment"], indirect=True)
def test_a_process_shows_the_token_to_no_other(
    hub: HubServer, probes: Path, tmp_path: Path, monkeypatch, figure
):
    """The real command, looked at from outside at each of its requests."""
    seen: list[bytes] = []
    hub.faults = lambda method, path: seen.append(command_lines())
    led = {**os.environ, **hub.environment(tmp_path / "its"), "PYTHONPATH": str(ROOT)}
    made = subprocess.run(
        [sys.executable, "-m", "cli.main", "init", "l", "--base", REPO, "--probes", str(probes)],
        cwd=tmp_path, env=led, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert any(asked.authorization == f"Bearer {CANARY}" for asked in hub.asked)
    assert all(b"cli.main\0init" in lines for lines in seen)
    assert [leaks(lines) for lines in (*seen, made.stdout, made.stderr) if leaks(lines)] == []
    figure("P22", "{} looks at the command lines of all processes: 0 occurrences", len(seen))


@pytest.mark.parametrize("token", [f"{CANARY}\x01", f"{CANARY} x", f"{CANARY}é", f"{CANARY}\x7f"])
def test_a_token_that_cannot_be_sent_is_refused_without_being_shown(
    hub: HubServer, bare: Kel, tmp_path: Path, monkeypatch, token: str
):
    monkeypatch.setenv("HF_TOKEN", token)
    for argv in ((), ("--debug",), ("--json",)):
        result = bare("init", str(tmp_path / "l"), "--base", REPO, *argv)
        assert result.status == 2
        assert "HF_TOKEN" in result.err
        assert leaks((result.out + result.err).encode()) == []
    assert hub.asked == []
    assert not (tmp_path / "l").exists()


def test_the_search_finds_a_token_in_each_form():
    for text in FORMS:
        assert leaks(f"x {text} y".encode())
    for before in ("", "u", "us", "user:"):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            assert leaks(encode(f"{before}{CANARY} and more".encode()))
    assert leaks(b"nothing of it") == []


def test_no_option_takes_a_token():
    """Of no command: what stands on a command line, every user of the machine can read."""
    told = [text for _, text in helps()]
    assert len(told) > len(COMMANDS)
    assert [text for text in told if re.search(r"--(token|password|secret)\b", text)] == []


def test_what_is_written_of_a_secret_is_for_nobody_else(bare: Kel, ledger: Path, tmp_path: Path):
    """The database holds hashes of passwords and tokens; a backup of it is as private."""
    Kel(ledger).json("db", "backup", str(tmp_path / "backup.db"))
    for path in (ledger / "ledger.db", tmp_path / "backup.db"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def leaks(data: bytes) -> list[str]:
    """The forms of the token that are in `data`."""
    return [form for form in FORMS if form.encode() in data]
