"""Conflicts of a rebase. Pure: requests and answers in, disputes out.

Promise: nothing is decided here; each dispute names the facts by their source edits.

Rules: a premise is disputed where the edit named the answer it replaces and the new base gives
neither that one nor the new one; two facts contradict each other where the prompt of one is the
prompt or a paraphrase of the other and their targets differ.

    disputes([RebaseRow(3, "recomputed", request, said=" Oslo")])
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations

from ledger.evaluation.metrics import answers_with, normalise
from ledger.rebasing.views import Dispute, RebaseRow


def disputes(rows: Sequence[RebaseRow]) -> tuple[Dispute, ...]:
    """All of them: premises in the order of the rows, then contradictions."""
    return (*_premises(rows), *_contradictions(rows))


def _premises(rows: Sequence[RebaseRow]) -> Iterator[Dispute]:
    for row in rows:
        expected = [row.request.get("target_true"), row.request["target_new"]]
        if expected[0] is None or any(answers_with(row.said, text) for text in expected):
            continue
        yield Dispute(
            "premise",
            (row.source,),
            f"{_asked(row)}: the new base says {row.said.strip()!r:.80}, the edit put "
            f"{expected[1]!r:.80} in the place of {expected[0]!r:.80}",
        )


def _contradictions(rows: Sequence[RebaseRow]) -> Iterator[Dispute]:
    about: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        for text in {normalise(t) for t in (_asked(row), *row.request["paraphrases"])}:
            about[text].append(place)
    own = [normalise(_asked(row)) for row in rows]
    seen: set[tuple[int, int]] = set()
    for text, places in about.items():
        for one, two in combinations(places, 2):
            if (one, two) not in seen and text in (own[one], own[two]):
                seen.add((one, two))
                yield from _pair(rows[one], rows[two])


def _pair(one: RebaseRow, two: RebaseRow) -> Iterator[Dispute]:
    left, right = (str(row.request["target_new"]) for row in (one, two))
    if normalise(left) != normalise(right):
        yield Dispute(
            "contradiction",
            (one.source, two.source),
            f"{_asked(one)} {left!r:.80} and {_asked(two)} {right!r:.80} answer one question",
        )


def _asked(row: RebaseRow) -> str:
    return str(row.request["prompt"]).replace("{}", str(row.request["subject"]))
