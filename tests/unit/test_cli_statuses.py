"""Whatever fails below a command, the command ends with the status of that failure."""

from __future__ import annotations

import pytest

from cli.main import COMMANDS
from ledger import errors
from tests.unit.test_cli_fake import Runner
from tests.unit.test_cli_json import CASES

pytestmark = pytest.mark.promise("P35")

ERRORS: dict[int, BaseException] = {
    1: errors.LedgerError("the disk is full"),
    2: errors.InvalidInput("no"),
    3: errors.GateRejected("no"),
    4: errors.IntegrityFailure("no"),
    5: errors.Busy("no"),
    6: errors.EditorFailure("no"),
    7: errors.SchemaTooNew("no"),
    8: errors.RemoteFailure("no"),
    130: KeyboardInterrupt(),
}
COMMAND_LINES = {
    argv
    for argv in (
        *(case[0] for case in CASES),
        ("history",),
        ("audit", "."),
        ("identify", "."),
        ("resolve",),
        ("rebase", "--onto", "."),
        ("bisect", "--probe", "x", "--good", "v1", "--bad", "v2"),
    )
    if argv[0] != "demo"  # it tells a story and asks no ledger
}
# What these do is in their own tests: they need an application, a database or files.
APART = {"bench", "chat", "data", "db", "demo", "doctor", "serve", "user", "verify-release"}


class Everything(dict[str, BaseException]):
    """Every method of the ledger fails in one way; Ctrl-C comes once."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error, self.over = error, False

    def __contains__(self, name: object) -> bool:
        return name != "open" and not self.over

    def __getitem__(self, name: str) -> BaseException:
        self.over = isinstance(self.error, KeyboardInterrupt)
        return self.error


@pytest.fixture
def kel(monkeypatch, capsys) -> Runner:
    return Runner(monkeypatch, capsys)


def test_every_command_is_here_or_apart():
    assert {argv[0] for argv in COMMAND_LINES} | APART == set(COMMANDS)
    assert not {argv[0] for argv in COMMAND_LINES} & APART


@pytest.mark.parametrize("argv", sorted(COMMAND_LINES), ids=" ".join)
def test_a_command_ends_with_the_status_of_what_failed_below_it(kel, figure, argv):
    for status, error in ERRORS.items():
        kel.ledger.raises = Everything(error)
        plain = kel(*argv)
        kel.ledger.raises = Everything(error)
        json = kel(*argv, "--json")
        assert (plain.status, json.status) == (status, status), plain
        assert plain.out == ""
        assert plain.err.strip().count("\n") == 0
        assert plain.err.strip().startswith("kel: ")
        assert json.json["error"]["exit"] == status
    figure("P35", "{} command lines x exit statuses: each produced, as documented", len(ERRORS))


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_has_help_and_refuses_an_option_it_does_not_know(kel, figure, name):
    helped, refused = kel(name, "--help"), kel(name, "--no-such-option")
    assert (helped.status, helped.err) == (0, "")
    assert helped.out.startswith(f"Usage: kel {name}")
    assert (refused.status, refused.out) == (2, "")
    assert refused.err.splitlines()[-1].startswith("kel: ")
    assert not kel.ledger.calls
    figure("P35", "{} commands: help, and exit 2 for an unknown option", 1)
