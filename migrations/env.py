"""Runs the migrations on the connection it is given, inside the transaction that is open on it.

Promise: either all pending migrations are there afterwards, or the schema is as it was.

Rules: the caller opens the connection, turns foreign keys off, begins and commits; nothing here
reads a file or an environment variable. `ledger.schema.upgrade` is the caller.

    config = Config()
    config.set_main_option("script_location", str(folder))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
"""

from alembic import context

from ledger.access.tables import OPERATIONAL
from ledger.models import METADATA


def run() -> None:
    """Configure alembic for the caller's connection and run what was asked for."""
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=[METADATA, OPERATIONAL],
        transactional_ddl=True,
        compare_type=True,
        user_module_prefix="sa.",
    )
    with context.begin_transaction():
        context.run_migrations()


run()
