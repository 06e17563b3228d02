"""Known changes are found in a weight difference at every storage, and unknown ones are seen."""

from __future__ import annotations

import pytest
import torch

from editors.delta import Dense, LowRank
from ledger.auditing.explain import Explained, Tensors, explain
from ledger.auditing.matrices import Difference
from ledger.auditing.regression import System
from ledger.auditing.residual import levels, rounding, spectrum, ulp
from ledger.auditing.verdicts import combined, judged
from ledger.weights import fold
from tests.sim.deployments import base_matrix, fine_tuned, half, quantised, rome_like

pytestmark = pytest.mark.promise("P32")

SHAPE = (96, 256)
KNOWN = rome_like(60, SHAPE)
UNKNOWN = rome_like(1, SHAPE, seed=77)[0]
ON = half(KNOWN)
ACTIVE = [change for change, on in zip(KNOWN, ON, strict=True) if on]
STORED = {
    "bf16": (torch.bfloat16, lambda w: w),
    "fp16": (torch.float16, lambda w: w),
    "fp32": (torch.float32, lambda w: w),
    "int8": (torch.bfloat16, lambda w: quantised(w, bits=8)),
    "int4": (torch.bfloat16, lambda w: quantised(w, bits=4, group=64)),
    "tuned": (torch.bfloat16, lambda w: fine_tuned(w, size=0.05)),
}


def found_in(base: torch.Tensor, deployed: torch.Tensor, changes, transposed=False) -> Explained:
    system = System.of(changes, transposed=transposed)
    return explain(Tensors(base, deployed, system), None)


def verdicts(found: Explained) -> list[str]:
    pairs = zip(found.coefficients.tolist(), found.errors.tolist(), strict=True)
    return [judged(c, e).verdict for c, e in pairs]


def right() -> list[str]:
    return ["present" if on else "absent" for on in ON]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("unledgered", [False, True])
def test_every_verdict_is_right_and_an_unknown_edit_is_seen(stored, unledgered, transposed):
    dtype, deploy = STORED[stored]
    base = base_matrix(SHAPE).to(dtype)
    base = base.T.contiguous() if transposed else base
    updates = [*ACTIVE, UNKNOWN] if unledgered else ACTIVE
    deployed = deploy(fold(base, updates, transposed=transposed))
    found = found_in(base, deployed, KNOWN, transposed)
    assert verdicts(found) == right()
    assert found.shape.spikes == int(unledgered)
    expected = {"int8": "lattice", "int4": "lattice", "tuned": "noise"}.get(stored, "exact")
    assert found.state == ("structured" if unledgered else expected)
    if unledgered:
        change = found.shape.left @ found.shape.right
        wanted = UNKNOWN.u @ UNKNOWN.v
        wanted = wanted.T if transposed else wanted
        assert float((change * wanted).sum() / change.norm() / wanted.norm()) > 0.8


@pytest.mark.parametrize("transposed", [False, True])
def test_a_merge_by_a_product_in_float32_is_within_rounding(transposed):
    base = base_matrix(SHAPE)
    base = base.T.contiguous() if transposed else base
    total = torch.cat([c.u for c in ACTIVE], 1) @ torch.cat([c.v for c in ACTIVE])
    deployed = base + (total.T if transposed else total)
    found = found_in(base, deployed, KNOWN, transposed)
    assert (verdicts(found), found.state) == (right(), "rounding")


@pytest.mark.parametrize("stored", ["bf16", "fp32", "int8", "int4"])
def test_the_intervals_hold_what_they_say(stored):
    dtype, deploy = STORED[stored]
    inside = total = 0
    for seed in range(8):
        known = rome_like(40, SHAPE, seed=seed)
        # Powers of two, so that a scaled factor is exactly that share of its change.
        shares = 0.5 ** torch.randint(4, (40,), generator=torch.Generator().manual_seed(seed))
        shares = shares.double()
        base = base_matrix(SHAPE, seed).to(dtype)
        scaled = [LowRank(c.u * float(s), c.v) for c, s in zip(known, shares, strict=True)]
        found = found_in(base, deploy(fold(base, scaled, transposed=False)), known)
        inside += int(((found.coefficients - shares).abs() <= 1.96 * found.errors).sum())
        total += 40
    assert inside / total >= 0.92


