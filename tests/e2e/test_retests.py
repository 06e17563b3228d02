"""While an edit is made, every earlier edit is told as it is measured again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger import EditRequest, Ledger
from ledger.records import EditRecord
from ledger.retests import Retest, telling
from tests.contract.tiny import REQUEST
from tests.e2e.harness import SETTINGS, Kel

THIRD = EditRequest("Warsaw", "The capital of Poland is {}", "Paris")
RECORD = EditRecord(
    id=1, hash="0" * 64, batch_id=1, component=0, subject="Ada", prompt="{} was", target_new="x"
)


def test_each_earlier_edit_is_told_once_with_the_number_that_is_recorded(ledger):
    found: list[Retest] = []
    with Ledger.open(ledger) as opened:
        quiet = opened.edit(THIRD, gate=None, dry_run=True, **SETTINGS)
        told = opened.edit(THIRD, gate=None, dry_run=True, retested=found.append, **SETTINGS)
        facts = {edit: opened.show(str(edit)).fact["subject"] for edit in (1, 2)}
    unlike = {"seconds"}
    assert {k: v for k, v in told.metrics.items() if k not in unlike} == {
        k: v for k, v in quiet.metrics.items() if k not in unlike
    }
    assert sorted(one.edit for one in found) == [1, 2]
    assert [(one.done, one.total, one.share) for one in found] == [(1, 2, 0.5), (2, 2, 1.0)]
    assert all(facts[one.edit] in one.fact for one in found)
    mean = sum(one.now for one in found) / 2
    assert mean == pytest.approx(told.metrics["earlier_reliability"])


def test_an_edit_of_the_same_fact_supersedes(ledger):
    found: list[Retest] = []
    again = replace(REQUEST, target_new="Berlin")
    with Ledger.open(ledger) as opened:
        opened.edit(again, gate=None, dry_run=True, retested=found.append, **SETTINGS)
    (same,) = [one for one in found if one.edit == 1]
    assert same.verdict == ("holds" if same.now == 1 else "superseded")


@pytest.mark.parametrize(("before", "now", "standing", "verdict"), [
    (1.0, 1.0, {1}, "holds"), (0.5, 1.0, {1}, "holds"), (1.0, 0.5, {1}, "lost"),
    (0.5, 0.0, {1}, "missing"), (1.0, 0.0, set(), "superseded"), (1.0, 1.0, set(), "holds"),
])  # fmt: skip
def test_what_is_said_of_an_edit(before, now, standing, verdict):
    found: list[Retest] = []
    told = telling(found.append, {1: before}, standing)
    assert told is not None
    told(RECORD, now)
    (one,) = found
    assert (one.edit, one.before, one.now, one.verdict, one.share) == (1, before, now, verdict, 1.0)


def test_without_a_listener_nothing_is_told():
    assert telling(None, {1: 1.0}, {1}) is None


def test_the_command_says_nothing_of_it_but_on_a_terminal(kel: Kel):
    done = kel(
        *("edit", "--subject", "Warsaw", "--prompt", "The capital of Poland is {}"),
        *("--target", "Paris", "--no-gate", "--dry-run", "--layer", "0"),
        *("--set", "second_moment=identity", "--set", "v_num_grad_steps=2"),
    )
    assert done.status == 0, done
    assert "holds" not in done.err + done.out
