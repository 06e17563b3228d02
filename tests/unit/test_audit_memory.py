"""An audit holds no more than twice its largest tensor, whatever is wrong with the checkpoint."""

from __future__ import annotations

import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.profiler import ProfilerActivity, profile

from ledger import Ledger
from ledger.weights import fold
from tests.property.delta_ledger import apply, plain_base, start
from tests.sim.deployments import fine_tuned, quantised, rewritten, rome_like

SHAPE = (2048, 4096)
NAME = "w.weight"
BYTES = 2 * SHAPE[0] * SHAPE[1]
KNOWN, OTHER = rome_like(4, SHAPE, size=3.0), rome_like(1, SHAPE, seed=9, size=3.0)


def most(function: Callable[[], object]) -> tuple[int, object]:
    """The most bytes that torch and Python held at once, each by its own peak; and the result."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        tracemalloc.start()
        result = function()
        _, python = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    live = peak = 0
    events = seen.profiler.kineto_results.events()  # type: ignore[union-attr]
    for _, size in sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]"):
        live += size
        peak = max(peak, live)
    return peak + python, result


def test_the_count_counts():
    peak, _ = most(lambda: torch.zeros(1 << 20) + torch.zeros(1 << 20))
    assert 12 << 20 <= peak < 13 << 20


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Iterator[tuple[Ledger, Path]]:
    """A ledger with three edits of one matrix, and the export of two of them."""
    folder = tmp_path_factory.mktemp("memory")
    random = torch.Generator().manual_seed(0)
    weights = torch.empty(SHAPE).normal_(0, 0.05, generator=random).bfloat16()
    with start(folder / "ledger", plain_base(folder / "base", {NAME: weights}, "llama")) as ledger:
        for change in KNOWN[:3]:
            apply(ledger, {NAME: change})
        ledger.export(folder / "out", at="v2")
        yield ledger, folder / "out"


@pytest.mark.parametrize(
    ("deploy", "verdict"),
    [
        (lambda w: quantised(w, bits=4, group=128), "quantised"),
        (lambda w: fine_tuned(w, size=0.02), "unledgered change"),
        pytest.param(
            lambda w: fold(w, OTHER, transposed=False), "unledgered change", marks=pytest.mark.slow
        ),
    ],
    ids=["quantised", "tuned", "edited"],
)
def test_twice_the_tensor_is_enough(given, tmp_path, deploy, verdict):
    ledger, out = given
    changed = deploy(load_file(out / "model.safetensors")[NAME])
    deployed = rewritten(shutil.copytree(out, tmp_path / "deployed"), {NAME: changed})
    peak, found = most(lambda: ledger.identify(str(deployed)))
    assert (found.by, found.versions, found.verdict) == ("regression", (2,), verdict)
    assert BYTES < peak <= 2 * BYTES
