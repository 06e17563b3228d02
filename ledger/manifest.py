"""The manifest of an export: its name, its schema, and the entry it anchors.

anchor_of(Path("merged"))         # (41, '9f3c...')
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from ledger.errors import InvalidInput

MANIFEST: Final = "kel.json"
SCHEMA: Final = "kel.release/1"


def anchor_of(release: Path) -> tuple[int, str]:
    """Number and hash of the entry that an exported folder or its `kel.json` names.

    Raises: InvalidInput if it is no export.
    """
    path = release / MANIFEST if release.is_dir() else release
    try:
        manifest = json.loads(path.read_text("utf-8"))
        if manifest["schema"] != SCHEMA:
            raise InvalidInput(f"{path} has the schema {manifest['schema']!r}, not {SCHEMA}")
        return int(manifest["entry"]["seq"]), str(manifest["entry"]["hash"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InvalidInput(f"{path} is no manifest of an export ({error})") from error
