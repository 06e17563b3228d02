"""Triggers that refuse to change, remove or replace a recorded row.

Rules: three triggers a table. `INSERT OR REPLACE` removes the old row without firing a DELETE
trigger, so an insert over an existing key is refused as well. `alembic_version` stays writable.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KEYS = (
    ("entry", "seq = NEW.seq OR hash = NEW.hash OR prev_hash = NEW.prev_hash"),
    ("model", "id = NEW.id"),
    ("base_tensor", "model_id = NEW.model_id AND parameter = NEW.parameter"),
    ("object", "oid = NEW.oid"),
    ("batch", "id = NEW.id"),
    ("edit", "id = NEW.id"),
    ("measurement", "id = NEW.id"),
    ("prediction", "id = NEW.id"),
    ("tag", "id = NEW.id"),
    ("stats", "id = NEW.id"),
    ("release", "id = NEW.id"),
    ("user", "id = NEW.id"),
)


def upgrade() -> None:
    """Guard every table."""
    if op.get_bind().dialect.name == "postgresql":
        _guard_on_server()
        return
    for table, same_key in KEYS:
        refuse = f"BEGIN SELECT RAISE(ABORT, 'table {table} is append-only'); END"
        op.execute(f'CREATE TRIGGER {table}_no_update BEFORE UPDATE ON "{table}" {refuse}')
        op.execute(f'CREATE TRIGGER {table}_no_delete BEFORE DELETE ON "{table}" {refuse}')
        when = f'WHEN EXISTS (SELECT 1 FROM "{table}" WHERE {same_key})'  # noqa: S608
        op.execute(f'CREATE TRIGGER {table}_no_replace BEFORE INSERT ON "{table}" {when} {refuse}')


def downgrade() -> None:
    """Remove the guards; the rows stay."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION append_only() CASCADE")
        return
    for table, _ in KEYS:
        for kind in ("update", "delete", "replace"):
            op.execute(f"DROP TRIGGER {table}_no_{kind}")


def _guard_on_server() -> None:
    """PostgreSQL has no INSERT OR REPLACE: it changes or removes rows, or empties a table."""
    op.execute(
        "CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'table % is append-only', TG_TABLE_NAME; END $$"
    )
    for table, _ in KEYS:
        for kind in ("update", "delete", "truncate"):
            op.execute(
                f'CREATE TRIGGER {table}_no_{kind} BEFORE {kind.upper()} ON "{table}"'
                " FOR EACH STATEMENT EXECUTE FUNCTION append_only()"
            )
