"""What one run of `kel` knows: the options every command has, and the way to the ledger.

Promise: `--ledger`, `--json`, `--quiet` and `--debug` mean the same before and after the name of
the command; the later one wins. An interrupted command says that nothing was changed only after it
has looked.
Rules: the ledger is imported when it is opened, not before.

    @click.command()
    @common
    def command(invocation: Invocation) -> int:
        with opened(invocation) as ledger:
            return invocation.emit("status", ledger.status(), lines)
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.documents import document
from cli.errors import Interrupted
from cli.output import Item, Output

if TYPE_CHECKING:
    from ledger import Ledger

Callback = Callable[..., Any]


@dataclass
class Invocation:
    """The options of this run, and where its output goes."""

    json: bool = False
    debug: bool = False
    ledger: Path | None = None
    output: Output = field(default_factory=Output)

    def emit(self, name: str, content: object, items: Iterable[Item], status: int = 0) -> int:
        """Show a result, as the document `kel.<name>/1` or laid out; returns `status`."""
        if self.json:
            self.output.raw(document(name, content))
        else:
            self.output.show(items)
        return status


def common(function: Callback) -> Callback:
    """The options every command has, after its own; the command is given the invocation first."""
    return _with_options(function, envvar=None)


def common_root(function: Callback) -> Callback:
    """The same for `kel` itself, where KEL_LEDGER and KEL_DEBUG count."""
    return _with_options(function, envvar="KEL")


@contextlib.contextmanager
def opened(invocation: Invocation, left: str = "nothing was changed") -> Iterator[Ledger]:
    """The ledger, for a command that adds nothing to it; `left` is what an interrupt leaves."""
    from ledger import Ledger

    with Ledger.open(invocation.ledger) as ledger:
        try:
            yield ledger
        except KeyboardInterrupt as interrupt:
            raise Interrupted(left) from interrupt


@contextlib.contextmanager
def changing(invocation: Invocation) -> Iterator[Ledger]:
    """The ledger, for a command that may add to it."""
    from ledger import Ledger

    with Ledger.open(invocation.ledger) as ledger:
        before = ledger.status().entries
        try:
            yield ledger
        except KeyboardInterrupt as interrupt:
            raise Interrupted(_left_behind(ledger, before)) from interrupt


def _left_behind(ledger: Ledger, before: int) -> str:
    """The commit may have been made just before the interrupt, so the ledger is asked."""
    status = ledger.status()
    added = status.entries - before
    if added == 0:
        return "nothing was changed"
    entries = "1 entry" if added == 1 else f"{added} entries"
    return f"{entries} had been recorded, the ledger is at version {status.version}"


def _with_options(function: Callback, envvar: str | None) -> Callback:
    decorated: Callback = click.pass_obj(function)
    for option in (
        _flag("--debug", "Show the traceback of a failure [env: KEL_DEBUG].", _debug, envvar),
        _flag("--quiet", "No notes and no progress on standard error.", _quiet, None),
        _flag("--json", "Write the result as one JSON document.", _json, None),
        click.option(
            "--ledger",
            type=click.Path(file_okay=False, path_type=Path),
            metavar="DIR",
            help="The ledger; without it the one of this folder or of one above [env: KEL_LEDGER].",
            envvar=f"{envvar}_LEDGER" if envvar else None,
            expose_value=False,
            callback=_ledger,
        ),
    ):
        decorated = option(decorated)
    return decorated


def _flag(name: str, text: str, callback: Callback, envvar: str | None) -> Callback:
    variable = f"{envvar}_{name.removeprefix('--').upper()}" if envvar else None
    return click.option(
        name, is_flag=True, help=text, envvar=variable, expose_value=False, callback=callback
    )


def _ledger(context: click.Context, _option: click.Parameter, value: Path | None) -> None:
    if value is not None:
        context.obj.ledger = value


def _json(context: click.Context, _option: click.Parameter, value: bool) -> None:
    context.obj.json = context.obj.json or value


def _quiet(context: click.Context, _option: click.Parameter, value: bool) -> None:
    context.obj.output.quiet = context.obj.output.quiet or value


def _debug(context: click.Context, _option: click.Parameter, value: bool) -> None:
    context.obj.debug = context.obj.debug or value
