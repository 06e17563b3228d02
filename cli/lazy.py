"""A command group that imports a command when it is asked for.

Promise: running one command imports the module of that command only; commands are listed in the
order of the table, which is the order they are used in.

    LazyGroup("kel", table={"log": "log", "revert": "changes:revert"})
    # 'log' is cli.commands.log.command, 'revert' is cli.commands.changes.revert
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

import click


class LazyGroup(click.Group):
    """Commands by name; a value of `table` is 'module' or 'module:attribute'."""

    def __init__(self, *args: Any, table: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._table = MappingProxyType(dict(table or {}))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, imported now; None if there is none."""
        place = self._table.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        found = getattr(import_module(f"cli.commands.{module}"), attribute or "command")
        if not isinstance(found, click.Command):
            raise TypeError(f"cli.commands.{place} is no command")
        return found
