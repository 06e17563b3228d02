"""`kel user`: who may use the application, and the tokens of its API.

Promise: a password is read from a prompt without echo or from standard input, never from the
command line; a token is shown once.

    kel user add ada --role editor
    printf 'correct horse\\n' | kel user passwd ada
    kel user token add ada --scope chat --label laptop --days 90
    kel user token rotate 3fa94c --overlap 24
"""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from cli.invocation import Callback, Invocation, changing, common, opened
from cli.layout import Table, when
from cli.output import Item, Span

if TYPE_CHECKING:
    from ledger import Ledger
    from ledger.access.tokens import TokenView


_TOLD = ("name", "scope", "expires_at")


def _days(text: str) -> Callable[[Callback], Callback]:
    """After how many days a token ends."""
    return click.option(
        "--days", metavar="N", type=click.IntRange(1, 36500), default=None, help=text
    )


@click.group()
@common
def command(invocation: Invocation) -> None:
    """Accounts of the application: who may read, edit and administrate."""


@command.command("add")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["reader", "editor", "admin"]),
    default="reader",
    show_default=True,
    help="What the account may do.",
)
@common
def add(invocation: Invocation, name: str, role: str) -> int:
    """Make the account NAME; the password is asked for, or the first line of standard input."""
    password = _password(invocation, f"password for {name}: ", again=True)
    with changing(invocation) as ledger:
        ledger.access.accounts.add(name, role, password, author=ledger.author)
        return _shown(invocation, ledger)


@command.command("role")
@click.argument("name")
@click.argument("role", type=click.Choice(["reader", "editor", "admin"]))
@common
def role_(invocation: Invocation, name: str, role: str) -> int:
    """Give the account NAME another ROLE; its tokens may do no more than that from now on."""
    with changing(invocation) as ledger:
        ledger.access.accounts.change_role(name, role, author=ledger.author)
        return _shown(invocation, ledger)


@command.command("four-eyes")
@click.argument("needed", type=click.Choice(["on", "off"]))
@common
def four_eyes(invocation: Invocation, needed: str) -> int:
    """Let every change of the application need a second person: not who proposed it confirms it.

    For the pages, the API and `kel chat`; recorded in the history.
    """
    with changing(invocation) as ledger:
        ledger.access.accounts.need_four_eyes(needed == "on", author=ledger.author)
        return _shown(invocation, ledger)


@command.command("list")
@common
def listed(invocation: Invocation) -> int:
    """List the accounts."""
    with opened(invocation) as ledger:
        return _shown(invocation, ledger)


@command.command("remove")
@click.argument("name")
@common
def remove(invocation: Invocation, name: str) -> int:
    """Take the account NAME away, with its password, sessions and tokens."""
    with changing(invocation) as ledger:
        ledger.access.accounts.remove(name, author=ledger.author)
        return _shown(invocation, ledger)


@command.command("passwd")
@click.argument("name")
@common
def passwd(invocation: Invocation, name: str) -> int:
    """Set another password for NAME, who is logged out everywhere."""
    password = _password(invocation, f"new password for {name}: ", again=True)
    with changing(invocation) as ledger:
        ledger.access.accounts.change_password(name, password)
        return _shown(invocation, ledger)


@command.group("token")
@common
def token(invocation: Invocation) -> None:
    """Tokens of the API, one a program."""


@token.command("add")
@click.argument("name")
@click.option(
    "--scope",
    type=click.Choice(["chat", "read", "edit"]),
    default="chat",
    show_default=True,
    help="Answers only; the ledger's pages too; changes too.",
)
@click.option("--label", metavar="TEXT", default="", help="What it is for.")
@_days("How long it can be used.  [default: for ever]")
@common
def token_add(invocation: Invocation, name: str, scope: str, label: str, days: int | None) -> int:
    """Make a token for NAME and show it, once."""
    with changing(invocation) as ledger:
        if ledger.access.accounts.role(name) is None:
            raise click.UsageError(f"there is no account {name!r}.")
        secret = ledger.access.tokens.add(name, label, scope, days)
        return _made(invocation, ledger, secret, {})


@token.command("list")
@common
def token_list(invocation: Invocation) -> int:
    """List the tokens, without their secrets."""
    with opened(invocation) as ledger:
        found = ledger.access.tokens.all()
    rows = [(t.id, t.name, t.scope, _moment(t.created_at), _end(t), t.label) for t in found]
    items: list[Item] = [Table(("id", "name", "scope", "made", "ends", "label"), rows)]
    return invocation.emit("user.token", {"tokens": found}, items if rows else [("no tokens",)])


@token.command("rotate")
@click.argument("start", metavar="ID")
@click.option(
    "--overlap",
    metavar="HOURS",
    type=click.IntRange(0, 24 * 365),
    default=0,
    show_default=True,
    help="How long the old token can still be used.",
)
@_days("How long the new token can be used.  [default: as long as the old one was made for]")
@common
def token_rotate(invocation: Invocation, start: str, overlap: int, days: int | None) -> int:
    """Make another token in place of the token ID, for the same account and scope; show it, once.

    The old one is gone at once, or ends after the overlap, so that programs can change over.
    """
    with changing(invocation) as ledger:
        tokens = ledger.access.tokens
        old = tokens.find(start)
        secret = tokens.rotate(start, overlap=overlap * 3600, days=days)
        left = next((found for found in tokens.all() if found.id == old.id), None)
        return _made(invocation, ledger, secret, {"old": left})


@token.command("remove")
@click.argument("start", metavar="ID")
@common
def token_remove(invocation: Invocation, start: str) -> int:
    """Take the token ID back."""
    with changing(invocation) as ledger:
        ledger.access.tokens.remove(start)
        found = ledger.access.tokens.all()
    return invocation.emit("user.token", {"tokens": found}, [(f"token {start} is gone",)])


def _made(invocation: Invocation, ledger: Ledger, secret: str, more: dict[str, object]) -> int:
    """Show a new token, the only time."""
    found = ledger.access.tokens.holder(secret)
    content = {"token": secret, **{name: getattr(found, name) for name in _TOLD}, **more}
    return invocation.emit("user.token", content, [(secret,)])


def _end(token: TokenView) -> str:
    return "" if token.expires_at is None else _moment(token.expires_at)


def _moment(seconds: int) -> str:
    """A time as the other times of the ledger are shown, in UTC."""
    return when(datetime.fromtimestamp(seconds, UTC).isoformat())


def _password(invocation: Invocation, prompt: str, *, again: bool = False) -> str:
    """A password from the terminal, without echo, or the next line of standard input."""
    if not invocation.output.interactive:
        return invocation.output.asked("") or ""
    password = getpass.getpass(prompt)
    if again and getpass.getpass("once more: ") != password:
        raise click.UsageError("the two passwords are not the same.")
    return password


def _shown(invocation: Invocation, ledger: Ledger) -> int:
    accounts = ledger.access.accounts
    found, two = accounts.all(), accounts.four_eyes()
    rows = [(account.name, account.role, when(account.since)) for account in found]

    def lines() -> Iterator[Item]:
        if rows:
            yield Table(("name", "role", "since"), rows)
        else:
            yield (Span("no accounts", "dim"),)
        if two:
            yield (Span("four eyes: who proposed a change does not confirm it", "dim"),)

    return invocation.emit("user", {"users": found, "four_eyes": two}, lines())