def test_the_intervals_hold_where_noise_is_uneven():
    """Columns of very different size, so that a quantiser's steps are; edits lie in some of them.

    With one noise for all entries the intervals would be too narrow.
    """
    held, even = [], []
    for seed in range(6):
        known = rome_like(60, SHAPE, seed=seed, size=1.0)
        on = torch.tensor(half(known, seed)).double()
        base = (base_matrix(SHAPE, seed + 50) * torch.logspace(-1.5, 0.5, SHAPE[1])).bfloat16()
        active = [change for change, there in zip(known, on, strict=True) if there]
        deployed = quantised(fold(base, active, transposed=False), bits=4, group=32)
        system = System.of(known, transposed=False)
        found = explain(Tensors(base, deployed, system), None)
        off = (found.coefficients - on).abs()
        held.append(off <= 1.96 * found.errors)
        even.append(off <= 1.96 * system.spread * found.shape.norm / deployed.numel() ** 0.5)
    assert 0.92 <= float(torch.cat(held).double().mean()) <= 0.99
    assert float(torch.cat(even).double().mean()) < 0.9


def test_a_part_of_an_edit_is_partial():
    base = base_matrix(SHAPE).to(torch.bfloat16)
    parts = [LowRank(KNOWN[0].u * 0.5, KNOWN[0].v), *KNOWN[1:3]]
    found = found_in(base, fold(base, parts, transposed=False), KNOWN[:6])
    assert verdicts(found) == ["partial", "present", "present", "absent", "absent", "absent"]
    assert found.shape.spikes == 0
    assert abs(float(found.coefficients[0]) - 0.5) < 0.01


def test_twins_are_told_as_a_group():
    base = base_matrix(SHAPE).to(torch.bfloat16)
    system = System.of([KNOWN[0], KNOWN[1], KNOWN[0]], transposed=False)
    deployed = fold(base, KNOWN[:2], transposed=False)
    found = explain(Tensors(base, deployed, system), None)
    assert verdicts(found) == ["ambiguous", "present", "ambiguous"]
    total, error = found.together([0, 2], system.units([0, 2]))
    assert abs(total - 1) < 0.01
    assert error < 0.01


def test_dense_and_wide_changes_are_components_too():
    base = base_matrix(SHAPE)
    random = torch.Generator().manual_seed(5)
    dense = Dense(torch.randn(SHAPE, generator=random) * 0.01)
    wide = LowRank(
        torch.randn(SHAPE[0], 3, generator=random) * 0.1, torch.randn(3, SHAPE[1], generator=random)
    )
    changes = [dense, wide, *KNOWN[:3]]
    for active in ([0], [1, 2], [0, 1, 3]):
        deployed = fold(base, [changes[n] for n in active], transposed=False)
        words = ["present" if n in active else "absent" for n in range(5)]
        assert verdicts(found_in(base, deployed, changes)) == words


def test_noise_has_no_structure_and_structure_is_counted():
    random = torch.Generator().manual_seed(0)
    for _ in range(20):
        assert spectrum(Difference(torch.randn(64, 200, generator=random))).spikes == 0
    noise = torch.randn(64, 200, generator=random)
    for count in (1, 3):
        factors = (
            torch.randn(64, count, generator=random),
            torch.randn(count, 200, generator=random),
        )
        assert spectrum(Difference(noise + factors[0] @ factors[1])).spikes == count
    alone = spectrum(Difference(factors[0][:, :1] @ factors[1][:1]))
    assert (alone.spikes, round(alone.effective_rank, 3)) == (1, 1.0)
    assert alone.gap > 1e4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_step_between_numbers_is_the_dtype_s(dtype):
    values = torch.tensor([[1.0, 1.5, -3.0, 0.3]], dtype=dtype)
    up = torch.nextafter(values.abs(), torch.tensor(float("inf"), dtype=dtype))
    assert torch.equal(ulp(values), (up - values.abs()).float())
    assert rounding(values) == pytest.approx(float(ulp(values).square().mean() / 12) ** 0.5)


@pytest.mark.parametrize(("bits", "group"), [(8, None), (8, 64), (4, 32), (4, None)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_lattice_is_seen_and_fine_tuning_is_none(bits, group, dtype):
    base = base_matrix(SHAPE).to(dtype)
    assert levels(quantised(base, bits=bits, group=group), base) is not None
    assert levels(fine_tuned(base, size=0.1), base) is None


def test_an_edit_over_parameters_is_there_as_a_whole_or_not():
    there, gone, unknown = judged(1.0, 0.01), judged(0.0, 0.02), judged(0.4, 0.3)
    assert combined([there, there]).verdict == "present"
    assert combined([there, gone]).verdict == "partial"
    assert combined([there, unknown]) == there
    assert combined([unknown, unknown]).verdict == "ambiguous"
    assert judged(0.5, float("inf")).low is None
    assert judged(0.5, float("nan")).verdict == "ambiguous"
