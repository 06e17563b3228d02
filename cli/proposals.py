"""What a proposal to take an edit back, or to put it back, holds; for the pages, the API and chat.

of_edit(ledger, "revert", "3")          # {'edit': 3, 'subject': ..., 'prompt': ..., ...}
of_undo(ledger)                         # ('revert', {'edit': 3, ...})
note_of(pending)                        # 'proposal 3fa94c0d71ab by ada'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ledger import Ledger
    from ledger.access import Pending


def of_edit(ledger: Ledger, op: str, ref: str) -> dict[str, Any]:
    """The edit and its fact.

    Raises: UnknownRevision; NotActive, AlreadyActive, Conflict where there is nothing to do.
    """
    view = ledger.show(ref)
    ledger.journal.history().check(op, (view.id,))
    return {"edit": view.id, **view.fact}


def of_undo(ledger: Ledger) -> tuple[Any, dict[str, Any]]:
    """What takes the last change back: kind and body. Raises: Conflict, as `of_edit`."""
    from ledger.errors import Conflict
    from ledger.history import TURNING

    last = ledger.journal.history().changes[-1:]
    if not last:
        raise Conflict("there is no change to take back")
    op, edits = last[0].op, last[0].edits
    if op in TURNING or len(edits) != 1:
        raise Conflict(f"the last change was a {op} of {len(edits)} edits; name one edit")
    kind = last[0].undone_by
    return kind, of_edit(ledger, kind, str(edits[0]))


def note_of(pending: Pending) -> str:
    """What the entry of a confirmed proposal says of it; its author is who confirmed."""
    by = f" by {pending.proposer}" if pending.proposer else ""
    return f"proposal {pending.digest[:12]}{by}"
