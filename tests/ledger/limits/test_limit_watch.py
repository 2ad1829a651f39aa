"""Limits that refuse nothing: a request goes over them and is served, who looks hears of it, and alerts fire once."""

import asyncio
from collections.abc import Callable

import pytest

from budget_middleware.core.limits.limits import LimitMode
from budget_middleware.core.limits.shadow import ShadowLimit, ShadowSum, day_of
from budget_middleware.core.model import Balance
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts, Unit
from budget_middleware.core.verbs import Finalize
from budget_middleware.core.windows import Period
from budget_middleware.ledger import Hold, Ledger
from budget_middleware.ledger.limits import watch as limit_watch
from budget_middleware.stores.base import Store
from budget_middleware.testing import MovableClock
from tests.ledger.conftest import hold, nanos
from tests.ledger.faults import FaultyStore
from tests.ledger.sharing.test_refusal_log import written

OpenLedger = Callable[..., Ledger]

in_memory = pytest.mark.parametrize("base", ["memory"], indirect=True)


def usd(amount: str) -> Amounts:
    return Amounts(usd=nanos(amount))


def lines(caplog: pytest.LogCaptureFixture, about: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if about in record.getMessage()]


async def spend(ledger: Ledger, amount: str, *, key: str = "a") -> Hold:
    """A request that costs what it was estimated at."""
    held = hold(amount, key=key)
    assert (await ledger.reserve(held)).admits
    await ledger.finalize(held, actual=held.asked)
    return held


# Soft.


async def test_over_a_soft_limit_a_request_is_served_and_warned_of(
    open_ledger: OpenLedger, caplog: pytest.LogCaptureFixture
):
    """One line a window and worker, however many requests there are."""
    ledger = open_ledger("key=0.80/day!soft; key=1/day")
    assert (await spend(ledger, "0.50")).passed == ()
    assert (await spend(ledger, "0.30")).passed == ()
    for _ in range(3):
        (passed,) = (await spend(ledger, "0.01")).passed
        assert (passed.mode, passed.rejection.limit) == (LimitMode.SOFT, nanos("0.80"))
    assert lines(caplog, "soft limit") == [
        "the soft limit of key:a for day 2026-11-18 is passed: $0.81 of $0.80 are spent or reserved"
    ]
    over = hold("0.50")
    assert (await ledger.reserve(over)).status is Status.REJECTED
    assert over.passed == ()


