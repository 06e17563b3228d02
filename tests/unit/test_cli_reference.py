"""The reference is complete, generated and up to date."""

from __future__ import annotations

import ast
from pathlib import Path

import click
import pytest

import cli
from cli.main import COMMANDS, kel
from cli.reference import helps, main, reference

pytestmark = pytest.mark.promise("P35")

PAGE = Path(cli.__file__).parents[1] / "docs" / "cli.md"
WANTED = {
    *("kel", "kel init", "kel edit", "kel ask", "kel log", "kel show", "kel status", "kel diff"),
    *(
        "kel tag",
        "kel revert",
        "kel reapply",
        "kel undo",
        "kel rebase",
        "kel replay",
        "kel test",
        "kel verify",
    ),
    *("kel audit", "kel identify", "kel resolve", "kel facts"),
    *("kel history", "kel history plot"),
    "kel bisect",
    *("kel branch", "kel switch", "kel merge"),
    "kel chat",
    "kel serve",
    *("kel user", "kel user add", "kel user list", "kel user remove", "kel user passwd"),
    *(
        "kel user token",
        "kel user token add",
        "kel user token list",
        "kel user token remove",
        "kel user token rotate",
        "kel user role",
        "kel user four-eyes",
    ),
    "kel interference",
    *("kel data", "kel data check", "kel data list"),
    *("kel trace", "kel lens", "kel activations", "kel layers"),
    *(
        "kel export",
        "kel import",
        "kel push",
        "kel pull",
        "kel verify-release",
        "kel stats",
        "kel methods",
        *("kel db", "kel db current", "kel db check", "kel db upgrade", "kel db backup"),
        *("kel db copy", "kel db attach"),
        "kel gc",
        "kel repair",
        "kel doctor",
        *("kel bench", "kel bench run", "kel bench table", "kel bench plot"),
        "kel demo",
        "kel demo facts",
    ),
}


def commands() -> list[tuple[str, click.Command]]:
    """Every command that does something: a group that only holds others has no options."""
    context = click.Context(kel)
    found = [(name, kel.get_command(context, name)) for name in COMMANDS]
    inner = [
        (f"{name} {member}", command)
        for name, group in found
        if isinstance(group, click.Group)
        for member, command in group.commands.items()
    ]
    return [(name, command) for name, command in (*found, *inner) if command and command.params]


def test_these_are_the_commands():
    assert {path for path, _ in helps()} == WANTED


@pytest.mark.parametrize(("name", "command"), commands(), ids=lambda value: str(value))
def test_a_command_and_each_of_its_options_has_help(name, command):
    assert command.help
    assert command.get_short_help_str(limit=60).endswith(".")
    options = [item for item in command.params if isinstance(item, click.Option)]
    assert all(option.help and option.help.endswith((".", "].")) for option in options)
    assert {"--json", "--ledger", "--debug", "--quiet"} <= {o for i in options for o in i.opts}


def test_help_fits_a_narrow_terminal():
    assert max(len(line) for _, text in helps() for line in text.splitlines()) <= 80


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == reference()
    assert main([str(PAGE), "--check"]) == 0


def test_a_page_that_is_out_of_date_is_reported_and_renewed(tmp_path, capsys):
    page = tmp_path / "cli.md"
    assert main([str(page), "--check"]) == 1
    assert "out of date" in capsys.readouterr().err
    assert not page.exists()
    assert main([str(page)]) == 0
    assert main([str(page), "--check"]) == 0
    assert main([]) == 2


def test_the_page_names_every_exit_status():
    page = reference()
    assert all(f"\n| {status} |" in page for status in (0, 1, 2, 3, 4, 5, 6, 7, 8, 130, 141))


def test_only_the_output_prints_and_only_the_ledger_is_seen():
    folder = Path(cli.__file__).parent
    for path in folder.rglob("*.py"):
        if "web" in path.relative_to(folder).parts:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        called = {
            node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
        }
        assert path.name == "output.py" or not called & {"print", "echo", "secho"}, path
        imported = {
            name.partition(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [alias.name for alias in node.names]
            )
        }
        assert not imported & {"editors", "store", "torch", "sqlmodel", "migrations"}, path
