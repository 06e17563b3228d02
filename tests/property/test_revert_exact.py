"""Any order of apply, revert and reapply leaves the fold of the active edits, bit for bit.

Ten thousand random histories over three dtypes and two storage layouts, against a second fold in
plain numpy. The same check is run on five wrong ways to undo an edit, which it must catch.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

import numpy as np
import pytest

from ledger.chain import weights_digest
from ledger.weights import digest
from tests.property import fold_by_hand as hand
from tests.property.histories import Case
from tests.property.machines import RIGHT, WRONG

pytestmark = pytest.mark.promise("P3")

HISTORIES = 10_002
KINDS = tuple(product(("F32", "BF16", "F16"), (False, True)))
BASE = "0" * 64


def broken(case: Case, machines: Iterable[type[Any]]) -> str | None:
    """What differs from the fold by hand, at the first step at which something does."""
    base = hand.bits_of(case.base)
    running = [machine(case) for machine in machines]
    for step, active in enumerate(case.steps):
        updates = [case.updates[number] for number in active]
        wanted = hand.fold(base, case.dtype, updates, transposed=case.transposed)
        for machine in running:
            found = machine.show(active)
            if not np.array_equal(hand.bits_of(found), wanted):
                return f"{type(machine).__name__}, step {step}, active {active}"
    return None


@pytest.mark.parametrize(("dtype", "transposed"), KINDS)
def test_weights_are_the_fold_of_the_active_edits_whatever_led_there(dtype, transposed, figure):
    for seed in range(HISTORIES // len(KINDS)):
        case = Case.random(seed, dtype, transposed)
        assert case.steps[-1] == ()
        before = hand.bits_of(case.base)
        assert (broken(case, RIGHT), seed) == (None, seed)
        assert np.array_equal(hand.bits_of(case.base), before), f"seed {seed} changed its base"
    text = "{} histories in three dtypes and two layouts, 0 differing bits"
    figure("P3", text, HISTORIES // len(KINDS))


@pytest.mark.parametrize(("dtype", "transposed"), KINDS)
def test_digests_depend_on_the_active_edits_only(dtype, transposed):
    for seed in range(40):
        case = Case.random(seed, dtype, transposed)
        machines = [machine(case) for machine in RIGHT]
        seen: dict[tuple[int, ...], str] = {(): hand.digest(hand.bits_of(case.base), dtype)}
        for active in case.steps:
            for machine in machines:
                weights = machine.show(active)
                found = digest(weights)
                assert found == hand.digest(hand.bits_of(weights), dtype)
                assert seen.setdefault(active, found) == found


def test_a_version_without_edits_has_the_digest_of_one_that_never_had_any():
    never = weights_digest(BASE, {})
    assert never == weights_digest(BASE, dict.fromkeys((), ""))
    assert never != weights_digest(BASE, {"h.0.w": BASE})


@pytest.mark.promise("P36")
@pytest.mark.parametrize("machine", WRONG)
def test_every_shortcut_is_caught(machine):
    """Guards the tests above: they can fail, and do for each thing that must not be done."""
    caught = [
        broken(Case.random(seed, dtype, transposed), [machine]) is not None
        for dtype, transposed in KINDS
        for seed in range(30)
    ]
    assert any(caught)


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16"])
def test_plain_subtraction_leaves_wrong_bits_in_most_histories(dtype, figure):
    (subtracting, *_) = WRONG
    cases = [Case.random(seed, dtype, False) for seed in range(100)]
    wrong = sum(broken(case, [subtracting]) is not None for case in cases)
    assert wrong > 80
    figure("P3", "subtracting instead is wrong in {} of 300", wrong)
