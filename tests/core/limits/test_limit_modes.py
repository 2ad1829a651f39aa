"""Limits that refuse nothing, judged by figures alone: which a request goes over, and who crosses a threshold."""

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from budget_middleware.core.answers import Answer, Entry
from budget_middleware.core.limits.limits import Claim, Increase, LimitMode, Terms
from budget_middleware.core.limits.modes import (
    Crossing,
    Passed,
    Threshold,
    Watch,
    crossings,
    passed_limits,
    passed_unenforced,
    watches_of,
)
from budget_middleware.core.model import Balance, Carry, Counter, Rejection, Target
from budget_middleware.core.statuses import Op, Status
from budget_middleware.core.units import Amounts, Unit
from budget_middleware.core.windows import Period, window_at

NOW_MS = 1_795_012_200_000
UTC = ZoneInfo("UTC")
DAY = window_at(Period.DAY, time_ms=NOW_MS, timezone=UTC)
HOURS = window_at(Period("24h"), time_ms=NOW_MS, timezone=UTC)
KEY, ROLLING = Target("key:a", DAY, 100), Target("key:a", HOURS, 100)


def watch(target: Target = KEY, *, soft: int | None = None, shadow: int | None = None, alerts: tuple[int, ...] = ()):
    claim = Claim(
        target.account,
        target.window.period,
        target.limit,
        target.unit,
        soft=None if soft is None else Terms(soft),
        shadow=None if shadow is None else Terms(shadow),
        alerts=alerts,
    )
    return watches_of([claim], [target], now_ms=NOW_MS)


def passed(watches: tuple[Watch, ...], after: Balance, *, asked: int = 10) -> list[tuple[str, int, int]]:
    found = passed_limits(watches, {KEY.counter: after}, asked=Amounts(usd=asked))
    return [(str(each.mode), each.rejection.limit, each.used) for each in found]


def test_a_claim_without_them_is_not_watched():
    assert watches_of([Claim("key:a", Period.DAY, 100), Claim("key:a", Period.DAY, None)], [KEY, KEY], now_ms=0) == ()


@pytest.mark.parametrize(
    ("after", "over"),
    [(Balance(70, 10), []), (Balance(71, 10), ["soft"]), (Balance(0, 81), ["soft"]), (Balance(90, 10), ["soft"])],
)
def test_over_is_what_an_enforced_limit_would_refuse(after: Balance, over: list[str]):
    """Own hold included; just at the limit is not over."""
    assert [mode for mode, _, _ in passed(watch(soft=80), after)] == over


def test_shadow_and_soft_stand_beside_an_enforced_one():
    watches = watch(soft=80, shadow=50)
    assert passed(watches, Balance(30, 20)) == []
    assert passed(watches, Balance(41, 10)) == [("shadow", 50, 51)]
    assert passed(watches, Balance(71, 10)) == [("soft", 80, 81), ("shadow", 50, 81)]


def test_an_estimate_of_nothing_goes_over_nothing():
    assert passed(watch(soft=0, shadow=0), Balance(500, 0), asked=0) == []


def test_a_lifted_limit_is_none():
    claim = Claim("key:a", Period.DAY, 100, soft=Terms(None), shadow=Terms(None, alerts=(80,)))
    watches = watches_of([claim], [KEY], now_ms=NOW_MS)
    assert passed(watches, Balance(500, 10)) == []
    assert watches[0].thresholds == ()


def test_what_it_would_have_been_is_a_refusal_as_of_before_the_request():
    (found,) = passed_limits(watch(shadow=50), {KEY.counter: Balance(35, 30)}, asked=Amounts(usd=10))
    limited = Target("key:a", DAY, 50)
    assert found == Passed(LimitMode.SHADOW, Rejection(limited, Balance(35, 20), 10))
    assert found.rejection.is_held
    assert found.used == 65


def test_figures_of_other_windows_are_not_judged():
    """After a lost answer over midnight a request may hold on the counters of yesterday."""
    assert passed_limits(watch(soft=1), {}, asked=Amounts(usd=10)) == []


def test_each_unit_by_its_own_estimate():
    tokens = Target("key:a", DAY, 100, Unit.TOKENS)
    watches = watch(tokens, soft=50)
    figures = {tokens.counter: Balance(0, 60)}
    assert passed_limits(watches, figures, asked=Amounts(usd=10)) == []
    (found,) = passed_limits(watches, figures, asked=Amounts(usd=10, tokens=20))
    assert found.rejection == Rejection(Target("key:a", DAY, 50, Unit.TOKENS), Balance(0, 40), 20)


def test_without_enforcement_every_limit_is_judged():
    team = Target("team:b", DAY, 120)
    targets = KEY, team, Target("team:c", DAY, 500), Target("team:d", DAY)
    balances = Balance(100, 10), Balance(115, 10), Balance(100, 10), Balance(900, 10)
    refusal = Rejection(team, Balance(115, 0), 10)
    found = passed_unenforced(refusal, targets, balances, asked=Amounts(usd=10))
    assert found == [
        Passed(LimitMode.ENFORCE, Rejection(KEY, Balance(100, 0), 10)),
        Passed(LimitMode.ENFORCE, refusal),
    ]


def test_what_was_carried_over_is_known_of_the_limit_that_refused():
    carrying = [Target(f"key:{n}", DAY, 100, carry=Carry(50, 100, "2026-11-17")) for n in "ab"]
    refusal = Rejection(carrying[1].bound_by(130), Balance(125, 0), 10)
    found = passed_unenforced(refusal, carrying, [Balance(125, 10)] * 2, asked=Amounts(usd=10))
    assert found == [Passed(LimitMode.ENFORCE, refusal)]


