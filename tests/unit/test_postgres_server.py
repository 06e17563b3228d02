"""The server of the tests goes with the process that asked for it, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.harness import ROOT
from tests.sim.postgres_server import Server

ASKING = """
import sys
from pathlib import Path
from tests.sim.postgres_server import serving
with serving(Path(sys.argv[1])):
    print("serving", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [None, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_a_server(server: Server, how: signal.Signals | None):
    folder = server.folder.parent.with_name(f"kelpg-asked-{os.getpid()}")
    process = subprocess.Popen(
        [sys.executable, "-c", ASKING, folder],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "serving\n"
        number = int((folder / "data" / "postmaster.pid").read_text("utf-8").split()[0])
        assert alive(number)
        if how is not None:
            process.send_signal(how)
    assert process.returncode == (-how if how else 0)
    until = time.monotonic() + 60
    while (folder.exists() or alive(number)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not folder.exists()
    assert not alive(number)


def alive(number: int) -> bool:
    return Path(f"/proc/{number}").exists()
