"""Token rows of different lengths as one rectangle.

Promise: the mask says which places are tokens; nothing is inferred from the padding token's id; a
row that the model has no positions for is refused.

    batch = pad_rows([(0, 5, 6), (0, 7)], fill=1, side="right", device=torch.device("cpu"))
    batch.mask.tolist()             # [[1, 1, 1], [1, 1, 0]]
    batch.flat(1, 1)                # 4: row 1, position 1 of [2, 3]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from editors.errors import InvalidRequest

Side: TypeAlias = Literal["left", "right"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Padded token rows. Shapes: ids [n, t] int64, mask [n, t] int64 (1 = token, 0 = padding)."""

    ids: Tensor
    mask: Tensor

    def flat(self, row: int, position: int) -> int:
        """Index of a right-padded row's position in the flattened [n * t] order."""
        return row * self.ids.shape[1] + position


def context_of(config: Any) -> int | None:
    """How many positions a model has; None if its configuration does not tell."""
    found = getattr(config, "max_position_embeddings", None)
    return found if isinstance(found, int) and found > 0 else None


def pad_rows(
    rows: Sequence[Sequence[int]],
    *,
    fill: int,
    side: Side,
    device: torch.device,
    limit: int | None = None,
) -> Batch:
    """Rows filled up on one side to the length of the longest.

    Raises: InvalidRequest if that is longer than `limit`.
    """
    width = max(len(row) for row in rows)
    if limit is not None and width > limit:
        raise InvalidRequest(
            f"a text of {width} tokens, its answer included, does not fit the model's context of "
            f"{limit}: shorten it"
        )
    ids, mask = [], []
    for row in rows:
        gap = width - len(row)
        left, right = (gap, 0) if side == "left" else (0, gap)
        ids.append([fill] * left + list(row) + [fill] * right)
        mask.append([0] * left + [1] * len(row) + [0] * right)
    return Batch(*(torch.tensor(x, dtype=torch.int64, device=device) for x in (ids, mask)))