def test_an_increase_counts_until_it_lapses():
    raised = Terms(80, alerts=(50,), increases=(Increase(20, until_ms=NOW_MS + 1),))
    claim = Claim("key:a", Period.DAY, 100, soft=raised)
    (during,), (after,) = (watches_of([claim], [KEY], now_ms=NOW_MS + late) for late in (0, 1))
    assert (during.soft, [each.figure for each in during.thresholds]) == (100, [50])
    assert (after.soft, [each.figure for each in after.thresholds]) == (80, [40])


def test_of_a_credit_that_has_lapsed_nothing_is_left():
    window = window_at(Period("total@2026-03-31"), time_ms=NOW_MS, timezone=UTC)
    watches = watches_of([Claim("key:a", window.period, 100, soft=Terms(80))], [Target("key:a", window, 0)], now_ms=0)
    assert watches[0].soft == 0


# Alerts.


def step(*changes: tuple[Target, Op, int, int], balances: tuple[Balance, ...] = ()) -> Answer:
    """An answer that wrote entries: of each the counter, its verb, what it added to *spent*, and *spent* after it."""
    entries = [
        Entry(n, NOW_MS, op, "r", target.counter, delta, 0, spent, 0, target.limit, Status.FINALIZED)
        for n, (target, op, delta, spent) in enumerate(changes)
    ]
    return Answer(Status.FINALIZED, NOW_MS, "g", len(entries), entries=tuple(entries), balances=balances)


def crossed(watches: tuple[Watch, ...], answer: Answer) -> list[tuple[int, int]]:
    known: dict[Counter, Watch] = {each.target.counter: each for each in watches}
    return [(each.threshold.percent, each.spent) for each in crossings(known, answer)]


@pytest.mark.parametrize(
    ("before", "after", "percents"),
    [(0, 49, []), (0, 50, [50]), (50, 79, []), (49, 80, [50, 80]), (79, 101, [80, 100]), (90, 40, []), (100, 140, [])],
)
def test_a_threshold_is_crossed_from_below_to_at_or_above_it(before: int, after: int, percents: list[int]):
    found = crossed(watch(alerts=(50, 80, 100)), step((KEY, Op.FINALIZE, after - before, after)))
    assert found == [(percent, after) for percent in percents]


def test_a_threshold_is_of_its_own_mode_and_never_below_its_percent():
    claim = Claim("key:a", Period.DAY, 100, soft=Terms(7, alerts=(50,)), shadow=Terms(3, alerts=(99,)), alerts=(1,))
    (found,) = watches_of([claim], [KEY], now_ms=NOW_MS)
    assert found.thresholds == (
        Threshold(1, 1, 100, LimitMode.ENFORCE),
        Threshold(3, 99, 3, LimitMode.SHADOW),
        Threshold(4, 50, 7, LimitMode.SOFT),
    )


def test_what_one_step_did_to_a_counter_is_looked_at_together():
    """A lease that expires in passing takes part: what it was charged and what comes after are one step."""
    watches = watch(alerts=(50,))
    assert crossed(watches, step((KEY, Op.EXPIRE, 30, 50), (KEY, Op.FINALIZE, -5, 45))) == []
    assert crossed(watches, step((KEY, Op.EXPIRE, 30, 50), (KEY, Op.FINALIZE, 5, 55))) == [(50, 55)]
    assert crossed(watches, step((KEY, Op.EXPIRE, 30, 50))) == [(50, 50)]


def test_of_counters_that_nobody_watches_nothing_is_told():
    assert crossed(watch(alerts=(50,)), step((Target("key:b", DAY, 100), Op.FINALIZE, 90, 90))) == []


def test_of_a_rolling_period_the_sum_counts_and_not_its_bucket():
    watches = watch(ROLLING, alerts=(50,))
    own = step((ROLLING, Op.FINALIZE, 10, 10), balances=(Balance(55, 0),))
    assert crossed(watches, own) == [(50, 55)]
    assert crossed(watches, replace(own, balances=(Balance(75, 0),))) == []
    # Of what it expired in passing the sum is not known.
    assert crossed(watches, step((ROLLING, Op.EXPIRE, 60, 60), balances=(Balance(90, 0),))) == []


@given(st.lists(st.integers(0, 30), max_size=40), st.lists(st.integers(1, 150), max_size=5, unique=True))
def test_whoever_comes_each_threshold_is_crossed_once_on_the_way_up(costs: list[int], percents: list[int]):
    """The steps of all workers follow one another, so what each of them knows suffices."""
    watches, spent, found = watch(alerts=tuple(percents)), 0, list[int]()
    for cost in costs:
        spent += cost
        found += [percent for percent, _ in crossed(watches, step((KEY, Op.FINALIZE, cost, spent)))]
    assert sorted(found) == sorted(percent for percent in percents if percent <= spent)


def test_a_credit_below_it_makes_room_for_another_crossing():
    watches = watch(alerts=(50,))
    steps = [(60, 60), (-20, 40), (15, 55)]
    assert [crossed(watches, step((KEY, Op.ADJUST, *each))) for each in steps] == [[(50, 60)], [], [(50, 55)]]


def test_a_crossing_says_where_it_happened():
    (watched,) = watch(alerts=(50,))
    answer = step((KEY, Op.FINALIZE, 60, 60))
    assert crossings({KEY.counter: watched}, answer) == [Crossing(KEY.counter, watched.thresholds[0], 60)]
