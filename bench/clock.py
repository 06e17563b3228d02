"""Timing in turns, so that a busy moment of the machine falls on a measurement and its peer alike.

ours, theirs = in_turns([lambda: fold(...), lambda: target.copy_(source)], repeats=7)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median

Work = Callable[[], object]


def in_turns(works: Sequence[Work], repeats: int, tidy: Work = lambda: None) -> list[float]:
    """Median seconds of each, after one round that does not count; `tidy` runs after each call."""
    rounds = [[seconds(work, tidy) for work in works] for _ in range(repeats + 1)]
    return [median(times) for times in zip(*rounds[1:], strict=True)]


def seconds(work: Work, tidy: Work = lambda: None) -> float:
    """How long one call takes, `tidy` not counted."""
    start = time.perf_counter()
    work()
    taken = time.perf_counter() - start
    tidy()
    return taken
