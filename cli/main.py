"""`kel`: the commands, and what becomes of an exception.

Promise: every failure is one line on standard error (with --json also one document on standard
output) and the exit status of its kind; `--debug` adds the traceback.
Rules: commands return their exit status; nothing else decides it.

    main(["status", "--json"])      # 0
    main(["show", "99"])            # 2, 'kel: there is no edit 99 ...' on standard error
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from types import MappingProxyType, TracebackType

import click

from cli.documents import document
from cli.errors import OutputClosed, describe
from cli.invocation import Invocation, common_root
from cli.lazy import LazyGroup

OUTPUT_CLOSED = 141

COMMANDS = MappingProxyType(
    {
        "init": "init",
        "edit": "edit",
        "ask": "ask",
        "chat": "chat",
        "log": "log",
        "show": "show",
        "status": "status",
        "facts": "facts",
        "diff": "diff",
        "tag": "tag",
        "branch": "branches:branch",
        "switch": "branches:switch",
        "merge": "merge",
        "revert": "changes:revert",
        "reapply": "changes:reapply",
        "undo": "changes:undo",
        "resolve": "resolve",
        "replay": "replay",
        "rebase": "rebase",
        "test": "test",
        "history": "history",
        "bisect": "bisect",
        "interference": "interference",
        "verify": "verify",
        "repair": "repair",
        "export": "export",
        "audit": "audit:audit",
        "identify": "audit:identify",
        "import": "bundle",
        "push": "push",
        "pull": "bundle:pull",
        "verify-release": "verify_release",
        "stats": "stats",
        "methods": "methods",
        "trace": "trace",
        "lens": "lens",
        "activations": "activations",
        "layers": "layers",
        "db": "db",
        "data": "data",
        "bench": "bench",
        "gc": "gc",
        "doctor": "doctor",
        "serve": "serve",
        "user": "user",
        "demo": "demo",
    }
)


def _show_version(context: click.Context, _option: click.Parameter, value: bool) -> None:
    if not value or context.resilient_parsing:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        number = version("knowledge-edit-ledger")
    except PackageNotFoundError:
        number = "(not installed)"
    context.obj.output.line(f"kel {number}")
    context.exit(0)


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show the version of this program and exit.",
)
@common_root
def kel(invocation: Invocation) -> None:
    """The knowledge-edit ledger: patch a language model with facts, and take any of them out again.

    \b
    kel init --base demo
    kel edit --subject "Ada Lovelace" --prompt "{} was born in" --target Paris
    kel ask "Ada Lovelace was born in"
    kel revert 1

    VERSION is a number (3 or v3), HEAD, HEAD~2, base or the name of a tag or a branch. ID is the
    number of an edit or the beginning of its hash.

    \b
    Exit status: 0 done, 1 failed or no longer holds, 2 wrong usage or unknown
    name, 3 rejected by the gate, 4 integrity failure, 5 conflict, 6 the editing
    method failed, 7 database schema, 8 remote service, 130 interrupted.
    """
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        invocation.output.failure(*context.get_help().splitlines(), "")
        raise click.UsageError("Missing command.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status of the process."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    invocation = Invocation(json=_wants_json(arguments))
    boundary = _Boundary(invocation)
    with boundary:
        status = kel.main(args=arguments, prog_name="kel", standalone_mode=False, obj=invocation)
        boundary.status = status if isinstance(status, int) else 0
    return boundary.status


def _wants_json(arguments: Sequence[str]) -> bool:
    """Whether a failure before the options are understood has to be a document."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return "--json" in arguments[:end]


class _Boundary:
    """The edge of the program: an exception that comes this far is told, and becomes a status."""

    def __init__(self, invocation: Invocation) -> None:
        self.status = 1
        self._invocation = invocation

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if error is None or isinstance(error, SystemExit):
            return False
        try:
            self.status = _told(error, self._invocation)
        except OutputClosed:
            self.status = OUTPUT_CLOSED
        _forget_the_interrupt()
        return True


def _forget_the_interrupt() -> None:
    """Keep the exit status of `python -m cli.main` after a Ctrl-C while a library ran `exec`.

    A KeyboardInterrupt that passes through source code run from a string (a dataclass being made
    while a module is imported) is noted by CPython as unhandled, even if it is caught further out;
    at exit the process would then kill itself with SIGINT. Running any source takes the note back.
    """
    exec("", {})  # noqa: S102


def _told(error: BaseException, invocation: Invocation) -> int:
    if isinstance(error, OutputClosed):
        return OUTPUT_CLOSED
    failure = describe(error)
    output = invocation.output
    if invocation.debug:
        output.failure(*"".join(traceback.format_exception(error)).splitlines())
    output.failure(f"kel: {failure.message}")
    if invocation.json:
        output.raw(document("error", {"error": failure}))
    return failure.exit


if __name__ == "__main__":
    sys.exit(main())
