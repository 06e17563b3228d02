"""One row per measurement, and the table of all of them as Markdown.

row = Row("fold", "one component", 4.8, "ms", "copy of the tensor", 4.5, goal=1.0)
row.ratio, row.met              # 1.07, False
print(rendered([row]))
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

HEAD = ("what", "measured", "beside", "which takes", "ratio", "goal", "")


@dataclass(frozen=True)
class Row:
    """A measurement and its peer, both in `unit`. `goal` bounds their ratio, `limit` the value."""

    section: str
    what: str
    value: float
    unit: str
    peer: str
    peer_value: float
    goal: float | None = None
    limit: float | None = None

    def __post_init__(self) -> None:
        if self.value < 0 or self.peer_value <= 0:
            raise ValueError(f"{self.what}: {self.value} beside {self.peer_value} is no ratio")

    @property
    def ratio(self) -> float:
        """The measurement over its peer."""
        return self.value / self.peer_value

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None if there is none."""
        if self.goal is None and self.limit is None:
            return None
        within_goal = self.goal is None or self.ratio <= self.goal
        return within_goal and (self.limit is None or self.value <= self.limit)

    def cells(self) -> tuple[str, ...]:
        """What the table shows."""
        goals = [] if self.goal is None else [f"<= {self.goal:g}x"]
        goals += [] if self.limit is None else [f"<= {self.limit:g} {self.unit}"]
        word = {True: "met", False: "missed", None: ""}[self.met]
        return (
            f"{self.section}: {self.what}",
            f"{number(self.value)} {self.unit}",
            self.peer,
            f"{number(self.peer_value)} {self.unit}",
            f"{number(self.ratio)}x",
            ", ".join(goals),
            word,
        )


def number(value: float) -> str:
    """Three digits that count: 0.00123, 12.3, 1234."""
    if value == 0 or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:#.3g}".rstrip(".")


def rendered(rows: Iterable[Row]) -> str:
    """A Markdown table with aligned columns."""
    lines = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    texts = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    ]
    return "\n".join([texts[0], rule, *texts[1:]])
