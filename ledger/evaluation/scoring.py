"""Asking a model: teacher-forced tokens and free greedy answers, for many questions at once.

Promise: the result does not depend on how questions are grouped into batches beyond the model's
own rounding; a question without a known answer is scored on the model's own greedy answer.

Rules: rows of similar length share a batch; only scored positions pass through the head.

    predict(model, [Question("The capital of France is", "Paris")])[0].argmax
    surprises(model, [Question("The capital of France is", "Paris")])[0]        # 0.2, in nats
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from editors.chat import Frame
from editors.errors import InvalidRequest
from editors.model import EditableModel
from editors.prompts import TargetRow, encode, target_row
from ledger.chain import digest
from ledger.evaluation.metrics import mean

PROTOCOL = "kel.eval/1 teacher-forced argmax; greedy, natural stop, at most {} tokens"
FREE_TOKENS = 16
_BATCH = 64
_NOTHING: Sequence[float] = ()

T = TypeVar("T")


def protocol(frame: Frame | None = None, free_tokens: int = FREE_TOKENS) -> str:
    """The text stored with each number, so that only comparable numbers are compared."""
    asked = "" if frame is None else f"; chat template {digest(frame.to_json())[:12]}"
    return PROTOCOL.format(free_tokens) + asked


@dataclass(frozen=True)
class Question:
    """A prompt and the answer it is scored against (None: the model's own greedy answer)."""

    prompt: str
    answer: str | None = None


@dataclass(frozen=True)
class Prediction:
    """What a model says: `answer` scored, its token ids, the argmax there, the free answer."""

    prompt: str
    answer: str
    gold: tuple[int, ...]
    argmax: tuple[int, ...]
    free: str

    def to_json(self) -> dict[str, Any]:
        """Plain values for storage."""
        return {"gold": list(self.gold), "argmax": list(self.argmax), "free": self.free}

    @classmethod
    def from_json(cls, prompt: str, answer: str, data: Mapping[str, Any]) -> Prediction:
        """Inverse of `to_json`."""
        return cls(prompt, answer, tuple(data["gold"]), tuple(data["argmax"]), str(data["free"]))


def predict(
    model: EditableModel,
    questions: Sequence[Question],
    *,
    free_tokens: int = FREE_TOKENS,
    told: Callable[[int, Prediction], None] = lambda place, found: None,
) -> list[Prediction]:
    """Teacher-forced and free predictions, one per question, in order.

    `told` is called with the place of each as soon as it is scored, the shortest first; one that
    has no answer to be scored is not told.
    """
    free = [_storable(text) for text in model.generate([q.prompt for q in questions], free_tokens)]
    answers = [q.answer or text.strip() for q, text in zip(questions, free, strict=True)]
    rows = [
        target_row(model, q.prompt, answer) if answer else None
        for q, answer in zip(questions, answers, strict=True)
    ]

    def made(place: int, tokens: tuple[int, ...]) -> Prediction:
        row = rows[place]
        gold = row.labels if row else ()
        return Prediction(questions[place].prompt, answers[place], gold, tokens, free[place])

    argmax = _argmax(model, rows, lambda place, tokens: told(place, made(place, tokens)))
    return [made(place, tokens) for place, tokens in enumerate(argmax)]


def surprises(model: EditableModel, questions: Sequence[Question]) -> list[float]:
    """Mean of -log p over the tokens of each answer, teacher-forced, in nats, in order.

    Raises: ValueError for a question without an answer; InvalidRequest for an answer without token.
    Source: kmeng01/rome, whose scores on CounterFact compare it between two answers.
    """
    if not all(q.answer for q in questions):
        raise ValueError("a question without an answer has no probability")
    rows = [target_row(model, q.prompt, q.answer or "") for q in questions]

    return [mean(found) or 0.0 for found in _per_row(model, rows, _surprises, nothing=_NOTHING)]


def predict_each(
    model: EditableModel, questions: Iterable[Question], *, free_tokens: int = FREE_TOKENS
) -> dict[Question, Prediction]:
    """As `predict`, each question once, all together."""
    chosen = list(dict.fromkeys(questions))
    return dict(zip(chosen, predict(model, chosen, free_tokens=free_tokens), strict=True))


def text_surprises(model: EditableModel, text: str, max_tokens: int = 1024) -> list[float]:
    """-log p of every token of a text but the first, in nats; a longer text is cut.

    Raises: InvalidRequest for a text of less than two tokens.
    """
    ids = encode(model, text).ids[:max_tokens]
    if len(ids) < 2:
        raise InvalidRequest(f"the text {text!r} has no token that is predicted: lengthen it")
    row = TargetRow(ids[:-1], ids[1:], 1, None)

    return list(_per_row(model, [row], _surprises, nothing=_NOTHING)[0])


def next_logits(model: EditableModel, prompts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Logits of the token after each prompt, for `divergence`. Shape: [n, V]."""
    ids = [encode(model, prompt).ids for prompt in prompts]
    rows = [TargetRow(row, (0,), len(row), None) for row in ids]
    read = _per_row(model, rows, lambda logits, _: logits[0].float().cpu(), nothing=torch.empty(0))
    found: npt.NDArray[np.float32] = torch.stack(read).numpy()
    return found


def _surprises(logits: Tensor, labels: Sequence[int]) -> Sequence[float]:
    """-log p of the labels [s] under the logits [s, V]."""
    logp = logits.float().log_softmax(dim=-1)
    picked = logp.gather(1, torch.tensor(labels, device=logp.device)[:, None])
    return [-value for value in picked[:, 0].double().tolist()]


def _storable(text: str) -> str:
    """A generated text without NUL, which a byte-level model can say and no database can hold."""
    return text.replace("\0", "\ufffd")


def _argmax(
    model: EditableModel,
    rows: Sequence[TargetRow | None],
    told: Callable[[int, tuple[int, ...]], None],
) -> list[tuple[int, ...]]:
    """The argmax token at each scored position of each row; () where there is nothing to score."""

    def read(logits: Tensor, _: Sequence[int]) -> tuple[int, ...]:
        return tuple(logits.argmax(-1).tolist())

    return _per_row(model, rows, read, nothing=(), told=told)


@torch.no_grad()
def _per_row(
    model: EditableModel,
    rows: Sequence[TargetRow | None],
    read: Callable[[Tensor, Sequence[int]], T],
    nothing: T,
    told: Callable[[int, T], None] = lambda place, found: None,
) -> list[T]:
    """What `read` makes of each row's logits [s, V] at its scored positions and its labels [s]."""
    found = [nothing for _ in rows]
    order = sorted((i for i, r in enumerate(rows) if r), key=lambda i: len(_row(rows, i).ids))
    with model.evaluating():
        for start in range(0, len(order), _BATCH):
            chosen = order[start : start + _BATCH]
            batch = model.batch([_row(rows, i).ids for i in chosen])
            at = [batch.flat(n, p) for n, i in enumerate(chosen) for p in _row(rows, i).positions]
            logits = model.forward(batch, at=torch.tensor(at, device=batch.ids.device))
            labels = [_row(rows, i).labels for i in chosen]
            parts = logits.split_with_sizes([len(gold) for gold in labels])
            for i, own, gold in zip(chosen, parts, labels, strict=True):
                found[i] = read(own, gold)
                told(i, found[i])
    return found


def _row(rows: Sequence[TargetRow | None], index: int) -> TargetRow:
    row = rows[index]
    if row is None:
        raise LookupError(f"row {index} has nothing to score")
    return row
