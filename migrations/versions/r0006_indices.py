"""Indices for what is asked of a long history: one entry, one kind of entry, one fact, one prompt.

Rules: no row changes. Texts that may be long are found by their hash on PostgreSQL, whose other
indices refuse long ones.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ORDERED = (("entry", "version"), ("entry", "op"), ("edit", "valid_until"))
HASHED = (("edit", "subject"), ("prediction", "prompt"))


def upgrade() -> None:
    """Create them."""
    for table, column in ORDERED:
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column])
    for table, column in HASHED:
        name = op.f(f"ix_{table}_{column}")
        op.create_index(name, table, [column], postgresql_using="hash")


def downgrade() -> None:
    """Drop them."""
    for table, column in (*ORDERED, *HASHED):
        op.drop_index(op.f(f"ix_{table}_{column}"), table)
