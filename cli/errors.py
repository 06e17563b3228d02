"""How a command ends when it does not end well.

    CliError
    ├── Interrupted    the user stopped it; the message says what that left behind    exit 130
    ├── OutputClosed   the reader of standard output has gone away                    exit 141
    └── WebError       answered by the application, never the end of a command
        ├── Overloaded     too much is waiting already, of everybody or of one        503
        ├── LoginNeeded    the page is for accounts                                   to /login
        └── ApiError       a refusal in the shape of OpenAI's                         its status

Promise: every exception has one line for people, a code for programs and an exit status.
Rules: statuses of the ledger's own errors come from `ledger.errors.exit_code_of`; an exception that
is nobody's error is shown as unexpected, never hidden.

    failure = describe(error)
    failure.code, failure.exit      # 'UnknownRevision', 2
"""

from __future__ import annotations

from dataclasses import dataclass

import click

_OURS = frozenset({"ledger", "editors", "store"})


class CliError(Exception):
    """Root of the tree."""


class Interrupted(CliError):
    """Stopped by the user; the message says what is known about the state."""


class OutputClosed(CliError):
    """Nobody reads standard output any more, as in `kel log | head -1`."""


class WebError(CliError):
    """Answered by the application."""


class Overloaded(WebError):
    """Too much is waiting already, of everybody or of one."""


class LoginNeeded(WebError):
    """The page is for accounts only."""


class ApiError(WebError):
    """A refusal in the shape of OpenAI's."""

    def __init__(
        self,
        status: int,
        message: str,
        kind: str,
        code: str | None = None,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind = status, message, kind
        self.code, self.param, self.headers = code, param, headers


@dataclass(frozen=True)
class Failure:
    """What is told of an exception: class name, exit status, one line."""

    code: str
    exit: int
    message: str


def describe(error: BaseException) -> Failure:
    """The failure that `error` is."""
    # click turns an end of file anywhere inside a command into an abort as well.
    if isinstance(error, click.Abort) and isinstance(error.__cause__, EOFError):
        error = error.__cause__
    if isinstance(error, Interrupted):
        return Failure("Interrupted", 130, f"interrupted; {error}")
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return Failure("Interrupted", 130, "interrupted")
    if isinstance(error, click.ClickException):
        return Failure(type(error).__name__, error.exit_code, _usage(error))
    return _described(error)


def known(error: BaseException) -> Failure | None:
    """The failure of an error that belongs to this program; None for anything else."""
    ours = type(error).__module__.partition(".")[0] in _OURS
    return _described(error) if ours else None


def _described(error: BaseException) -> Failure:
    from ledger.errors import exit_code_of

    name = type(error).__name__
    if type(error).__module__.partition(".")[0] in _OURS:
        return Failure(name, exit_code_of(error), _one_line(str(error)) or name)
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename is not None else ""
        return Failure(name, exit_code_of(error), _one_line(f"{error.strerror}{where}"))
    if isinstance(error, MemoryError):
        return Failure(name, 1, "not enough memory; close other programs, or do less at once")
    text = f"unexpected {name}: {error}. Run it again with --debug for the traceback."
    return Failure(name, exit_code_of(error), _one_line(text))


def _usage(error: click.ClickException) -> str:
    message = _one_line(error.format_message())
    context = getattr(error, "ctx", None)
    if context is None:
        return message
    return f"{message} See '{context.command_path} --help'."


def _one_line(text: str) -> str:
    return " ".join(text.split())
