"""Windows by the store's clock, limits by their newest version, whatever a worker believes."""

import asyncio
import time

import pytest

from budget_middleware.core.limits.limits import Claim
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts
from budget_middleware.core.windows import Period
from budget_middleware.ledger import Hold, Ledger
from budget_middleware.ledger.calls import breaker
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.testing import Gate, MovableClock
from tests.ledger.conftest import OpenLedger, hold, nanos
from tests.ledger.faults import FaultyStore, after, request_held, request_lost
from tests.stores.verbs import DAY_MS, HOUR_MS, START_MS, figures, reserve, target

MINUTE_MS = 60_000


@pytest.mark.parametrize("wrong_ms", [-90 * DAY_MS, -7 * HOUR_MS, -3 * MINUTE_MS, 3 * MINUTE_MS, 26 * HOUR_MS])
async def test_the_stores_clock_decides_whatever_the_workers_says(
    base: Store, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, wrong_ms: int
):
    monkeypatch.setattr(time, "time_ns", lambda: (START_MS + wrong_ms) * 1_000_000)
    held = hold("0.60")
    assert (await ledger.reserve(held)).admits
    assert await figures(base) == ("0.00", "0.60")
    assert ledger.store_time_ms() == START_MS
    await ledger.release(held)


async def test_the_workers_clock_steps_between_two_requests(
    base: Store, faults: FaultyStore, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    for step_ms in (0, 40 * DAY_MS, -40 * DAY_MS):
        monkeypatch.setattr(time, "time_ns", lambda step_ms=step_ms: (START_MS + step_ms) * 1_000_000)
        held = hold("0.60")
        assert (await ledger.reserve(held)).admits
        await ledger.finalize(held, actual=Amounts(usd=nanos("0.10")))
    assert await figures(base) == ("0.30", "0.00")


async def test_windows_that_turn_between_attempts(
    base: Store, faults: FaultyStore, clock: MovableClock, open_ledger: OpenLedger
):
    ledger = open_ledger("key=1/hour")
    turn = after(lambda: clock.advance(ms=HOUR_MS))
    faults.meets("reserve", turn, turn, turn, after(lambda: None))
    held = hold("0.60")
    assert (await ledger.reserve(held)).status is Status.RESERVED
    assert held.targets[0].window.starts_ms <= clock.now_ms < held.targets[0].window.ends_ms
    await ledger.finalize(held, actual=Amounts(usd=nanos("0.10")))
    assert await figures(base, target(period=Period.HOUR, at_ms=clock.now_ms)) == ("0.10", "0.00")


async def test_an_adjust_books_in_the_current_window(base: Store, clock: MovableClock, ledger: Ledger):
    claims = [Claim("key:a", Period.HOUR, None)]
    for _ in range(2):
        await ledger.adjust(claims, amount=Amounts(usd=nanos("0.10")), reason="test")
        clock.advance(ms=HOUR_MS)
    first, second = (target(period=Period.HOUR, at_ms=START_MS + late) for late in (0, HOUR_MS))
    assert await figures(base, first) == await figures(base, second) == ("0.10", "0.00")


# Limits that operators set at run time.


async def test_a_changed_limit_binds_on_every_ledger_at_the_next_reserve(base: Store, open_ledger: OpenLedger):
    ledgers = [open_ledger() for _ in range(3)]
    for ledger in ledgers:
        held = hold("0.90")
        assert (await ledger.reserve(held)).admits
        await ledger.release(held)
    for limit, is_admitted in (("0.50", False), ("2", True), ("0", False), (None, True)):
        limit_nanos = None if limit is None else nanos(limit)
        await base.set_limit("key:*", period=Period.MONTH, limit_nanos=limit_nanos)
        for ledger in ledgers:
            held = hold("0.90")
            assert (await ledger.reserve(held)).admits is is_admitted
            await ledger.release(held)
    await base.clear_limit("key:*", period=None)
    for ledger in ledgers:
        assert (await ledger.reserve(hold("1.10"))).status is Status.REJECTED


async def test_many_stale_requests_refresh_once(base: Store, faults: FaultyStore, ledger: Ledger):
    for calls in (2, 1):
        await base.set_limit("key:a", period=Period.MONTH, limit_nanos=nanos("0.05"))
        faults.calls.clear()
        holds = [hold("0.01") for _ in range(20)]
        answers = await asyncio.gather(*map(ledger.reserve, holds))
        assert [answer.admits for answer in answers].count(True) == 5
        # The first tells which patterns there are, the next what they say. On a server some may come a moment later.
        assert calls <= faults.count("limit_news") <= calls + 1
        for held in holds:
            await ledger.release(held)


async def test_two_ledgers_of_one_process_refresh_at_once(base: Store, open_ledger: OpenLedger):
    ledgers = [open_ledger() for _ in range(4)]
    await base.set_limit("key:a", period=Period.MONTH, limit_nanos=nanos("0.50"))
    answers = await asyncio.gather(*(ledger.reserve(hold("0.20")) for ledger in ledgers))
    assert sorted(answer.status for answer in answers) == ["rejected"] * 2 + ["reserved"] * 2


async def test_a_refresh_that_fails_is_tried_again(base: Store, faults: FaultyStore, ledger: Ledger):
    await base.set_limit("key:a", period=Period.MONTH, limit_nanos=nanos("0.50"))
    faults.meets("limit_news", request_lost, request_lost)
    assert (await ledger.reserve(hold("0.60"))).status is Status.REJECTED
    assert faults.count("limit_news") == 4


async def test_limits_come_back_changed_under_the_same_version(clock: MovableClock, open_ledger: OpenLedger):
    """An emptied store counts its versions anew: the same number may stand for other limits."""
    old, new = (FaultyStore(MemoryStore(clock_ms=clock)) for _ in range(2))
    ledger = open_ledger(store=old.store)
    await old.inner.set_limit("key:a", period=Period.MONTH, limit_nanos=nanos("0.10"))
    assert (await ledger.reserve(hold("0.20"))).status is Status.REJECTED
    old.inner = new.inner
    await new.inner.set_limit("key:a", period=Period.MONTH, limit_nanos=nanos("0.50"))
    await ledger.reserve(hold("0.20"))
    assert (await ledger.reserve(hold("0.20"))).admits
    assert (await ledger.reserve(hold("0.40"))).status is Status.REJECTED


async def test_leases_due_are_cleared_before_a_refusal(base: Store, clock: MovableClock, ledger: Ledger):
    """More orphans than one call expires: the reserve is repeated until none stands in the way."""
    for at in range(100):
        await base.reserve(reserve(f"orphan{at}", "0.01", target(limit="1.00"), lease_s=30))
    assert (await ledger.reserve(hold("0.60"))).status is Status.REJECTED
    clock.advance(s=31)
    held = hold("1.00")
    assert (await ledger.reserve(held)).admits
    assert await figures(base) == ("0.00", "1.00")
    await ledger.release(held)


# A user's own source of limits.


class Source:
    def __init__(self, **limits: str | None) -> None:
        self.limits: dict[str, str | None] = {name.replace("_", ":"): text for name, text in limits.items()}
        self.asked: list[str] = []
        self.error: Exception | None = None

    async def __call__(self, account: str) -> str | None:
        self.asked.append(account)
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return self.limits.get(account)


async def limit_of(ledger: Ledger, key: str) -> int | None:
    (claim,) = await ledger.claims({"key": key}, model="")
    return claim.limit


async def test_runtime_limits_before_the_source_before_the_environment(base: Store, open_ledger: OpenLedger):
    ledger = open_ledger(limits_source=Source(key_a="2/month", key_b="none"))
    assert await limit_of(ledger, "a") == nanos("2")
    assert await limit_of(ledger, "b") is None
    assert await limit_of(ledger, "c") == nanos("1")
    await base.set_limit("key:a", period=Period.MONTH, limit_nanos=nanos("3"))
    await ledger.reserve(hold("0", key="a"))
    assert await limit_of(ledger, "a") == nanos("3")


async def test_the_source_is_asked_once_for_many(open_ledger: OpenLedger):
    source = Source(key_a="2/month")
    ledger = open_ledger(limits_source=source)
    await asyncio.gather(*(ledger.reserve(hold("0.01")) for _ in range(20)))
    assert sorted(source.asked) == ["global", "key:a"]
    source.limits["key:a"] = "3/month"
    assert await limit_of(ledger, "a") == nanos("2"), "until its answer is old"


@pytest.mark.parametrize("error", [OSError("database away"), ValueError("bad")])
async def test_a_source_that_fails_leaves_the_counters_known(base: Store, open_ledger: OpenLedger, error: Exception):
    source = Source()
    source.error = error
    ledger = open_ledger(limits_source=source, store_timeout_s=0.25)
    held = hold("0.60")
    with pytest.raises(StoreUnavailable, match="limits_source failed for key:a"):
        await ledger.reserve(held)
    assert [each.account for each in held.targets] == ["key:a"]
    source.error = None
    await ledger.finalize(held, actual=Amounts(usd=nanos("0.10")))
    await ledger.reserve(hold("0"))
    assert sum(view.balance.spent for view in await base.counters()) == nanos("0.10")


@pytest.mark.parametrize("kinds", [("team", "key"), ("key", "team")])
async def test_a_source_that_fails_for_one_account_frees_none_of_the_others(
    open_ledger: OpenLedger, kinds: tuple[str, str]
):
    """A caller may choose its team, and what the source cannot read must not take the limit off its key."""

    async def source(account: str) -> str | None:
        limits = {"key:a": "1/month", "team:t": None, "global": None}
        return limits[account]

    def asking(team: str) -> Hold:
        subjects = {"key": "a", "team": team}
        return Hold({kind: subjects[kind] for kind in kinds}, Amounts(usd=nanos("0.60")))

    ledger, spending = open_ledger("", limits_source=source, store_timeout_s=0.25), asking("t")
    assert (await ledger.reserve(spending)).admits
    await ledger.finalize(spending, actual=Amounts(usd=nanos("0.60")))
    held = asking("odd")
    with pytest.raises(StoreUnavailable, match="limits_source failed for team:odd"):
        await ledger.reserve(held)
    assert ledger.reserve_locally(held) is not None
    ledger.forget(held)


async def test_the_last_limits_of_a_source_bind_while_it_fails(open_ledger: OpenLedger):
    source = Source(key_a="1/month")
    ledger, spending = open_ledger("", limits_source=source, store_timeout_s=0.25), hold("0.60")
    assert ledger._layers._source is not None
    ledger._layers._source._ttl_s = 0.001
    assert (await ledger.reserve(spending)).admits
    await ledger.finalize(spending, actual=Amounts(usd=nanos("0.60")))
    source.error = OSError("database away")
    await asyncio.sleep(0.01)
    held = hold("0.60")
    with pytest.raises(StoreUnavailable, match="limits_source failed"):
        await ledger.reserve(held)
    assert ledger.reserve_locally(held) is not None
    ledger.forget(held)


async def test_a_source_that_hangs_leaves_the_counters_known(base: Store, open_ledger: OpenLedger):
    gate = Gate()

    async def hanging(_: str) -> str | None:
        await gate.wait()
        return None

    ledger = open_ledger(limits_source=hanging, store_timeout_s=0.25)
    held = hold("0.60")
    with pytest.raises(StoreUnavailable):
        await ledger.reserve(held)
    gate.open()
    await ledger.finalize(held, actual=Amounts(usd=nanos("0.10")))
    assert sum(view.balance.spent for view in await base.counters()) == nanos("0.10")


async def test_a_source_that_tells_nonsense_is_an_outage(open_ledger: OpenLedger):
    ledger = open_ledger(limits_source=Source(key_a="ten a day"), store_timeout_s=0.25)
    with pytest.raises(StoreUnavailable, match="limits_source failed for key:a"):
        await ledger.reserve(hold())


async def test_a_source_that_fails_is_no_outage_of_the_store(
    faults: FaultyStore, open_ledger: OpenLedger, monkeypatch: pytest.MonkeyPatch
):
    """Else what is owed would wait for a store that is there."""
    source = Source()
    ledger, held = open_ledger(limits_source=source, store_timeout_s=0.25), hold("0.10")
    monkeypatch.setattr(breaker, "OUTAGES", 3)
    await ledger.reserve(held)
    source.error = OSError("database away")
    for at in range(4):
        with pytest.raises(StoreUnavailable, match="limits_source failed"):
            await ledger.reserve(hold("0.10", key=f"k{at}"))
    faults.calls.clear()
    ending = ledger.finalize(held, actual=Amounts(usd=1))
    await asyncio.sleep(0)
    assert faults.calls == ["finalize"], "at once"
    await ending


async def test_a_store_that_falls_silent_after_it_asked_for_newer_limits_is_away(
    base: Store, faults: FaultyStore, open_ledger: OpenLedger
):
    """An outage, which the caller's policy decides on: nobody has cancelled the request."""
    await base.set_limit("key:b", period=Period.MONTH, limit_nanos=nanos("5"))
    ledger, gate, held = open_ledger(store_timeout_s=0.1), Gate(), hold()
    faults.meets("limit_news", request_held(gate))
    with pytest.raises(StoreUnavailable):
        await ledger.reserve(held)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    gate.open()
    await ledger.finalize(held, actual=Amounts(usd=nanos("0.10")))
    assert await figures(base) == ("0.10", "0.00")
