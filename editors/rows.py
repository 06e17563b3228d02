"""The token rows of the value optimisation: what is predicted, what is kept, where it is moved.

Promise: every place is found once, by character offsets, and a batch of several wishes is only
their rows one below the other, aligned at their subjects' last tokens.
Rules: rows of a wish are facts x templates, then the essence row "{} is a", scored at the subject,
then the kept texts; within a wish the weights of the labels sum to one, each fact, template and
token counting alike.

    rows = wish_rows(model, Wish((request,)), templates)
    batch = stack([rows, others], [0, 1], whole=False, device=model.device)
    batch.scored, batch.subjects        # flat places of the rows from their subjects on
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from editors.continuing import Cut
from editors.errors import InvalidRequest
from editors.model import EditableModel
from editors.prompts import Filled, encode, fill, fill_subject, subject_position, target_row
from editors.requests import Fact

ESSENCE = "{} is a"

Place = tuple[int, int]


@dataclass(frozen=True)
class Kept:
    """A text about the subject whose next-token distribution is to stay.

    `at_subject`: the distribution after the subject's last token, else the one after the text.
    """

    filled: Filled
    at_subject: bool = False


@dataclass(frozen=True)
class Wish:
    """What one value must achieve: every fact said, every kept distribution as it was.

    The facts are about one subject. `kept` adds to the essence row "{} is a".
    """

    facts: tuple[Fact, ...]
    kept: tuple[Kept, ...] = ()

    def __post_init__(self) -> None:
        if len({fact.subject for fact in self.facts}) != 1:
            raise InvalidRequest("one value serves facts about one subject: give each its own")


@dataclass(frozen=True)
class WishRows:
    """Rows of one wish. `subjects`: one position per row; `scored`, `kept`: (row, position)."""

    ids: tuple[tuple[int, ...], ...]
    subjects: tuple[int, ...]
    scored: tuple[Place, ...]
    kept: tuple[Place, ...]
    labels: tuple[int, ...]
    weights: tuple[float, ...]
    target: str

    @property
    def tail(self) -> int:
        """Tokens from the subject on, of the row that has most."""
        return max(len(ids) - place for ids, place in zip(self.ids, self.subjects, strict=True))


@dataclass(frozen=True, eq=False)
class RowBatch:
    """Rows of b wishes, whole or from their subjects on. `subjects` [rows] and `scored` [s] are
    flat places of the aligned tails; `owners` [rows] is the wish of a row; `firsts` [b] the
    subject's place in each wish's first row; `parts` per wish (labels, weights, indices into
    `scored` of the labels, and of the kept rows)."""

    cuts: tuple[Cut, ...]
    subjects: Tensor
    owners: Tensor
    firsts: Tensor
    scored: Tensor
    parts: tuple[tuple[Tensor, Tensor, slice, slice], ...]


def wish_rows(model: EditableModel, wish: Wish, templates: Sequence[str]) -> WishRows:
    """The rows of a wish in every context template.

    Raises: InvalidRequest where the tokenizer leaves the subject or the target no token.
    """
    filled = [(fact, fill(fact, template)) for fact in wish.facts for template in templates]
    rows = [target_row(model, f.text, fact.target_new, subject=f.subject) for fact, f in filled]
    essence = Kept(fill_subject(wish.facts[0].subject, ESSENCE), at_subject=True)
    held = [_kept_row(model, item) for item in (essence, *wish.kept)]
    return WishRows(
        ids=(*(row.ids for row in rows), *(ids for ids, _ in held)),
        subjects=(*(row.subject or 0 for row in rows), *(place for _, place in held)),
        scored=tuple((i, place) for i, row in enumerate(rows) for place in row.positions),
        kept=tuple((len(rows) + i, len(ids) - 1) for i, (ids, _) in enumerate(held)),
        labels=tuple(label for row in rows for label in row.labels),
        weights=tuple(1 / (len(rows) * len(row.labels)) for row in rows for _ in row.labels),
        target=" / ".join(fact.target_new for fact in wish.facts),
    )


def stack(
    wishes: Sequence[WishRows], chosen: Sequence[int], *, whole: bool, device: torch.device
) -> RowBatch:
    """The rows of the chosen wishes, of all that were captured one below the other."""
    starts = [0, *accumulate(len(wish.ids) for wish in wishes)]
    cuts: list[Cut] = []
    scored, owners, firsts = [], [], []
    for owner, wish in ((owner, wishes[i]) for owner, i in enumerate(chosen)):
        firsts.append(len(cuts))
        scored += [(len(cuts) + row, position) for row, position in (*wish.scored, *wish.kept)]
        owners += [owner] * len(wish.ids)
        cuts += [
            Cut(starts[chosen[owner]] + row, 0 if whole else subject, len(ids))
            for row, (ids, subject) in enumerate(zip(wish.ids, wish.subjects, strict=True))
        ]
    width = max(cut.end - cut.begin for cut in cuts)

    def flat(places: Sequence[Place]) -> Tensor:
        found = [row * width + position - cuts[row].begin for row, position in places]
        return torch.tensor(found, device=device)

    positions = [position for i in chosen for position in wishes[i].subjects]
    subjects = flat(list(enumerate(positions)))
    return RowBatch(
        cuts=tuple(cuts),
        subjects=subjects,
        owners=torch.tensor(owners, device=device),
        firsts=subjects[firsts],
        scored=flat(scored),
        parts=_parts([wishes[i] for i in chosen], device),
    )


def _parts(
    wishes: Sequence[WishRows], device: torch.device
) -> tuple[tuple[Tensor, Tensor, slice, slice], ...]:
    ends = [0]
    for wish in wishes:
        ends += [ends[-1] + len(wish.scored), ends[-1] + len(wish.scored) + len(wish.kept)]
    spans = [slice(a, b) for a, b in pairwise(ends)]
    return tuple(
        (
            torch.tensor(wish.labels, device=device),
            torch.tensor(wish.weights, dtype=torch.float32, device=device),
            spans[2 * i],
            spans[2 * i + 1],
        )
        for i, wish in enumerate(wishes)
    )


def _kept_row(model: EditableModel, kept: Kept) -> tuple[tuple[int, ...], int]:
    """Token ids up to the scored position, and the subject's position."""
    encoded = encode(model, kept.filled.text)
    place = subject_position(encoded, kept.filled.subject)
    return encoded.ids[: place + 1] if kept.at_subject else encoded.ids, place
