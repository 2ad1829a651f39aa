"""The counters of claims are remembered, and never longer than their windows last."""

from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from budget_middleware.core.limits.limits import Claim, Increase
from budget_middleware.core.model import Carry, Target
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import Period, window_at
from budget_middleware.ledger.limits.targets import KNOWN_MAX, TargetChooser

TOKYO = ZoneInfo("Asia/Tokyo")
START_MS = 1_764_028_800_000
HOUR_MS = 3_600_000
CLAIMS = (Claim("key:a", Period.HOUR, 5), Claim("team:b", Period.DAY, None), Claim("global", Period.TOTAL, 7))


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(0, 2)), min_size=1, max_size=30))
def test_as_if_nothing_were_remembered(asked):
    """Whatever the order of the times: a store's clock may be set back."""
    chooser = TargetChooser(TOKYO)
    for half_hours, first in asked:
        now_ms = START_MS + half_hours * HOUR_MS // 2
        assert chooser.targets(CLAIMS[first:], now_ms=now_ms) == tuple(
            Target(claim.account, window_at(claim.period, time_ms=now_ms, timezone=TOKYO), claim.limit)
            for claim in CLAIMS[first:]
        )


def test_the_same_object_while_it_holds():
    chooser = TargetChooser(TOKYO)
    first = chooser.targets(CLAIMS, now_ms=START_MS)
    assert chooser.targets(list(CLAIMS), now_ms=START_MS + 1) is first
    assert chooser.targets(CLAIMS, now_ms=START_MS + HOUR_MS) is not first


def test_a_changed_limit_is_another_claim():
    chooser = TargetChooser(TOKYO)
    for limit_nanos in (5, 6, None):
        (target,) = chooser.targets((Claim("key:a", Period.HOUR, limit_nanos),), now_ms=START_MS)
        assert target.limit == limit_nanos


def test_what_a_limit_carries_over_is_of_the_window_before():
    """Of its amount, whatever it is increased by."""
    now_ms = START_MS + 30 * HOUR_MS
    increase = Increase(5, until_ms=now_ms + HOUR_MS)
    claim = Claim("key:a", Period.DAY, 7, carry=50, increases=(increase,))
    (target,) = TargetChooser(TOKYO).targets((claim,), now_ms=now_ms)
    assert (target.window.id, target.limit, target.carry) == ("2025-11-26", 12, Carry(50, 7, "2025-11-25"))
    (lifted,) = TargetChooser(TOKYO).targets((claim._replace(limit=None),), now_ms=now_ms)
    assert (lifted.limit, lifted.carry) == (None, None)


def test_hostile_names_do_not_pile_up():
    chooser = TargetChooser(TOKYO)
    for number in range(KNOWN_MAX + 10):
        chooser.targets((Claim(f"key:{number}", Period.TOTAL, None),), now_ms=START_MS)
    assert len(chooser._known) <= KNOWN_MAX


def test_nothing_claimed():
    assert TargetChooser(TOKYO).targets((), now_ms=START_MS) == ()


INCREASES = (Increase(3, START_MS + HOUR_MS), Increase(4, START_MS + 2 * HOUR_MS))


@given(st.lists(st.integers(-2, 5), min_size=1, max_size=20))
def test_increases_hold_until_they_lapse_whatever_the_order_of_the_times(half_hours):
    chooser = TargetChooser(TOKYO)
    claim = Claim("key:a", Period.TOTAL, 10, increases=INCREASES)
    for each in half_hours:
        now_ms = START_MS + each * HOUR_MS // 2
        (target,) = chooser.targets((claim,), now_ms=now_ms)
        assert target.limit == 10 + 3 * (each < 2) + 4 * (each < 4)


def test_a_credit_that_has_lapsed_limits_to_nothing_and_no_increase_revives_it():
    chooser, credit = TargetChooser(TOKYO), Period("total@2025-11-26")
    claims = (Claim("key:a", credit, 10, increases=(Increase(5, START_MS * 2),)), Claim("key:b", credit, None))
    assert [target.limit for target in chooser.targets(claims, now_ms=START_MS)] == [15, None]
    assert [target.limit for target in chooser.targets(claims, now_ms=START_MS + 30 * HOUR_MS)] == [0, None]


def test_targets_have_the_unit_of_their_claim():
    claims = (Claim("key:a", Period.MINUTE, 5, Unit.TOKENS), Claim("key:a", Period.TOTAL, 8, Unit.INFLIGHT))
    targets = TargetChooser(TOKYO).targets(claims, now_ms=START_MS)
    assert [(target.limit, target.unit) for target in targets] == [(5, Unit.TOKENS), (8, Unit.INFLIGHT)]
