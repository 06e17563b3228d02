"""Tables of the application: passwords, sessions, tokens, pending proposals, failed attempts.

Rules: they hold what is in force now and no history, so nothing guards them against changes and no
entry covers them; times are whole seconds since 1970.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = ("credential", "session", "token", "proposal", "attempt")


def upgrade() -> None:
    """Create every table."""
    _create("credential", _text("name"), _text("password_hash"), _time("changed_at"))
    _create("session", _text("id"), _text("name"), _time("created_at"), _time("seen_at"))
    _create(
        "token",
        *(_text("id"), _text("name"), _text("label"), _text("scope"), _time("created_at")),
    )
    _create(
        "proposal",
        *(_text("id"), _text("kind"), _text("body"), _text("digest"), _text("proposer")),
        *(_time("created_at"), _time("expires_at"), _text("state")),
    )
    _create("attempt", _number("id"), _text("key"), _time("at"))
    op.create_index(op.f("ix_session_name"), "session", ["name"])
    op.create_index(op.f("ix_token_name"), "token", ["name"])
    op.create_index(op.f("ix_attempt_key"), "attempt", ["key"])


def downgrade() -> None:
    """Drop every table; nobody stays logged in."""
    for name in reversed(TABLES):
        op.drop_table(name)


def _create(name: str, *columns: sa.Column[object]) -> None:
    """The first column is the key."""
    key = sa.PrimaryKeyConstraint(columns[0].name, name=op.f(f"pk_{name}"))
    op.create_table(name, *columns, key)


def _text(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Text(), nullable=False)


def _time(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _number(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Integer(), nullable=False)
