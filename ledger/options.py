"""How an edit is made: the keyword arguments of `Ledger.edit`, `edit_batch` and `edit_many`.

Promise: one place for names, types and defaults.

    ledger.edit(request, method="rome", layer=3, gate=None)
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from typing import Final, TypedDict

from ledger.errors import InvalidInput
from ledger.evaluation.gates import Gate

NOTE_LIMIT: Final = 10_000
AUTHOR_LIMIT: Final = 200
BATCH_LIMIT: Final = 4096  # the highest rank an object may have
Progress = Callable[[str, float], None] | None


class EditOptions(TypedDict, total=False):
    """All may be left out.

    method: an editing method (default `rome`); layer: another than the method's default for the
    model; overrides: other hyper-parameters; gate: limits, None for none (default `Gate()`);
    author, note: recorded; dry_run: measure without recording; retry: how often to compute again
    if another process moved the head meanwhile; progress: called with a phase and a share.
    """

    method: str
    layer: int | None
    overrides: Mapping[str, object] | None
    gate: Gate | None
    author: str | None
    note: str
    dry_run: bool
    retry: int
    progress: Progress


def check_words(author: str, note: str) -> None:
    """Refuse an author or a note that cannot be recorded, before anything is computed.

    Raises: InvalidInput.
    """
    for name, text, limit in (("author", author, AUTHOR_LIMIT), ("note", note, NOTE_LIMIT)):
        if len(text) > limit:
            raise InvalidInput(f"the {name} has {len(text)} characters, the limit is {limit}")
        if any(char == "\0" or unicodedata.category(char) == "Cs" for char in text):
            raise InvalidInput(f"the {name} holds a NUL or a lone surrogate: remove it")
