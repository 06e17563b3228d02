"""P13: the other half of the lives of a night, so that another worker can take them."""

from __future__ import annotations

import pytest

from tests.property.lives import Home, lived

pytestmark = [pytest.mark.promise("P13"), pytest.mark.slow]


def test_every_rule_holds_after_every_step_of_another_life(home: Home, figure):
    lived(home, 500, 60, number=2, figure=figure)
