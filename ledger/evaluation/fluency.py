"""Fluency: how varied a generated text is, by the entropy of its n-grams.

Promise: pure; the entropy of a list of words is ROME's, and a text falls into words by a rule that
needs no trained model.
Rules: words are runs of letters and digits (inner hyphens and decimal points included), single
marks, and English endings after an apostrophe, as nltk's `word_tokenize` has them in ordinary
text; Chinese and Japanese characters are words of their own.
Source: GE of ROME (Meng et al. 2022, appendix), `n_gram_entropy` of kmeng01/rome.

    words("Ada's well-known city.")        # ["Ada", "'s", "well-known", "city", "."]
    fluency(["a b a b", "a b c d"])        # a repeating text has less entropy
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from editors.requests import is_cjk
from ledger.evaluation.metrics import mean

WEIGHTS: Final = ((2, 2 / 3), (3, 4 / 3))
_WORD: Final = re.compile(
    r"n't\b|'(?:s|m|d|re|ve|ll)\b|\d+(?:[.,]\d+)+|\w+?(?=n't\b)|\w+(?:-\w+)*|[^\w\s]"
)


def words(text: str) -> list[str]:
    """The words and marks of a text, in order."""
    spaced = "".join(f" {char} " if is_cjk(char) else char for char in text)
    return _WORD.findall(spaced)


def n_gram_entropy(tokens: Sequence[str], n: int) -> float:
    """Shannon entropy, in bits, of the n-grams' frequencies; 0 of a text shorter than n."""
    grams = Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))
    total = sum(grams.values())
    return -sum(c / total * math.log2(c / total) for c in grams.values()) + 0.0


def fluency(texts: Iterable[str]) -> float | None:
    """Mean over texts of (2/3 H2 + 4/3 H3) / 2, in bits; tables show it times 100."""
    return mean(
        sum(weight * n_gram_entropy(tokens, n) for n, weight in WEIGHTS) / len(WEIGHTS)
        for tokens in map(words, texts)
    )
