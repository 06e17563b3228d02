"""Timing in turns, so that a busy moment of the machine falls on a measurement and its peer alike.

With KEL_CLOCK=cpu the time is that of the processor, commands that were started and waited for
included, for a machine that others use as well; it is that of a clock only where both sides run on
one thread and wait for nothing.

ours, theirs = in_turns([lambda: fold(...), lambda: target.copy_(source)], repeats=7)
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Sequence
from statistics import median

Work = Callable[[], object]


def _processor() -> float:
    """Seconds of the processor that this process and its children have had."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


_NOW = _processor if os.environ.get("KEL_CLOCK") == "cpu" else time.perf_counter


def in_turns(works: Sequence[Work], repeats: int, tidy: Work = lambda: None) -> list[float]:
    """Median seconds of each, after one round that does not count; `tidy` runs after each call."""
    rounds = [[seconds(work, tidy) for work in works] for _ in range(repeats + 1)]
    return [median(times) for times in zip(*rounds[1:], strict=True)]


def seconds(work: Work, tidy: Work = lambda: None) -> float:
    """How long one call takes, `tidy` not counted."""
    start = _NOW()
    work()
    taken = _NOW() - start
    tidy()
    return taken
