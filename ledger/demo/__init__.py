"""The embedded model: a small Llama that knows a fictional world, shipped with the program.

facts(5)            # subject, relation, prompt, target_true, paraphrases, ...
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from ledger.errors import InvalidInput


def facts(limit: int | None = None) -> list[dict[str, Any]]:
    """The facts the embedded model was trained on, in a fixed order.

    Raises: InvalidInput for a negative limit.
    """
    if limit is not None and limit < 0:
        raise InvalidInput(f"limit is {limit}; it must be 0 or more")
    lines = files("ledger.demo").joinpath("facts.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines[:limit]]
