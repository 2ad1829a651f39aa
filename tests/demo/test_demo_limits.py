"""The limits of the demo's callers."""

import pytest

from budget_middleware.demo.callers import OVERSPENDER, limits_for


@pytest.mark.parametrize(
    ("seconds", "key", "team"),
    [(6, "0.25", "0.50"), (18, "0.25", "0.50"), (36, "0.50", "1.00"), (600, "8.34", "16.68")],
)
def test_limits_last_as_long_as_the_demo_but_for_one_caller(seconds: float, key: str, team: str):
    assert limits_for(seconds) == f"key={key}/day; {OVERSPENDER.account}=0.02/day; team={team}/day"
