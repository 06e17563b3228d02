"""A corpus as padded batches of token rows, in an order that depends on the corpus alone.

Promise: every text is a row of its own, padded on the right, so that its tokens have the positions
and the attention that they have in the text alone, in any architecture; the same texts make the
same batches, however many processes share them and wherever a run begins again.
Rules: texts are taken in windows; inside a window they are sorted by length, so that little is
padding. A window ends at a text's end: there, and only there, a sum can be kept and continued.

    for pack in packs(model, texts, max_tokens=100_000):
        model.batch(pack.rows), pack.texts      # texts taken so far, where the pack ends a window
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from editors.batch import context_of
from editors.model import EditableModel
from editors.prompts import encode

BATCH_TOKENS = 4096
TEXT_TOKENS = 512
_WINDOW_TOKENS = 4 * BATCH_TOKENS
_WINDOWS = 16  # at least so many, for a small number of tokens

Row = tuple[int, ...]


@dataclass(frozen=True)
class Pack:
    """Rows of one batch; `texts` says how many texts were taken, where it ends a window."""

    rows: tuple[Row, ...]
    texts: int | None = None

    @property
    def tokens(self) -> int:
        """Tokens of all rows, padding not counted."""
        return sum(len(row) for row in self.rows)


def packs(
    model: EditableModel,
    texts: Iterable[str],
    *,
    max_tokens: int,
    texts_done: int = 0,
    done: int = 0,
) -> Iterator[Pack]:
    """Batches of at most 4096 places over the first `max_tokens` tokens, texts cut at 512 tokens.

    `texts` are all texts; `texts_done` of them with `done` tokens have been taken before, up to the
    end of a window.
    """
    window_tokens = min(_WINDOW_TOKENS, max(1, max_tokens // _WINDOWS))
    window: list[Row] = []
    taken, held = texts_done, 0
    for row in _rows(model, texts, max_tokens - done, texts_done):
        taken += 1
        held += len(row)
        if row:
            window.append(row)
        if held >= window_tokens:
            yield from _closed(window, taken)
            window, held = [], 0
    if window:
        yield from _closed(window, taken)


def _rows(model: EditableModel, texts: Iterable[str], left: int, skip: int) -> Iterator[Row]:
    """A row for each text (empty for one without tokens) until `left` tokens are used up."""
    longest = min(TEXT_TOKENS, context_of(model.model.config) or TEXT_TOKENS)
    for number, text in enumerate(texts):
        if left <= 0:
            return
        if number >= skip:
            row = encode(model.plain, text).ids[: min(longest, left)]
            left -= len(row)
            yield row


def _closed(window: Sequence[Row], texts: int) -> Iterator[Pack]:
    """The batches of one window; only the last says how many texts were taken."""
    batches: list[list[Row]] = [[]]
    for row in sorted(window, key=len, reverse=True):
        width = len((batches[-1] or [row])[0])
        if width * (len(batches[-1]) + 1) > BATCH_TOKENS and batches[-1]:
            batches.append([])
        batches[-1].append(row)
    found = [Pack(tuple(batch)) for batch in batches]
    yield from found[:-1]
    yield replace(found[-1], texts=texts)
