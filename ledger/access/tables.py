"""The tables of the application. Storage only; a migration builds exactly these.

Rules: they hold what is in force now: rows are changed and deleted, no entry covers them and no
bundle holds them. Times are whole seconds since 1970. Secrets are stored as sha256.

    connection.execute(select(SESSION).where(SESSION.c.id == digest))
"""

from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text

OPERATIONAL = MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s"}
)


def _key() -> Column[str]:
    return Column("id", Text, primary_key=True)


def _text(name: str, *, index: bool = False) -> Column[str]:
    return Column(name, Text, nullable=False, index=index)


def _time(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


CREDENTIAL = Table(
    "credential",
    OPERATIONAL,
    Column("name", Text, primary_key=True),
    _text("password_hash"),
    _time("changed_at"),
)
SESSION = Table(
    "session", OPERATIONAL, _key(), _text("name", index=True), _time("created_at"), _time("seen_at")
)
TOKEN = Table(
    "token",
    OPERATIONAL,
    *(_key(), _text("name", index=True), _text("label"), _text("scope"), _time("created_at")),
    Column("expires_at", BigInteger),
)
PROPOSAL = Table(
    "proposal",
    OPERATIONAL,
    *(_key(), _text("kind"), _text("body"), _text("digest"), _text("proposer")),
    *(_time("created_at"), _time("expires_at"), _text("state")),
)
ATTEMPT = Table(
    "attempt",
    OPERATIONAL,
    Column("id", Integer, primary_key=True, autoincrement=True),
    _text("key", index=True),
    _time("at"),
)
