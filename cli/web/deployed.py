"""Where the audit page finds a deployed model, and what it refuses before reading it.

Promise: nothing outside the allowed folder is opened, nor told whether it is there; what is no
regular file, or has a header or settings beyond any use, is refused in a line.

    folder = below(root, "released/v3")
    check(folder, within=root)
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from ledger.errors import InvalidInput

CONFIG, ADAPTER, WHOLE = "adapter_config.json", "adapter_model.safetensors", "model.safetensors"
MOST_HEADER: Final = 10_000_000
MOST_SETTINGS: Final = 10_000_000
MOST_FILES: Final = 10_000
_READ: Final = (CONFIG, "config.json", "model.safetensors.index.json")


def below(root: Path | None, place: str) -> Path:
    """The folder `place` below `root`, links followed. Raises: InvalidInput."""
    if root is None:
        raise InvalidInput("no folder may be audited here; `kel serve --audit-root DIR` allows one")
    refused = InvalidInput(f"{place[:200]!r} is no folder below the one that may be audited")
    try:
        top = root.resolve(strict=True)
        found = (top / place).resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise refused from error
    if Path(place).is_absolute() or not found.is_relative_to(top) or not found.is_dir():
        raise refused
    return found


def check(folder: Path, within: Path | None) -> None:
    """Refuse files that an audit would read and should not. Raises: InvalidInput.

    `within`: links may not lead out of it; None where links are the Hub cache's own.
    """
    names = sorted(os.listdir(folder))
    if len(names) > MOST_FILES:
        raise InvalidInput(f"the folder has {len(names)} files; at most {MOST_FILES}")
    for name in names:
        if name.endswith(".safetensors") or name in _READ:
            _check_file(folder / name, within)


def _check_file(path: Path, within: Path | None) -> None:
    try:
        inside = within is None or path.resolve(strict=True).is_relative_to(within.resolve())
        # Opening a pipe or a device may block or act; a link is followed to what it names.
        found = path.stat()
    except (OSError, RuntimeError) as error:
        raise InvalidInput(f"{path.name} cannot be read: replace it by the file itself") from error
    if not inside:
        raise InvalidInput(f"{path.name} is a link that leads out of the folder")
    if not stat.S_ISREG(found.st_mode):
        raise InvalidInput(f"{path.name} is no regular file")
    if path.name in _READ:
        if found.st_size > MOST_SETTINGS:
            raise InvalidInput(f"{path.name} has {found.st_size} bytes; at most {MOST_SETTINGS}")
        return
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > MOST_HEADER:
        raise InvalidInput(f"the header of {path.name} has {length} bytes; at most {MOST_HEADER}")
