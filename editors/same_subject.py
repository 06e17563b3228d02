"""The same-subject probes of a request as material for an edit: constraints and kept texts.

Promise: only probes that name the subject can be used, since an edit acts at its last token; the
others are reported, never dropped in silence.

    found = same_subject(request, "rome-sup")
    found.facts[0].prompt, found.facts[0].target_new       # the probe's template and gold answer
    found.skipped                                          # probes that do not name the subject
"""

from __future__ import annotations

from dataclasses import dataclass

from editors.errors import InvalidRequest
from editors.prompts import Filled, fill_subject
from editors.requests import EditRequest, Fact, as_template


@dataclass(frozen=True)
class SameSubject:
    """`texts`: all usable probes, filled; `facts`: those with a gold answer; `skipped`: the rest,
    as prompts."""

    texts: tuple[Filled, ...]
    facts: tuple[Fact, ...]
    skipped: tuple[str, ...]


def same_subject(request: EditRequest, method: str) -> SameSubject:
    """What the request's same-subject probes give. Raises InvalidRequest if that is nothing."""
    texts, facts, skipped = [], [], []
    for probe in request.same_subject:
        try:
            template = as_template(probe.prompt, request.subject)
        except InvalidRequest:
            skipped.append(probe.prompt)
            continue
        texts.append(fill_subject(request.subject, template))
        if probe.answer is not None:
            facts.append(Fact(request.subject, template, probe.answer))
    if not texts:
        raise InvalidRequest(
            f"{method} needs same-subject probes whose prompt names {request.subject!r} once: "
            "give some with the request, or use rome"
        )
    return SameSubject(tuple(texts), tuple(facts), tuple(skipped))
