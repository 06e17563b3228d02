"""Every form of a version says the same of its edits, in every dtype, on both embedded models."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.forms import BASES, DTYPES, distances

# In units of what the edits moved; float16 and bfloat16 round every step of a pass.
MOST = {"float32": 2e-3, "bfloat16": 3e-2, "float16": 3e-3}


@pytest.mark.slow
@pytest.mark.parametrize("model", BASES)
def test_live_merged_and_adapter_agree_on_the_edits_own_prompts(tmp_path: Path, model: str):
    found = distances(tmp_path, model, BASES[model], edits=4)
    assert len(found) == 3 * len(DTYPES)
    for item in found:
        assert item.same == item.asked >= 4, item
        assert item.gap < MOST[str(item.dtype).removeprefix("torch.")] * item.moved, item
