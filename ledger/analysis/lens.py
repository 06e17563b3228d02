"""`kel lens`: what each layer of one or several versions would say.

Promise: of every version, each layer's top token and the probability and rank of watched words.

Rules: a word is watched by its first token after the prompt; without words, what the first version
says in the end is watched. `gap` is the top token's probability less the word's.

    analysis = lens(workspace, "Ada was born in", ["London", "Paris"], [0, 1])
    content(analysis)["readings"][1]["words"][0]["rank"]        # per layer, 1 is first
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from editors.analysis.lens import Reading, read, shown, top_tokens
from editors.prompts import target_row
from editors.requests import Probe
from ledger.analysis.kept import Analysis
from ledger.errors import InvalidInput
from ledger.workspace import Workspace


def lens(
    workspace: Workspace, prompt: str, words: Sequence[str], versions: Sequence[int]
) -> Analysis:
    """Read the lens of a prompt in some versions. Raises: InvalidInput, InvalidRequest."""
    if not versions:
        raise InvalidInput("there is no version to look at")
    asked = [Probe(prompt, word) for word in words] or [Probe(prompt)]
    found: list[Reading] = []
    tokens: list[list[str]] = []
    watched: list[int] = []
    try:
        for version in versions:
            workspace.at(version)
            model = workspace.live.model
            if not watched:
                labels = [target_row(model, prompt, p.answer).labels[0] for p in asked if p.answer]
                watched = labels or [top_tokens(model, prompt)[-1]]
            found += read(model, [prompt], [watched])
            tokens.append([shown(model, token) for token in found[-1].tokens])
        names = [shown(workspace.live.model, token) for token in watched]
    finally:
        workspace.rest()
    return Analysis(
        kind="lens",
        versions=tuple(versions),
        settings={},
        texts={
            "prompt": prompt,
            "words": [probe.answer for probe in asked] if words else names,
            "watched": names,
            "tokens": tokens,
        },
        arrays={
            "chance": np.array([reading.chances for reading in found], dtype=np.float64),
            "watched": np.array([reading.watched for reading in found], dtype=np.float64),
            "rank": np.array([reading.ranks for reading in found], dtype=np.float64),
        },
    )


def content(analysis: Analysis) -> dict[str, Any]:
    """One reading a version, in their order."""
    texts, arrays = analysis.texts, analysis.arrays
    return {
        "prompt": texts["prompt"],
        "readings": [
            {
                "version": version,
                "tokens": list(texts["tokens"][i]),
                "chance": arrays["chance"][i].tolist(),
                "words": [
                    {
                        "word": word,
                        "token": token,
                        "chance": arrays["watched"][i, j].tolist(),
                        "rank": [int(rank) for rank in arrays["rank"][i, j]],
                        "gap": (arrays["chance"][i] - arrays["watched"][i, j]).tolist(),
                    }
                    for j, (word, token) in enumerate(
                        zip(texts["words"], texts["watched"], strict=True)
                    )
                ],
            }
            for i, version in enumerate(analysis.versions)
        ],
    }
