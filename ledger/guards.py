"""The triggers that keep every table append-only, as the migrations write them.

Promise: a pure function of the tables' names; nothing here is run, it is what is compared.

    guards(["tag"])["tag_no_delete"]    # 'CREATE TRIGGER tag_no_delete BEFORE DELETE ON "tag" ...'
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType
from typing import Final

from ledger.chain import key_of

_FORMS: Final = MappingProxyType(
    {
        "update": 'CREATE TRIGGER {table}_no_update BEFORE UPDATE ON "{table}" {refuse}',
        "delete": 'CREATE TRIGGER {table}_no_delete BEFORE DELETE ON "{table}" {refuse}',
        "replace": 'CREATE TRIGGER {table}_no_replace BEFORE INSERT ON "{table}" '
        'WHEN EXISTS (SELECT 1 FROM "{table}" WHERE {same}) {refuse}',
    }
)
_REFUSE: Final = "BEGIN SELECT RAISE(ABORT, 'table {table} is append-only'); END"
_ON_SERVER: Final = (
    "CREATE TRIGGER {table}_no_{kind} BEFORE {event} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION"
    " append_only() BEGIN RAISE EXCEPTION 'table % is append-only', TG_TABLE_NAME; END "
)
_ENTRY: Final = "seq = NEW.seq OR hash = NEW.hash OR prev_hash = NEW.prev_hash"


def guards(tables: Iterable[str]) -> dict[str, str]:
    """Name of a trigger -> its text, three for each table."""
    return {
        f"{table}_no_{kind}": form.format(
            table=table, same=_same(table), refuse=_REFUSE.format(table=table)
        )
        for table in tables
        for kind, form in _FORMS.items()
    }


def server_guards(tables: Iterable[str]) -> dict[str, str]:
    """The same on PostgreSQL: trigger, its statement without quotes, and what its function does.

    TRUNCATE empties a table without a DELETE; there is no INSERT OR REPLACE.
    """
    return {
        f"{table}_no_{kind}": _ON_SERVER.format(table=table, kind=kind, event=kind.upper())
        for table in tables
        for kind in ("update", "delete", "truncate")
    }


def _same(table: str) -> str:
    """When a new row would take the place of one that is there."""
    if table == "entry":
        return _ENTRY
    return " AND ".join(f"{name} = NEW.{name}" for name in key_of(table))
