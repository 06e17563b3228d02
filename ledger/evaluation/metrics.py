"""Metrics as pure functions of predictions.

Promise: no model, no I/O; each definition is one function, named for what it is.

- *teacher-forced*: the gold answer is fed in, and at each answer position the argmax is compared
  with the gold token (EasyEdit's `test_prediction_acc`). A wrong token does not spoil the next one,
  and the answer's length is given away.
- *free*: the model answers greedily until it stops by itself; the answer counts if it begins with
  the target, at a word boundary, after case and spacing are normalised.
- *locality* is agreement with the unedited model, not correctness: teacher-forced argmax tokens
  that are the same before and after, and (free) greedy answers that are the same text.
- *preference* compares two answers by the mean of -log p over their tokens (CounterFact): ES and PS
  are `preferred` of (new, true) on the edit's prompt and its paraphrases, NS of (true, new) on its
  neighbours; EM, PM and NM are `margin` of the same pairs; S is `harmonic` of ES, PS and NS.
- *drift* is how far distributions, texts and weights moved: `divergence`, `perplexity`, and the
  norm of the update over that of the matrix, which `editors.delta` computes with every edit.

Formulas, sources and which numbers were compared with the published code: docs/evaluation.md.

    token_accuracy((5, 7), (5, 9))        # 0.5
    answers_with(" Paris, of course", "Paris")   # True
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from editors.requests import is_cjk


def token_accuracy(predicted: Sequence[int], gold: Sequence[int]) -> float:
    """Share of answer positions whose argmax is the gold token (EasyEdit, teacher forcing).

    Raises: ValueError if the lengths differ or are zero.
    """
    if len(predicted) != len(gold) or not gold:
        raise ValueError(f"{len(predicted)} predictions for {len(gold)} gold tokens")
    return sum(p == g for p, g in zip(predicted, gold, strict=True)) / len(gold)


def all_right(predicted: Sequence[int], gold: Sequence[int]) -> float:
    """1 if the argmax is the gold token at every answer position, else 0 (MEMIT's `*_correct`).

    Raises: ValueError if the lengths differ or are zero.
    """
    return float(token_accuracy(predicted, gold) == 1.0)


def exactly(generated: str, target: str) -> bool:
    """Whether a free answer is the target, character by character, but for white space around."""
    return generated.strip() == target.strip()


def normalise(text: str) -> str:
    """Case-folded, compatibility-normalised text with single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def answers_with(generated: str, target: str) -> bool:
    """Whether a free answer begins with the target, ending at a word boundary.

    Chinese and Japanese have no word boundary; there the beginning alone decides.
    """
    answer, wanted = normalise(generated), normalise(target)
    if not wanted or not answer.startswith(wanted):
        return False
    rest = answer[len(wanted) :]
    return not rest or not (rest[0].isalnum() and is_alphabetic(wanted[-1], rest[0]))


def is_alphabetic(left: str, right: str) -> bool:
    """Whether both characters belong to a script that separates words by spaces."""
    return not any(is_cjk(c) for c in (left, right))


def mean(values: Iterable[float]) -> float | None:
    """The arithmetic mean, or None of nothing (a metric without probes has no value)."""
    found = list(values)
    return sum(found) / len(found) if found else None


def preferred(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Share of prompts at which the first answer is the more probable one; a tie is not.

    `pairs`: mean -log p of the wanted and of the other answer, per prompt. None without prompts.
    Source: ES, PS and NS of ROME (Meng et al. 2022).
    """
    return mean(wanted < other for wanted, other in pairs)


def margin(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Mean difference of the two answers' probabilities, each the geometric mean of its tokens'.

    `pairs` as for `preferred`. Source: EM, PM and NM of ROME (Meng et al. 2022).
    """
    return mean(math.exp(-wanted) - math.exp(-other) for wanted, other in pairs)


def harmonic(values: Sequence[float]) -> float | None:
    """The harmonic mean, 0 where any value is 0, None of nothing: S of ES, PS and NS.

    Raises: ValueError for a negative value.
    """
    if not values:
        return None
    if min(values) < 0:
        raise ValueError(f"a share is not negative: {min(values)}")
    return 0.0 if min(values) == 0 else len(values) / sum(1 / value for value in values)


def means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of every number over the rows that have it, by name."""
    names = sorted({name for row in rows for name in row})
    found = {name: mean(row[name] for row in rows if name in row) for name in names}
    return {name: value for name, value in found.items() if value is not None}


class Retention(NamedTuple):
    """Of edits that were made, on the final weights: mean reliability, and the share that holds."""

    reliability: float
    held: float


def retention(reliabilities: Sequence[float]) -> Retention | None:
    """What is left of some edits; one holds while all its tokens are right. None of no edits."""
    reliability = mean(reliabilities)
    held = mean(value == 1.0 for value in reliabilities)
    return None if reliability is None or held is None else Retention(reliability, held)


def perplexity(surprises: Sequence[float]) -> float | None:
    """exp of the mean of -log p over a text's predicted tokens; None without any.

    The published code of ROME divides by the number of all tokens, the first included, which is
    not predicted: its value is this one to the power (n - 1) / n.
    """
    average = mean(surprises)
    return None if average is None else math.exp(min(average, 700.0))


def divergence(before: npt.NDArray[Any], after: npt.NDArray[Any]) -> list[float]:
    """KL(before || after) in nats, one per row, of logits or log-probabilities. Shapes: [n, V].

    Raises: ValueError if the shapes differ.
    """
    if before.shape != after.shape or before.ndim != 2:
        raise ValueError(f"distributions of shapes {before.shape} and {after.shape}")
    p, q = _log_softmax(before), _log_softmax(after)
    found: list[float] = (np.exp(p) * (p - q)).sum(axis=1).clip(min=0.0).tolist()
    return found


def _log_softmax(logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    x = logits.astype(np.float64)
    x = x - x.max(axis=1, keepdims=True)
    found: npt.NDArray[np.float64] = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
    return found
