"""What `kel interference` returns: how far edits move one another.

Promise: plain data, as in `ledger.views`; importing this module imports no torch.

    view = ledger.interference("3")
    view.disturbs                       # (Share(edit=1, share=0.31),)
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """An edit and how far it moves or is moved, in units of what an edit does at its own key."""

    edit: int
    share: float


@dataclass(frozen=True)
class InterferenceRow:
    """An active edit: how far what it wrote has moved since (None: it has no key), and by whom."""

    edit: int
    fact: str
    drift: float | None
    by: tuple[Share, ...]


@dataclass(frozen=True)
class InterferenceView:
    """Who disturbs whom at a version, by shares above `threshold`.

    `rows` are all active edits, most moved first. Of one `edit`: `disturbs` are the edits it moved
    by coming or going, `revert` those that taking it out would move (none if it is not active).
    """

    version: int
    threshold: float
    rows: tuple[InterferenceRow, ...]
    edit: int | None = None
    disturbs: tuple[Share, ...] = ()
    revert: tuple[Share, ...] = ()
