"""A live model shows the fold of its version, however it got there and whatever failed on the way.

Linear and Conv1D layouts (square too, where the shape does not tell), three stored dtypes, and
models that compute in the checkpoint's dtype or in another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ledger.live
from editors.delta import Dense
from editors.model import EditableModel
from ledger import Ledger
from ledger.chain import weights_digest
from ledger.errors import IntegrityFailure, InvalidInput
from ledger.versions import Versions
from ledger.weights import Accumulator
from tests.contract.tiny import tiny_gpt2, tiny_gpt2_square, tiny_llama
from tests.property import fold_by_hand as hand
from tests.property.delta_ledger import apply, random_update, start, wanted

pytestmark = pytest.mark.promise("P3")

KINDS = {
    "llama-bf16": (tiny_llama, torch.bfloat16, "bfloat16"),
    "llama-f32-in-bf16": (tiny_llama, torch.float32, "bfloat16"),
    "gpt2-f16": (tiny_gpt2, torch.float16, "float16"),
    "gpt2-square-bf16-in-f32": (tiny_gpt2_square, torch.bfloat16, "float32"),
}
VERSIONS = 8


class Failure(Exception):
    """What is injected."""


@dataclass(frozen=True)
class Known:
    """A ledger of eight versions on two layers; `shown` is what its live model must hold."""

    ledger: Ledger
    base: Path
    names: tuple[str, str]
    shown: dict[tuple[int, str], hand.Bits]

    @classmethod
    def of(cls, ledger: Ledger, base: Path, *names: str) -> Known:
        checkpoint = ledger.workspace.versions.checkpoint
        dtype = ledger.workspace.live.model.dtype
        shown = {}
        for version in range(ledger.journal.history().head + 1):
            for name in names:
                bits = wanted(ledger, name, ledger.journal.history().active(version))
                single = hand.widen(bits, checkpoint.entry(name).dtype).astype(np.float32)
                shown[version, name] = hand.bits_of(torch.from_numpy(single).to(dtype))
        return cls(ledger, base, (names[0], names[1]), shown)

    def show(self, version: int) -> None:
        versions = self.ledger.workspace.versions
        plan = versions.plan(self.ledger.journal.history().active(version))
        digests = self.ledger.workspace.live.show(plan)
        assert digests == dict(self.ledger.journal.entry_of(version).tensors)

    def check(self, version: int) -> None:
        """The live model has the bits of the fold by hand, as its own dtype shows them."""
        for name in self.names:
            live = self.ledger.workspace.live.model.weight(name)
            stored = live.T if self.ledger.workspace.versions.transposed else live
            assert np.array_equal(hand.bits_of(stored), self.shown[version, name]), (version, name)


@pytest.fixture(params=sorted(KINDS), scope="module")
def known(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Known]:
    folder = tmp_path_factory.mktemp(request.param)
    build, dtype, compute = KINDS[request.param]
    tiny = build(folder / "base", dtype=dtype)
    first, second = tiny.parameter_name(0), tiny.parameter_name(1)
    shape = tuple(tiny.weight(first).shape)
    with start(folder / "ledger", folder / "base", dtype=compute) as made:
        apply(made, {first: random_update(1, shape)})
        apply(made, {first: random_update(2, shape, rank=2), second: random_update(3, shape)})
        apply(made, {second: random_update(4, shape, rank=3, scale=1e-3)}, facts=3)
        made.revert(["2"])
        apply(made, {first: Dense(torch.full(shape, 0.37))})
        made.reapply(["2"])
        made.revert(["1", "4"])
        made.revert(["2", "3", "5", "6"])
        yield Known.of(made, folder / "base", first, second)


def test_back_and_forth_over_the_versions(known):
    rng = np.random.default_rng(0)
    for version in (0, VERSIONS, *map(int, rng.integers(0, VERSIONS + 1, 25)), 0):
        known.show(version)
        known.check(version)


def test_the_recorded_digests_are_those_of_the_fold_by_hand(known):
    made, names = known.ledger, known.names
    base = made.workspace.record.base_digest
    for version in range(VERSIONS + 1):
        active, entry = made.journal.history().active(version), made.journal.entry_of(version)
        touched = made.workspace.versions.plan(active)
        stored = {n: made.workspace.versions.checkpoint.entry(n).dtype for n in names}
        digests = {n: hand.digest(wanted(made, n, active), stored[n]) for n in touched}
        assert dict(entry.tensors) == digests
        assert entry.weights_digest == weights_digest(base, digests)
    never, after = made.journal.entry_of(0), made.journal.entry_of(VERSIONS)
    assert (after.weights_digest, dict(after.tensors)) == (never.weights_digest, {})


def test_with_nothing_active_the_model_is_the_base_again(known):
    made = known.ledger
    known.show(6)
    known.show(VERSIONS)
    compute = made.workspace.record.config["compute_dtype"]
    fresh = EditableModel.load(known.base, dtype=compute).model.state_dict()
    for name, tensor in made.workspace.live.model.model.state_dict().items():
        assert np.array_equal(hand.bits_of(tensor), hand.bits_of(fresh[name])), name


def half_written(call: Callable[..., Any]) -> Callable[..., Any]:
    """`set_weight_` that is cut short in the middle of the matrix."""

    def cut(model: EditableModel, parameter: str, weight: torch.Tensor) -> None:
        half = weight.clone()
        half[weight.shape[0] // 2 :] = 7.0
        call(model, parameter, half)
        raise Failure

    return cut


def after(call: Callable[..., Any]) -> Callable[..., Any]:
    def late(*args: Any, **options: Any) -> None:
        call(*args, **options)
        raise Failure

    return late


def before(_call: Callable[..., Any]) -> Callable[..., Any]:
    def early(*_args: Any, **_options: Any) -> None:
        raise Failure

    return early


SEAMS = {
    "half written": (EditableModel, "set_weight_", half_written),
    "written": (EditableModel, "set_weight_", after),
    "base read": (Versions, "base", before),
    "added": (Accumulator, "add", after),
    "summed": (Accumulator, "weights", before),
    "hashed": (ledger.live, "digest", before),
}


@pytest.mark.parametrize("seam", sorted(SEAMS))
def test_a_failure_in_the_middle_leaves_nothing_behind(known, seam, monkeypatch):
    """The k-th passage of the seam fails, for every k until a walk passes without failing."""
    walk = [1, 3, 2, 6, 8]
    failures = 0
    while failures < 60:
        failed = failing_walk(known, walk, SEAMS[seam], failures, monkeypatch)
        known.show(0)
        known.check(0)
        if not failed:
            break
        failures += 1
    assert 2 <= failures < 60


def failing_walk(known: Known, walk: list[int], seam: Any, at: int, monkeypatch: Any) -> bool:
    """Show the versions of `walk`; passage number `at` fails, and is tried again after another."""
    owner, name, breaking = seam
    original, passages = getattr(owner, name), 0

    def counted(*args: Any, **options: Any) -> Any:
        nonlocal passages
        passages += 1
        call = breaking(original) if passages - 1 == at else original
        return call(*args, **options)

    failed = False
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, counted)
        for version in walk:
            try:
                known.show(version)
            except Failure:
                failed = True
                elsewhere = 0 if at % 2 else version
                known.show(elsewhere)
                known.check(elsewhere)
                known.show(version)
            known.check(version)
    return failed


def test_an_update_too_large_leaves_the_model_where_it_was(known):
    made, first = known.ledger, known.names[0]
    known.show(6)
    shape = tuple(made.workspace.live.model.weight(first).shape)
    huge = random_update(9, shape, scale=1e37)
    plan = {**made.workspace.versions.plan(()), first: (huge,) * 200}
    with pytest.raises(InvalidInput, match="leave the range"):
        made.workspace.live.show(plan)
    known.show(6)
    known.check(6)


def test_weights_that_are_not_what_was_written_are_noticed(tmp_path, monkeypatch):
    tiny = tiny_llama(tmp_path / "base", dtype=torch.bfloat16)
    name = tiny.parameter_name(0)
    with start(tmp_path / "ledger", tmp_path / "base", dtype="bfloat16") as made:
        apply(made, {name: random_update(1, tuple(tiny.weight(name).shape))})
        original = EditableModel.set_weight_

        def flipped(model: EditableModel, parameter: str, weight: torch.Tensor) -> None:
            damaged = weight.clone()
            damaged[3, 5] = -damaged[3, 5]
            original(model, parameter, damaged)

        with monkeypatch.context() as patch:
            patch.setattr(EditableModel, "set_weight_", flipped)
            with pytest.raises(IntegrityFailure, match="not what was folded"):
                made.workspace.at(1)
        made.workspace.at(1)
        Known.of(made, tmp_path / "base", name, tiny.parameter_name(1)).check(1)
