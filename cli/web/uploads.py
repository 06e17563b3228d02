"""A model that a browser sends: streamed to the disk, under names of our own, and taken away again.

Promise: nothing of a name that was sent becomes a path; the folder is gone when `remove` was
called, and when receiving it failed.

Rules: one file of weights, and an adapter's configuration beside it if it is one.

    upload = await received(form, most=512_000_000)
    upload.folder, upload.label
    upload.remove()
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from cli.web.deployed import ADAPTER, CONFIG, MOST_SETTINGS, WHOLE
from ledger.errors import InvalidInput

_LABEL: Final = 200


@dataclass(frozen=True)
class Upload:
    """What was sent: the folder it lies in, and how the weights were called."""

    folder: Path
    label: str

    def remove(self) -> None:
        """Take it away; a second time does nothing."""
        shutil.rmtree(self.folder, ignore_errors=True)


async def received(form: FormData, most: int) -> Upload | None:
    """The files of a form, in a folder of their own; None if there is none.

    Raises: InvalidInput for files that are no model, or beyond `most` bytes.
    """
    files = [part for part in form.getlist("files") if isinstance(part, UploadFile) and part.size]
    if not files:
        return None
    names = [Path(file.filename or "").name for file in files]
    settings = [file for file, name in zip(files, names, strict=True) if name == CONFIG]
    weights = [file for file, name in zip(files, names, strict=True) if _is_weights(name)]
    if len(weights) != 1 or len(settings) + 1 != len(files):
        raise InvalidInput(f"send one .safetensors file, and {CONFIG} with it if it is an adapter")
    if (weights[0].size or 0) > most:
        raise InvalidInput(f"the file has {weights[0].size} bytes; at most {most} are audited")
    if settings and (settings[0].size or 0) > MOST_SETTINGS:
        raise InvalidInput(f"{CONFIG} has {settings[0].size} bytes; at most {MOST_SETTINGS}")
    kept = [(ADAPTER if settings else WHOLE, weights[0]), *((CONFIG, file) for file in settings)]
    label = (weights[0].filename or "")[:_LABEL]
    upload = Upload(Path(tempfile.mkdtemp(prefix="kel-audit-")), label)
    try:
        for name, file in kept:
            await run_in_threadpool(_kept, file, upload.folder / name)
    except BaseException:
        upload.remove()
        raise
    return upload


def _is_weights(name: str) -> bool:
    return name.casefold().endswith(".safetensors")


def _kept(file: UploadFile, path: Path) -> None:
    with path.open("xb") as target:
        shutil.copyfileobj(file.file, target, 1 << 20)
