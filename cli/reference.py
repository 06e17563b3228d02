"""The reference of all commands, made from their own help texts.

Promise: the page names every command with exactly the help that the command shows.
Rules: the page is generated; `--check` compares it and writes nothing.

    python -m cli.reference docs/cli.md
    python -m cli.reference docs/cli.md --check
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from cli.main import kel
from cli.output import Output

_INTRODUCTION = """\
# Command line reference

Made by `python -m cli.reference docs/cli.md` from the help texts; do not edit it.

- Data goes to standard output, everything else to standard error.
- With `--json` a command writes one document whose `schema` is `kel.<command>/1`; within a schema
  number fields are only ever added. A failure is `kel.error/1` with `error.code`, `error.exit` and
  `error.message`.
- `--ledger`, `--json`, `--quiet` and `--debug` may stand before or after the name of the command.
- Control characters in texts are written as escapes, so that they cannot act on a terminal.

| exit status | meaning |
|---|---|
| 0 | done |
| 1 | failed; `test`: an edit lost, `verify`: warnings, `data`: bad records, `doctor`: problems |
| 2 | wrong usage, an invalid value, no ledger, or an unknown version, tag or edit |
| 3 | rejected by the gate: measured and recorded, not applied |
| 4 | integrity failure: what is stored is not what was recorded |
| 5 | conflict: another writer came first, the edit is (not) active, or a merge asks |
| 6 | the editing method failed |
| 7 | the database has another schema |
| 8 | a remote service refused or failed |
| 130 | interrupted |
| 141 | the reader of standard output went away |

| variable | meaning |
|---|---|
| `KEL_LEDGER` | the ledger, as `--ledger` |
| `KEL_AUTHOR` | who is recorded as the author of a change; else the name of the user |
| `KEL_DEBUG` | `1`: show tracebacks, as `--debug` |
| `NO_COLOR` | not empty: no colours |
"""


def reference() -> str:
    """The whole page."""
    sections = (f"## {path}\n\n```text\n{text}\n```\n" for path, text in helps())
    return "\n".join((_INTRODUCTION, *sections))


def helps() -> Iterator[tuple[str, str]]:
    """('kel log', its help) of every command, groups before their members."""
    yield from _helps(kel, _context(kel, "kel", None))


def _helps(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    yield context.command_path, command.get_help(context)
    if not isinstance(command, click.Group):
        return
    for name in command.list_commands(context):
        member = command.get_command(context, name)
        if member is not None:
            yield from _helps(member, _context(member, name, context))


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    return click.Context(
        command, parent, info_name=name, terminal_width=80, **command.context_settings
    )


def main(arguments: list[str]) -> int:
    """Write the page to the given path, or with --check compare it; 1 if it is out of date."""
    output = Output()
    check = "--check" in arguments
    paths = [Path(text) for text in arguments if text != "--check"]
    if len(paths) != 1:
        output.failure("usage: python -m cli.reference PATH [--check]")
        return 2
    page, path = reference(), paths[0]
    if not check:
        path.write_text(page, encoding="utf-8")
        return 0
    if path.exists() and path.read_text(encoding="utf-8") == page:
        return 0
    output.failure(f"{path} is out of date: run python -m cli.reference {path}")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
