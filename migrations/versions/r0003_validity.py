"""From when to when a fact is valid, and who says so.

Rules: the columns may be NULL, and a NULL in them is no part of a row's hash, so that the rows of
older ledgers keep theirs.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COLUMNS = ("valid_from", "valid_until", "source")


def upgrade() -> None:
    """Add the columns, empty."""
    for name in COLUMNS:
        op.add_column("edit", sa.Column(name, sa.Text(), nullable=True))


def downgrade() -> None:
    """Drop them with what they hold; rows that held something no longer have their hashes."""
    for name in reversed(COLUMNS):
        op.drop_column("edit", name)
