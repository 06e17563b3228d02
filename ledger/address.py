"""Where the database of a ledger is: a file, or a schema on a PostgreSQL server.

Promise: an address that is shown or stored holds no password.

    is_server("postgresql://kel@db.example/facts")      # True
    public("postgresql://kel:secret@db.example/facts")  # 'postgresql://kel@db.example/facts'
    file_of("sqlite:///ledgers/a/ledger.db")            # Path('ledgers/a/ledger.db')
"""

from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from ledger.errors import InvalidInput

_SCHEMES: Final = ("postgresql", "postgres")
_FILE_URL: Final = "sqlite:///"
_SECRETS: Final = frozenset({"password", "sslpassword"})


def is_server(place: object) -> bool:
    """Whether `place` is the address of a PostgreSQL server."""
    scheme, found, _ = str(place).partition("://")
    return bool(found) and scheme in _SCHEMES


def public(url: str) -> str:
    """The address without a password. Raises: InvalidInput for what is no address."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise InvalidInput(f"the address of the database cannot be read ({error})") from error
    netloc = parts.netloc
    if parts.password is not None:
        netloc = f"{parts.username or ''}@{netloc.rpartition('@')[2]}"
    asked = parse_qsl(parts.query, keep_blank_values=True)
    query = parts.query
    if any(name in _SECRETS for name, _ in asked):
        query = urlencode([(name, value) for name, value in asked if name not in _SECRETS])
    return urlunsplit(parts._replace(netloc=netloc, query=query))


def checked_address(url: str) -> str:
    """`url`, if it is a server's address that may be stored.

    Raises: InvalidInput, above all for an address with a password.
    """
    if not is_server(url):
        raise InvalidInput(f"{public(url)!r} is no address of a database: give postgresql://...")
    if public(url) != url:
        raise InvalidInput(
            "leave the password out of the address, which is stored and seen by others: "
            "set PGPASSWORD or write it into ~/.pgpass"
        )
    return url


def file_of(place: str | Path) -> Path:
    """The file that `place` names. Raises: InvalidInput for another kind of database."""
    text = str(place)
    if "://" in text and not text.startswith(_FILE_URL):
        raise InvalidInput(
            f"{text.partition('://')[0]!r} databases are not supported; "
            "give a path, sqlite:///path or postgresql://..."
        )
    return Path(text.removeprefix(_FILE_URL))