@in_memory
async def test_who_is_another_in_each_request_does_not_flood_the_log(
    open_ledger: OpenLedger, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    ledger = open_ledger("key=0/day!soft!alert=100; key=1/month!alert=1")
    for number in range(2 * limit_watch.LINES_MAX):
        await spend(ledger, "0.50", key=f"k{number}")
    told = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == limit_watch.LINES_MAX
    monkeypatch.setattr(limit_watch, "MINUTE_S", 0.0)
    await spend(ledger, "0.50", key="later")
    assert lines(caplog, "more soft limits")
    assert lines(caplog, "key:later")


@in_memory
async def test_another_window_and_another_account_get_their_own_line(
    open_ledger: OpenLedger, clock: MovableClock, caplog: pytest.LogCaptureFixture
):
    ledger = open_ledger("key=0.10/day!soft")
    await spend(ledger, "0.20")
    await spend(ledger, "0.20", key="b")
    clock.advance(s=86_400)
    await spend(ledger, "0.20")
    assert [line.split(" is passed")[0] for line in lines(caplog, "soft limit")] == [
        "the soft limit of key:a for day 2026-11-18",
        "the soft limit of key:b for day 2026-11-18",
        "the soft limit of key:a for day 2026-11-19",
    ]


# Shadow.


async def test_what_a_shadow_limit_would_have_refused_is_logged_and_summed(
    open_ledger: OpenLedger, base: Store, clock: MovableClock
):
    ledger = open_ledger("key=0.50/day!shadow; key=1/day")
    await spend(ledger, "0.45")
    clock.advance(ms=1)
    first_ms = clock()
    asked = hold("0.10", model="gpt-4o")
    assert (await ledger.reserve(asked)).status is Status.RESERVED
    clock.advance(ms=1)
    await spend(ledger, "0.20")
    refusals = await written(ledger, base)
    assert [(each.mode, each.is_enforced, each.rejection.limit) for each in refusals] == [
        (LimitMode.SHADOW, False, nanos("0.50"))
    ] * 2
    first = refusals[0]
    assert (first.reservation_id, first.model, first.rejection.estimate) == (asked.id, "gpt-4o", nanos("0.10"))
    assert first.rejection.balance == Balance(nanos("0.45"), 0)
    (day,) = await base.shadow_sums(since_day=day_of(clock()))
    assert day.sums == {
        ShadowLimit("key:a", Period.DAY, Unit.USD, nanos("0.50"), LimitMode.SHADOW): ShadowSum(
            2, nanos("0.30"), nanos("0.75"), first_ms, clock()
        )
    }


async def test_what_the_enforced_limit_refuses_is_not_the_shadows(open_ledger: OpenLedger, base: Store):
    ledger = open_ledger("key=0.50/day!shadow; key=1/day")
    assert (await ledger.reserve(hold("1.50"))).status is Status.REJECTED
    (refusal,) = await written(ledger, base)
    assert (refusal.mode, refusal.is_enforced) == (LimitMode.ENFORCE, True)
    assert await base.shadow_sums(since_day="2026-01-01") == []


async def test_where_nothing_is_enforced_every_limit_is_summed(open_ledger: OpenLedger, base: Store):
    """The refusal names the one that would have refused; how large each would have to be, only the sums tell."""
    ledger = open_ledger("key=0.50/day; key=0.60/month; key=0.10/day!shadow; key=9/year", enforce=False)
    await spend(ledger, "0.70")
    refusals = await written(ledger, base)
    assert sorted((str(each.mode), each.rejection.limit) for each in refusals) == [
        ("enforce", nanos("0.50")),
        ("shadow", nanos("0.10")),
    ]
    (day,) = await base.shadow_sums(since_day="2026-01-01")
    found = {(limit.period, str(limit.mode), limit.limit): each.enough for limit, each in day.sums.items()}
    assert found == {
        (Period.DAY, "enforce", nanos("0.50")): nanos("0.70"),
        (Period.MONTH, "enforce", nanos("0.60")): nanos("0.70"),
        (Period.DAY, "shadow", nanos("0.10")): nanos("0.70"),
    }


@in_memory
async def test_the_sums_miss_nothing_that_the_log_drops(
    open_ledger: OpenLedger, base: Store, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("budget_middleware.ledger.sharing.refusal_log.AT_MOST", 3)
    workers = [open_ledger("key=0/day!shadow") for _ in range(2)]
    for n in range(40):
        await spend(workers[n % 2], "0.01", key=f"{n % 10}")
    for worker in workers:
        await written(worker, base)
    assert len(await base.refusals()) < 20
    (day,) = await base.shadow_sums(since_day="2026-01-01")
    assert sorted((limit.account, each.requests, each.enough) for limit, each in day.sums.items()) == [
        (f"key:{n}", 4, nanos("0.04")) for n in range(10)
    ]


@in_memory
async def test_the_smallest_limit_that_refuses_nothing_is_exact(open_ledger: OpenLedger, base: Store):
    """The same requests again, with that limit enforced: all pass, and with a nano-dollar less one does not."""
    costs = ["0.30", "0.25", "0.41", "0.02", "0.17"]
    ledger = open_ledger("key=0.50/day!shadow")
    for cost in costs:
        await spend(ledger, cost)
    await written(ledger, base)
    (day,) = await base.shadow_sums(since_day="2026-01-01")
    (found,) = day.sums.values()
    for key, limit, passes in (("b", found.enough, True), ("c", found.enough - 1, False)):
        other = open_ledger(f"key:{key}={limit / 10**9:.9f}/day")
        statuses = [(await other.reserve(hold(cost, key=key))).status for cost in costs]
        assert (Status.REJECTED not in statuses) is passes


# Alerts.


async def test_each_threshold_is_told_once_by_whichever_worker_crosses_it(
    open_ledger: OpenLedger, caplog: pytest.LogCaptureFixture
):
    workers = [open_ledger("key=1/day!alert=50,80,100") for _ in range(3)]
    holds = [hold("0.04") for _ in range(25)]
    await asyncio.gather(*(workers[n % 3].reserve(each) for n, each in enumerate(holds)))
    await asyncio.gather(*(workers[n % 3].finalize(each, actual=each.asked) for n, each in enumerate(holds)))
    told = lines(caplog, "alert:")
    assert sorted(told) == [
        "alert: key:a has spent $0.52 of its limit of $1.00 for day 2026-11-18, which is 50 % or more",
        "alert: key:a has spent $0.80 of its limit of $1.00 for day 2026-11-18, which is 80 % or more",
        "alert: key:a has spent $1.00 of its limit of $1.00 for day 2026-11-18, which is 100 % or more",
    ]


async def test_a_soft_and_a_shadow_limit_have_alerts_of_their_own(
    open_ledger: OpenLedger, caplog: pytest.LogCaptureFixture
):
    ledger = open_ledger("key=0.50/day!soft!alert=50; key=0.90/day!shadow!alert=100; key=2/day")
    await spend(ledger, "0.95")
    assert [line.partition(" of its ")[2].partition(" for ")[0] for line in lines(caplog, "alert:")] == [
        "soft limit of $0.50",
        "shadow limit of $0.90",
    ]


async def test_an_ending_after_its_lease_tells_what_it_adds_to_the_charge(
    open_ledger: OpenLedger, clock: MovableClock, caplog: pytest.LogCaptureFixture
):
    """The charge of a lease that ran out crosses the first, as a worker that knows the counter sweeps it."""
    ledger, other = (open_ledger("key=1/day!alert=10,50") for _ in range(2))
    late = hold("0.60", expiry_charge=usd("0.20"))
    await ledger.reserve(late)
    await spend(other, "0.01")
    clock.advance(s=61)
    await other.sweep()
    assert [line.rpartition(" is ")[2] for line in lines(caplog, "alert:")] == ["10 % or more"]
    await ledger.finalize(late, actual=usd("0.60"))
    assert [line.rpartition(" is ")[2] for line in lines(caplog, "alert:")] == ["10 % or more", "50 % or more"]


async def test_a_lease_that_a_reserve_expires_in_passing_tells_too(
    open_ledger: OpenLedger, clock: MovableClock, caplog: pytest.LogCaptureFixture
):
    ledger = open_ledger("key=1/day!alert=10")
    await ledger.reserve(hold("0.60", expiry_charge=usd("0.20")))
    clock.advance(s=61)
    await open_ledger("key=1/day!alert=10").reserve(hold("0.10"))
    assert len(lines(caplog, "alert:")) == 1


@in_memory
async def test_an_adjustment_by_a_worker_tells_and_a_credit_makes_room_for_another(
    open_ledger: OpenLedger, caplog: pytest.LogCaptureFixture
):
    ledger = open_ledger("key=1/day!alert=50")
    await spend(ledger, "0.40")
    claims = await ledger.claims({"key": "a"}, model="")
    for amount, n_told in (("0.20", 1), ("0.10", 1), ("-0.40", 1), ("0.30", 2)):
        await ledger.adjust(claims, amount=usd(amount), reason="x")
        assert len(lines(caplog, "alert:")) == n_told


async def test_of_a_rolling_limit_the_sum_of_its_buckets_counts(
    open_ledger: OpenLedger, clock: MovableClock, caplog: pytest.LogCaptureFixture
):
    ledger = open_ledger("key=1/24h!alert=50; key=0.55/24h!soft; key=0.40/24h!shadow")
    assert (await spend(ledger, "0.30")).passed == ()
    clock.advance(s=1_800)
    (passed,) = (await spend(ledger, "0.15")).passed
    assert (passed.mode, passed.used) == (LimitMode.SHADOW, nanos("0.45"))
    assert lines(caplog, "alert:") == []
    clock.advance(s=1_800)
    assert [each.mode for each in (await spend(ledger, "0.15")).passed] == [LimitMode.SOFT, LimitMode.SHADOW]
    (line,) = lines(caplog, "alert:")
    assert line.startswith("alert: key:a has spent $0.60 of its limit of $1.00 for 24h ")
    # The first of them falls out of the window.
    clock.advance(s=86_400 - 1_800)
    assert (await spend(ledger, "0.05")).passed == ()


@in_memory
async def test_what_nobody_watches_costs_nothing(
    open_ledger: OpenLedger, faults: FaultyStore, monkeypatch: pytest.MonkeyPatch
):
    """No entry is asked for, and nothing is judged; with a soft limit alone no entry either."""
    wanted: list[bool] = []
    finalize = faults.inner.finalize

    async def noticing(verb: Finalize):
        wanted.append(verb.wants_entries)
        return await finalize(verb)

    monkeypatch.setattr(faults.inner, "finalize", noticing)
    for limits in ("key=1/day; key=9/month", "key=1/day!soft", "key=1/day!alert=50"):
        await spend(open_ledger(limits), "0.01")
    assert wanted == [False, False, True]
