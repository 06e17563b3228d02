"""The texts that second moments are measured on.

Promise: the same base, file and seed give the same texts in the same order, with their digest.
Rules: without a file, the embedded model's texts come from its world, any other model's are sampled
from the model itself (top-k 50); the name says which.

    found = corpus_of(live, record, Path("wiki.txt"), tokens=20_000, progress=None)
    found.name, found.sha256, len(found.texts)
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import torch

from editors.generation import continue_rows, top_k_sampler
from editors.prompts import LEAD_INS, encode
from ledger.base import EMBEDDED
from ledger.errors import InvalidInput
from ledger.live import LiveModel
from ledger.records import ModelRecord

Progress = Callable[[str, float], None] | None
WORLD: Final = "demo world"
SAMPLED: Final = "sampled from the model, top-k 50"
_SAMPLED_ROW = 128


@dataclass(frozen=True)
class Corpus:
    """Texts, with what the record calls them: a name and the sha256 of all, joined by newlines."""

    name: str
    sha256: str
    texts: Sequence[str]

    @classmethod
    def of(cls, name: str, texts: Sequence[str]) -> Corpus:
        """The corpus of some texts."""
        return cls(name, hashlib.sha256("\n".join(texts).encode()).hexdigest(), texts)


def corpus_of(
    live: LiveModel,
    record: ModelRecord,
    file: Path | None,
    tokens: int,
    progress: Progress,
    world: bool = False,
) -> Corpus:
    """The lines of a file, or at least `tokens` tokens of text made here; the model shows the base.

    `world`: the texts of the embedded world, whatever the model.

    Raises: InvalidInput for a file that cannot be read or holds no text.
    """
    if file is not None:
        return Corpus.of(file.name, _lines(file))
    if world or record.base_id in EMBEDDED:
        from ledger.demo.corpus import texts
        from ledger.demo.world import build_world

        # A text has more than ten tokens, so these are always enough.
        return Corpus.of(WORLD, list(islice(texts(build_world(), 2), tokens // 10 + 1)))
    sampled = list(_sampled(live, tokens, int(record.config["seed"]), progress))
    return Corpus.of(SAMPLED, sampled)


def _lines(file: Path) -> list[str]:
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read the corpus {file}: {error}") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise InvalidInput(f"the corpus {file} holds no text")
    return lines


def _sampled(live: LiveModel, tokens: int, seed: int, progress: Progress) -> Iterator[str]:
    """Texts written by the model itself, `tokens` tokens in all (about)."""
    model = live.model.plain
    longest = int(getattr(model.model.config, "max_position_embeddings", 0) or 1024)
    length = max(8, min(_SAMPLED_ROW, longest - 8))
    choose = top_k_sampler(50, torch.Generator().manual_seed(seed))
    rows = [encode(model, word).ids for word in LEAD_INS for _ in range(8)]
    done = 0
    while done < tokens:
        with model.evaluating():
            tails = continue_rows(model, rows, length, choose=choose)
        for row, tail in zip(rows, tails, strict=True):
            done += len(row) + len(tail)
            yield model.decode((*row, *tail))
        if progress is not None:
            progress("sampling a corpus", min(1.0, done / tokens))
