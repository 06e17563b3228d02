"""Until when a token of the API can be used.

Rules: NULL is for ever, so that the tokens of older ledgers stay what they were.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, empty."""
    op.add_column("token", sa.Column("expires_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Drop it, and first the tokens that had an end: they must not last for ever."""
    op.execute("DELETE FROM token WHERE expires_at IS NOT NULL")
    op.drop_column("token", "expires_at")
