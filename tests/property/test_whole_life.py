"""P13: whatever is done to a ledger in whatever order, every rule holds after every step.

50 lives of 30 steps in the fast tier, 1,000 of 60 nightly, a half of them in `test_more_lives.py`;
fewer on a server in `test_lives_on_server.py`.
"""

from __future__ import annotations

import pytest

from tests.property.lives import Home, lived

pytestmark = pytest.mark.promise("P13")


@pytest.mark.parametrize(
    ("count", "steps"), [(50, 30), pytest.param(500, 60, marks=pytest.mark.slow)]
)
def test_every_rule_holds_after_every_step_of_a_life(home: Home, count: int, steps: int, figure):
    lived(home, count, steps, number=1, figure=figure)
