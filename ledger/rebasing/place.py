"""Where the new ledger of a rebase goes when nobody says.

Promise: a pure path.

    default_place(Path("patched"), "models/new", None)       # patched-on-new
"""

from __future__ import annotations

import re
from pathlib import Path

from ledger.base import DEMO


def default_place(root: Path, base: str, revision: str | None) -> Path:
    """Beside the old ledger's folder, named from it and the base."""
    name = base if base == DEMO else Path(base).expanduser().absolute().name
    parts = [root.name, "on", name, *([revision[:12]] if revision else [])]
    return root.parent / re.sub(r"[^\w.-]+", "-", "-".join(parts))
