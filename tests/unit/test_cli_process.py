"""`kel` as a process: what it imports, how it takes signals, closed pipes and terminals."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

import cli

pytestmark = pytest.mark.promise("P35")

ROOT = Path(cli.__file__).parents[1]
SLOW = ("torch", "transformers", "alembic", "huggingface_hub")
HEAVY = (*SLOW, "sqlalchemy", "tqdm", "numpy", "ledger")

FAKE = """
import sys
sys.dont_write_bytecode = True
import ledger
from editors.requests import EditRequest
from tests.unit.test_cli_fake import FakeLedger, LOG
from cli.main import main
ledger.Ledger, ledger.EditRequest = FakeLedger(), EditRequest
"""
EDIT_ONE = ["edit", "--subject", "A", "--prompt", "{} is", "--target", "B"]


def python(code: str, **options) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(
        [sys.executable, "-c", code], text=True, cwd=ROOT, env=environment, **options
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.parametrize(
    "argv", [["--help"], ["--version"], *([n, "--help"] for n in ["log", "edit", "demo"])]
)
def test_help_imports_nothing_heavy(argv):
    code = f"""
import sys
from cli.main import main
status = main({argv!r})
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
sys.exit(status)
"""
    status, out, err = finished(python(code))
    assert (status, err) == (0, "[]\n")
    assert out


def test_reading_commands_import_nothing_heavy_of_their_own():
    code = f"""
import sys
class Ledger:
    @staticmethod
    def open(directory):
        from ledger.errors import NoLedger
        raise NoLedger("there is no ledger here")
import ledger
ledger.Ledger = Ledger
from cli.main import main
assert [main([name, *rest]) for name, *rest in
        (["log"], ["status"], ["show", "1"], ["diff", "1", "2"], ["tag"])] == [2] * 5
print([name for name in {SLOW!r} if name in sys.modules])
"""
    assert finished(python(code))[1] == "[]\n"


def test_one_command_imports_its_own_module_only():
    code = """
import sys
from cli.main import main
main(["log", "--help"])
print([name for name in sys.modules if name.startswith("cli.commands.")], file=sys.stderr)
"""
    assert finished(python(code))[2] == "['cli.commands.log']\n"


def test_a_reader_that_goes_away_is_met_with_silence():
    code = FAKE + "ledger.Ledger.returns['log'] = [LOG] * 5000\nsys.exit(main(['log']))"
    process = python(code)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=60), err) == (141, "")


def test_an_output_that_is_full_is_a_failure():
    with Path("/dev/full").open("w") as full:
        status, _, err = finished(python(FAKE + "sys.exit(main(['log']))", stdout=full))
    assert (status, err) == (1, "kel: No space left on device\n")


def test_an_interrupt_is_130_and_says_that_nothing_was_changed():
    code = (
        FAKE
        + f"""
import time
def edit(request, **_):
    print("ready", flush=True)
    time.sleep(60)
ledger.Ledger.edit = edit
sys.exit(main({EDIT_ONE!r}))
"""
    )
    process = python(code)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    status, out, err = finished(process)
    assert (status, out, err) == (130, "", "kel: interrupted; nothing was changed\n")


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_is_coloured_unless_no_color_is_set(variables, coloured):
    shown = terminal(FAKE + "sys.exit(main(['log']))", variables)
    assert ("\x1b[" in shown) is coloured
    assert "Ada Lovelace" in shown


def test_a_terminal_shows_progress_and_a_pipe_does_not():
    code = FAKE + f"sys.exit(main({EDIT_ONE!r}))"
    assert "edit: value" in terminal(code, {})
    assert "edit: value" not in terminal(code.replace("'edit'", "'edit', '--quiet'"), {})
    assert finished(python(code))[2] == ""


def test_a_terminal_without_the_characters_is_given_escapes():
    code = FAKE + "ledger.Ledger.returns['tags'] = {'北京': 1}\nsys.exit(main(['tag']))"
    status, out, _ = finished(python(code, env={"PYTHONIOENCODING": "ascii"}))
    assert (status, out) == (0, "\\u5317\\u4eac  v1\n")


def test_the_version_is_shown():
    status, out, _ = finished(
        python("import sys; from cli.main import main; sys.exit(main(['--version']))")
    )
    assert status == 0
    assert out.startswith("kel ")


def terminal(code: str, variables: dict[str, str]) -> str:
    """What a terminal of 80 columns receives."""
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, 80))
    environment = {"TERM": "xterm", "COLUMNS": "80", "NO_COLOR": "", **variables}
    process = python(code, stdin=follower, stdout=follower, stderr=follower, env=environment)
    os.close(follower)
    received = bytearray()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            chunk = os.read(leader, 65536)
        except OSError:  # the other end was closed
            break
        if not chunk:
            break
        received += chunk
    os.close(leader)
    assert process.wait(timeout=60) == 0
    return received.decode()
