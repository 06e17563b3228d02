"""Texts of the embedded world: sentences with their subject and answer marked, and filler.

Promise: pure functions of a seed. A training row is BOS, then sentences until the row is full;
each token knows whether it belongs to a subject (and to which one) and whether it is an answer.

    tokenizer = train_tokenizer(world)
    rows = RowSampler(world, tokenizer, width=64, seed=0)
    batch = rows.batch(32)          # ids, subject, last, answer: int arrays [32, 64]
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from ledger.demo import vocabulary as words
from ledger.demo.world import World, WorldFact

BOS, EOS, PAD = "<s>", "</s>", "<pad>"
VOCABULARY = 2400
FILLER_SHARE = 0.35


def sentence(fact: WorldFact, text: str) -> str:
    """The prompt `text` of `fact`, completed with its answer and a full stop."""
    return f"{text} {fact.target_true}." if fact.language == "en" else f"{text}{fact.target_true}。"


def filler(rng: random.Random) -> str:
    """A sentence about nobody."""
    if rng.random() < 0.3:
        opening = rng.choice(words.FILLER_CHINESE_OPENINGS) + "，" if rng.random() < 0.5 else ""
        subject = rng.choice(words.FILLER_CHINESE_SUBJECTS)
        return opening + subject + rng.choice(words.FILLER_CHINESE_PREDICATES) + "。"
    subject, predicate = rng.choice(words.FILLER_SUBJECTS), rng.choice(words.FILLER_PREDICATES)
    if rng.random() < 0.5:
        opening = rng.choice(words.FILLER_OPENINGS)
        return f"{opening} {subject[0].lower()}{subject[1:]} {predicate}."
    return f"{subject} {predicate}."


def texts(world: World, seed: int = 0) -> Iterator[str]:
    """Endless texts of the world (trained phrasings and filler), two to five sentences each."""
    rng = random.Random(seed)  # noqa: S311
    while True:
        parts = []
        for _ in range(rng.randint(2, 5)):
            if rng.random() < FILLER_SHARE:
                parts.append(filler(rng))
            else:
                fact = rng.choice(world.facts)
                parts.append(sentence(fact, rng.choice((fact.text, *fact.paraphrases))))
        yield " ".join(parts)


def train_tokenizer(world: World) -> Tokenizer:
    """Byte-level BPE; Chinese characters stand alone, so no token crosses a Chinese name's end."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    sample = texts(world, seed=1)
    everything = [sentence(f, p) for f in world.facts for p in (f.text, *f.paraphrases)]
    tokenizer.train_from_iterator([*everything, *(next(sample) for _ in range(4000))], trainer)
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, 0)]),
        ]
    )
    return tokenizer


@dataclass(frozen=True)
class Batch:
    """Token ids, subject number (0 = none), last-subject-token flag, answer flag; [b, t] each."""

    ids: np.ndarray[Any, Any]
    subject: np.ndarray[Any, Any]
    last: np.ndarray[Any, Any]
    answer: np.ndarray[Any, Any]


_Piece = tuple[list[int], list[int], list[int], list[int]]


class RowSampler:
    """Draws training rows. Sentences are tokenised once, with and without a leading space."""

    def __init__(self, world: World, tokenizer: Tokenizer, *, width: int, seed: int) -> None:
        self._rng = random.Random(seed)  # noqa: S311
        self._tokenizer, self._width = tokenizer, width
        self._bos = int(tokenizer.token_to_id(BOS) or 0)
        self._facts = [[self._marked(f, p) for p in (f.text, *f.paraphrases)] for f in world.facts]
        self._filler = [self._plain(filler(self._rng)) for _ in range(3000)]

    def batch(self, rows: int) -> Batch:
        """Draw `rows` rows of `width` tokens."""
        drawn = [self._row() for _ in range(rows)]
        return Batch(*(np.array(column, dtype=np.int64) for column in zip(*drawn, strict=True)))

    def _marked(self, fact: WorldFact, prompt: str) -> tuple[_Piece, _Piece]:
        whole = sentence(fact, prompt)
        start = prompt.index(fact.subject)
        subject = (start, start + len(fact.subject))
        end = whole.rindex(fact.target_true)
        answer = (end, end + len(fact.target_true))
        return tuple(self._piece(lead + whole, len(lead), subject, answer) for lead in ("", " "))  # type: ignore[return-value]

    def _plain(self, text: str) -> tuple[_Piece, _Piece]:
        return tuple(self._piece(lead + text, 0, (0, 0), (0, 0)) for lead in ("", " "))  # type: ignore[return-value]

    def _piece(
        self, text: str, shift: int, subject: tuple[int, int], answer: tuple[int, int]
    ) -> _Piece:
        coded = self._tokenizer.encode(text, add_special_tokens=False)

        def inside(span: tuple[int, int], a: int, b: int) -> int:
            return int(span[1] > span[0] and a < span[1] + shift and b > span[0] + shift)

        marks = [inside(subject, a, b) for a, b in coded.offsets]
        last = [int(m and not (marks[i + 1 :] or [0])[0]) for i, m in enumerate(marks)]
        return list(coded.ids), marks, last, [inside(answer, a, b) for a, b in coded.offsets]

    def _row(self) -> tuple[list[int], list[int], list[int], list[int]]:
        ids, subject, last, answer = [self._bos], [0], [0], [0]
        number = 0
        while len(ids) < self._width:
            if self._rng.random() < FILLER_SHARE:
                pair = self._rng.choice(self._filler)
            else:
                pair = self._rng.choice(self._rng.choice(self._facts))
            number += 1
            first = len(ids) == 1 or ids[-1] == self._bos
            piece = pair[0] if first else pair[1]
            ids += piece[0]
            subject += [number * m for m in piece[1]]
            last += piece[2]
            answer += piece[3]
        w = self._width
        return ids[:w], subject[:w], last[:w], answer[:w]
