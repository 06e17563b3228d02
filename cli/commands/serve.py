"""`kel serve`: the application in the browser, and its API.

Promise: only this machine can reach it unless it is told otherwise, and then only with accounts.

    kel serve --demo
    kel --ledger patched serve --port 8010
"""

from __future__ import annotations

import secrets
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.commands.chat import detector_option
from cli.invocation import Invocation, common

if TYPE_CHECKING:
    from ledger import Ledger

DEMO = Path("kel-demo-app")
DEMO_USER = "demo"
LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})
_NEEDED = ("fastapi", "uvicorn", "jinja2", "argon2", "python_multipart")


@click.command()
@click.option("--demo", is_flag=True, help="On the embedded model, with an account that is shown.")
@click.option("--host", metavar="H", default="127.0.0.1", show_default=True, help="Address.")
@click.option(
    "--port",
    metavar="P",
    type=click.IntRange(0, 65535),
    default=8010,
    show_default=True,
    help="Port; 0 takes a free one.",
)
@click.option(
    "--allow-host", metavar="NAME", multiple=True, help="Another name that browsers may use."
)
@click.option("--behind-tls", is_flag=True, help="A proxy in front speaks TLS: secure cookies.")
@click.option(
    "--tokens",
    metavar="N",
    type=click.IntRange(1, 4096),
    default=256,
    show_default=True,
    help="The longest answer.",
)
@click.option(
    "--audit-root",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Models in folders below this one may be audited in the browser; none by default.",
)
@click.option(
    "--audit-mb",
    metavar="N",
    type=click.IntRange(0, 1_000_000),
    default=512,
    show_default=True,
    help="The largest file, in MB, that may be sent to be audited; 0 for none.",
)
@detector_option
@common
def command(
    invocation: Invocation,
    demo: bool,
    host: str,
    port: int,
    allow_host: tuple[str, ...],
    behind_tls: bool,
    tokens: int,
    audit_root: Path | None,
    audit_mb: int,
    detector: str,
) -> int:
    """Serve the application: talk to the model, correct it, see and undo what it carries.

    Other machines reach it only with --host and an account (kel user add); on this machine
    everybody may talk and read, and a change needs the password of an account.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise click.UsageError(
            f"serving needs {missing[0]}: pip install 'knowledge-edit-ledger[web]'"
        )
    public = host not in LOCAL
    password = _demo(invocation) if demo else None
    _check(invocation, public, detector)
    from cli.web.serving import Place, serve
    from cli.web.state import Settings

    settings = Settings(
        folder=_folder(invocation),
        hosts=frozenset({*LOCAL, *allow_host, *([host] if public else [])}),
        public=public,
        secure=behind_tls,
        tokens=tokens,
        detector=detector,
        audit_root=audit_root,
        audit_bytes=audit_mb * 1_000_000,
    )

    def started(url: str) -> None:
        content = {"url": url, "user": DEMO_USER if demo else None, "password": password}
        lines = [(f"{url}",)]
        if password:
            lines.append((f"account {DEMO_USER}, password {password}",))
        invocation.emit("serve", content, lines)

    serve(settings, Place(host, port), started)
    return 0


def _folder(invocation: Invocation) -> Path:
    from ledger import Ledger

    with Ledger.open(invocation.ledger) as ledger:
        return ledger.folder.root


def _check(invocation: Invocation, public: bool, detector: str) -> None:
    """Refuse an address that others can reach while nobody has an account."""
    from ledger import Ledger

    with Ledger.open(invocation.ledger) as ledger:
        if detector == "model":
            ledger.detector()
        if public and not ledger.access.accounts.all():
            raise click.UsageError(
                "others could reach it, and there is no account yet: `kel user add NAME` first."
            )
        if not ledger.access.accounts.all():
            invocation.output.note("there is no account yet, so nothing can be changed:")
            invocation.output.note("`kel user add NAME --role editor` makes one.")


def _demo(invocation: Invocation) -> str:
    """The demo's ledger, made if it is not there, and a new password for its account."""
    from ledger import Ledger

    if invocation.ledger is None:
        invocation.ledger = DEMO
    place, password = invocation.ledger, secrets.token_urlsafe(9)
    if not (place / "ledger.db").exists():
        Ledger.init(place, base="demo").close()
    with Ledger.open(place) as ledger:
        _account(ledger, password)
    return password


def _account(ledger: Ledger, password: str) -> None:
    accounts = ledger.access.accounts
    if accounts.role(DEMO_USER) is None:
        accounts.add(DEMO_USER, "editor", password, author=ledger.author)
    else:
        accounts.change_password(DEMO_USER, password)
