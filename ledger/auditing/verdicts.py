"""From coefficients to verdicts: of one change, of an edit over several parameters, of a
checkpoint.

Promise: pure; the limits stand here and nowhere else.

Rules: the interval that is shown holds 95 %; a verdict uses four standard errors, because thousands
of edits are judged at once. An edit is `ambiguous` where that is more than 0.4, so that 0 and 1
cannot be told apart; `present` (`absent`) within 0.1 or four errors of 1 (of 0); else `partial`. A
checkpoint is another base when weights are missing or have another shape, or when most of them are
further from the base than half its size.

    judged(0.998, 0.001).verdict          # 'present'
    combined([judged(1.0, 0.01), judged(0.0, 0.01)]).verdict       # 'partial'
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from ledger.auditing.views import Share, TensorView

NEAR = 0.1
ERRORS = 4.0
_INTERVAL, _TELLING = 1.96, 0.4
_FAR = 0.5


def judged(coefficient: float, error: float) -> Share:
    """A coefficient with its standard error as a share of an edit."""
    bound = _INTERVAL * error if math.isfinite(error) else None
    low = None if bound is None else coefficient - bound
    high = None if bound is None else coefficient + bound
    return Share(coefficient, low, high, _verdict(coefficient, error))


def _verdict(coefficient: float, error: float) -> str:
    reach = ERRORS * error
    if not reach <= _TELLING:
        return "ambiguous"
    for whole, word in ((1.0, "present"), (0.0, "absent")):
        if abs(coefficient - whole) <= max(NEAR, reach):
            return word
    return "partial"


def combined(shares: Sequence[Share]) -> Share:
    """An edit over several parameters: weighted by certainty; there as a whole or not."""
    clear = [share for share in shares if share.verdict != "ambiguous"]
    if not clear:
        return shares[0]
    if len(clear) == 1:
        return clear[0]
    weights = [1.0 / max(_deviation(share), 1e-12) ** 2 for share in clear]
    total = sum(weights)
    mean = sum(w * s.coefficient for w, s in zip(weights, clear, strict=True)) / total
    words = {share.verdict for share in clear}
    bound = _INTERVAL * total**-0.5
    verdict = words.pop() if len(words) == 1 else "partial"
    return Share(mean, mean - bound, mean + bound, verdict)


def _deviation(share: Share) -> float:
    if share.low is None or share.high is None:
        return math.inf
    return (share.high - share.low) / 2 / _INTERVAL


def overall(
    tensors: Sequence[TensorView], total: int, extra: Sequence[str]
) -> tuple[str, tuple[str, ...]]:
    """Verdict of a checkpoint whose `tensors` differ from the base's `total`, and why."""
    by = {state: [t for t in tensors if t.state == state] for state in _STATES}
    strange = [*by["shape"], *by["missing"]]
    untouched = [t.relative for t in tensors if not t.edits] + [0.0] * (total - len(tensors))
    if by["shape"] or len(strange) > total / 10:
        return "different base", tuple(_because(by, ("shape", "missing")))
    if untouched and median(untouched) > _FAR:
        text = f"most weights are further than {_FAR:g} of their size from the base's"
        return "different base", (text,)
    reasons = list(_because(by, ("missing", "structured")))
    if extra:
        reasons.append(f"{len(extra)} tensors that the base does not have, such as {extra[0]}")
    lattice = len(by["lattice"]) + sum(t.levels is not None for t in by["structured"])
    if by["noise"] and len(by["noise"]) > lattice:
        reasons += _because(by, ("noise",))
    if reasons:
        return "unledgered change", tuple(reasons)
    if lattice:
        return "quantised", tuple(_because(by, ("lattice",)))
    return "clean", tuple(_because(by, ("rounding",)))


_STATES = ("exact", "rounding", "structured", "lattice", "noise", "shape", "missing")
_TOLD = {
    "missing": "missing",
    "shape": "of another shape",
    "structured": "with a low-rank change that no edit of the ledger explains",
    "noise": "changed beyond rounding, without structure (fine-tuning, another merge)",
    "lattice": "on the lattice of a quantiser",
    "rounding": "within rounding of what the edits give",
}


def _because(by: dict[str, list[TensorView]], states: Sequence[str]) -> list[str]:
    return [
        f"{len(by[state])} tensor{'s' if len(by[state]) > 1 else ''} {_TOLD[state]}: "
        f"{by[state][0].name}{', ...' if len(by[state]) > 1 else ''}"
        for state in states
        if by[state]
    ]
