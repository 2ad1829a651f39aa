"""Every store: corrections by hand, and figures as operators read them."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from budget_middleware.core.model import Balance
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import FOREVER_MS, PERIODS, Period
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreRefused
from budget_middleware.testing import MovableClock
from tests.stores.audit import audit
from tests.stores.verbs import KEY, START_MS, adjust, figures, finalize, release, reserve, target, whole_journal

TEAM = target("team:b")


@pytest.mark.proves("I4", "I10")
async def test_adjust_changes_spent_once_an_id(store: Store):
    answer = await store.adjust(adjust("a1", "0.30", KEY, TEAM))
    assert (answer.status, answer.balances) == (Status.ADJUSTED, (Balance(300_000_000, 0),) * 2)
    assert [entry.reason for entry in answer.entries] == ["test", "test"]
    again = await store.adjust(adjust("a1", "0.30", TEAM, KEY))
    assert (again.status, again.entries) == (Status.DUPLICATE, ())
    assert (await store.adjust(adjust("a1", "0.31", KEY, TEAM))).status is Status.CONFLICT
    assert (await store.adjust(adjust("a1", "0.30", KEY))).status is Status.CONFLICT
    assert await figures(store) == await figures(store, TEAM) == ("0.30", "0.00")


@pytest.mark.proves("I1")
async def test_a_credit_may_make_spent_negative_and_is_told_apart(store: Store):
    await store.finalize(finalize("r1", "0.10"))
    await store.adjust(adjust("a1", "-0.30"))
    (view,) = await store.counters("key:a")
    assert (view.balance, view.adjusted) == (Balance(-200_000_000, 0), -300_000_000)
    assert (await store.reserve(reserve("r2", "1.20"))).status is Status.RESERVED


async def test_an_adjust_of_nothing_is_remembered_and_not_journalled(store: Store):
    answer = await store.adjust(adjust("a1", "0"))
    assert (answer.status, answer.entries) == (Status.ADJUSTED, ())
    assert (await store.adjust(adjust("a1", "0.10"))).status is Status.CONFLICT


async def test_an_operator_may_adjust_a_closed_window(store: Store, clock: MovableClock):
    hour = target(period=Period.HOUR)
    clock.advance(s=3600)
    assert (await store.adjust(adjust("a1", "0.10", hour))).status is Status.STALE_WINDOW
    assert (await store.adjust(adjust("a1", "0.10", hour, any_window=True))).status is Status.ADJUSTED
    assert await figures(store, hour) == ("0.10", "0.00")


async def test_counters_are_those_of_the_account_and_no_other(store: Store):
    names = ["key:a", "key:ab", "key:a%5B", "key+model:a+gpt-4o", "global"]
    await store.adjust(adjust("a1", "0.10", *(target(name) for name in names)))
    assert [view.counter.account for view in await store.counters()] == sorted(names)
    for name in names:
        assert [view.counter.account for view in await store.counters(name)] == [name]
    assert await store.counters("key:") == []


async def test_reserved_by_kind_counts_an_account_once_whatever_its_periods(store: Store, clock: MovableClock):
    month_and_day = (KEY, target(period=Period.DAY))
    other, compound, everyone = target("key:z"), target("key+model:a+gpt-4o"), target("global")
    await store.reserve(reserve("r1", "0.60", *month_and_day, other, compound, everyone))
    await store.reserve(reserve("r2", "0.10", *month_and_day, lease_s=30))
    assert await store.reserved_by_kind() == {
        (Unit.USD, "key"): 1_300_000_000,
        (Unit.USD, "key+model"): 600_000_000,
        (Unit.USD, "global"): 600_000_000,
    }
    clock.advance(s=30)
    await store.sweep(at_most=10)
    assert (await store.reserved_by_kind())[Unit.USD, "key"] == 1_200_000_000
    await store.finalize(finalize("r1", "0.10"))
    await store.adjust(adjust("a1", "0.10", other))
    assert set((await store.reserved_by_kind()).values()) == {0}


async def test_large_amounts_are_exact(store: Store):
    top, total = "9000000", target(limit="9000000", period=Period.TOTAL)
    assert total.window.ends_ms == FOREVER_MS
    assert (await store.reserve(reserve("r1", top, total))).status is Status.RESERVED
    (rejection,) = [(await store.reserve(reserve("r2", "0.000000001", total))).rejection]
    assert rejection is not None
    assert (rejection.is_held, rejection.shortfall) == (True, 1)
    await store.finalize(finalize("r1", "8999999.999999999", total))
    assert (await store.reserve(reserve("r3", "0.000000001", total))).status is Status.RESERVED
    assert (await store.reserve(reserve("r4", "0.000000002", total))).status is Status.REJECTED


@pytest.mark.proves("I4")
async def test_sums_beyond_what_a_double_can_hold_are_exact(store: Store):
    for at in range(4):
        await store.reserve(reserve(f"h{at}", "8999999.999999999", TEAM))
        await store.finalize(finalize(f"f{at}", "8999999.999999999", TEAM))
    balances = (await store.reserve(reserve("h0", "8999999.999999999", TEAM))).balances
    assert balances == (Balance(4 * 8_999_999_999_999_999, 4 * 8_999_999_999_999_999),)
    assert await figures(store, TEAM) == ("35999999.999999996", "35999999.999999996")
    await store.adjust(adjust("a1", "-8999999.999999998", TEAM))
    await store.release(release("h0"))
    assert await figures(store, TEAM) == ("26999999.999999998", "26999999.999999997")
    assert (await whole_journal(store))[-1].reserved == 3 * 8_999_999_999_999_999


async def test_head_tells_clock_and_changes_nothing(store: Store, clock: MovableClock):
    first = await store.head()
    clock.advance(ms=7)
    second = await store.head()
    assert (first.now_ms, second.now_ms) == (START_MS, START_MS + 7)
    assert (first.seq, first.limits_version, first.generation) == (0, 0, second.generation)
    assert first.generation


async def test_words_of_every_kind_come_back_as_they_went_in(store: Store, clock: MovableClock):
    """Subjects of the account grammar, ids of windows of every period, reasons of any text."""
    odd = "key+team:~0a/b@c:d._%20-+%C3%A9"
    targets = tuple(target(odd, "1", period=period) for period in PERIODS)
    verb = reserve("r1", "0.10", *targets, trace="00-1-2-01")
    answer = await store.reserve(verb)
    assert [entry.counter for entry in answer.entries] == [each.counter for each in targets]
    (held,) = await store.holds()
    assert held.targets == targets
    await store.release(replace(release("r1"), reason="ü \n|'\" 100%"))
    assert (await whole_journal(store))[-1].reason == "ü \n|'\" 100%"


@pytest.mark.parametrize("make_store", ["server"], indirect=True)
async def test_holds_beyond_any_budget_leave_their_counter_usable(open_store: Callable[..., Store]):
    """Nothing limits them, so the sum of what many ask for could leave the range of the server's integers."""
    store, unlimited = open_store(), target(limit=None)
    held = [f"r{number}" for number in range(12)]
    for id_ in held:
        assert (await store.reserve(reserve(id_, "9000000", unlimited))).admits
    for amount in ("9000000", "0.10"):
        with pytest.raises(StoreRefused):
            await store.reserve(reserve("refused", amount, unlimited))
    assert (await store.reserve(reserve("free", "0", unlimited))).admits
    for id_ in held:
        assert (await store.finalize(finalize(id_, "0.10"))).status is Status.FINALIZED
    assert (await store.reserve(reserve("next", "0.10", unlimited))).admits
    assert await figures(store, unlimited) == ("1.20", "0.10")
    await audit(store)
