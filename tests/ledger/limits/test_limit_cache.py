"""What a worker knows of runtime limits: little, enough, and still after the store has lost them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from budget_middleware.core.limits.grammar import parse_limits
from budget_middleware.core.limits.limits import LimitMode, Slot, Terms
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts, Unit
from budget_middleware.core.windows import Period
from budget_middleware.ledger import Hold, Ledger
from budget_middleware.ledger.limits import cache as limit_cache
from budget_middleware.ledger.limits import layers as limit_layers
from budget_middleware.ledger.limits import reader as limit_reader
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable, StoreUndecided
from budget_middleware.testing import Gate, MovableClock
from tests.ledger.conftest import OpenLedger, hold, nanos
from tests.ledger.faults import FaultyStore, refused, reply_held, request_lost
from tests.ledger.test_store_loss import empty, fail_over, replica_of
from tests.stores.clocked import ClockedRedisStore

Flush = Callable[[], Awaitable[None]]


class Asked(FaultyStore):
    """Keeps which patterns were asked for, a list for each call."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.patterns: list[list[str]] = []

    def __getattr__(self, method: str) -> Any:
        call = super().__getattr__(method)

        async def noted(*arguments: Any, **options: Any) -> Any:
            if method == "limit_news":
                self.patterns.append(sorted(arguments[0]))
            return await call(*arguments, **options)

        return noted


@pytest.fixture
def asked(base: Store) -> Asked:
    return Asked(base)


@pytest.fixture
def flush(faults: FaultyStore, clock: MovableClock, namespace: str) -> Flush:
    return partial(empty, faults, clock, namespace)


async def set_limit(store: Store, account: str, usd: str | None, period: Period = Period.MONTH) -> None:
    await store.set_limit(account, period=period, limit_nanos=None if usd is None else nanos(usd))


async def is_admitted(ledger: Ledger, amount: str, key: str = "a", **more: Any) -> bool:
    held = hold(amount, key=key, **more)
    admits = (await ledger.reserve(held)).admits
    await ledger.release(held)
    return admits


# Little.


async def test_f37_a_changed_limit_costs_only_itself(base: Store, asked: Asked, open_ledger: OpenLedger):
    ledger = open_ledger(store=asked.store)
    for number in range(40):
        await set_limit(base, f"key:k{number}", "0.50")
    for number in range(40):
        assert not await is_admitted(ledger, "0.60", f"k{number}")
    asked.patterns.clear()
    asked.calls.clear()
    await set_limit(base, "key:k7", "0.70")
    for number in range(40):
        assert await is_admitted(ledger, "0.60", f"k{number}") is (number == 7)
    assert asked.patterns == [[]], "what has changed was told, and nothing else asked for"
    assert asked.count("reserve") == 41
    assert asked.count("limits") == 0


async def test_limits_of_all_slots_bind_at_the_next_request_and_come_back_after_a_loss(
    base: Store, asked: Asked, open_ledger: OpenLedger, flush: Flush
):
    ledger = open_ledger(store=asked.store)
    assert await is_admitted(ledger, "0.60")
    calendar, rolling = Slot(Period.MONTH), Slot(Period("24h"))
    soft, inflight = Slot(Period.DAY, mode=LimitMode.SOFT), Slot(Period.TOTAL, Unit.INFLIGHT)
    limits: dict[Slot | None, Terms] = {
        calendar: Terms(nanos("9"), carry=50),
        rolling: Terms(nanos("0.50")),
        soft: Terms(1),
        inflight: Terms(3),
    }
    await base.change_limits("key:a", limits)
    for change in (partial(base.change_limits, "key:b", {soft: Terms(1)}), flush):
        assert not await is_admitted(ledger, "0.60"), "the rolling limit refuses"
        claims = await ledger.claims({"key": "a"}, model="m")
        enforced = {Slot(claim.period, claim.unit): claim.limit for claim in claims}
        assert enforced == {calendar: nanos("9"), rolling: nanos("0.50"), Slot(Period.DAY): None, inflight: 3}
        assert [claim.carry for claim in claims if claim.period is Period.MONTH] == [50]
        assert [claim.soft for claim in claims if claim.period is Period.DAY] == [Terms(1)]
        await change()
    assert not await is_admitted(ledger, "0.60"), "what the store lost is written back"
    await base.change_limits("key:a", {rolling: None})
    assert await is_admitted(ledger, "0.60")


async def test_f37_what_is_known_is_bounded(
    base: Store, asked: Asked, open_ledger: OpenLedger, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limit_cache, "PATTERNS_MAX", 5)
    ledger = open_ledger(store=asked.store)
    for number in range(20):
        await set_limit(base, f"key:k{number}", "0.50")
    for _ in range(2):
        for number in range(20):
            assert not await is_admitted(ledger, "0.60", f"k{number}")
    cache = ledger._layers._by_loop.current().reader.cache
    assert cache.limits_known == len(cache._bound) == 5
    # Whoever was forgotten is bound by a changed limit all the same.
    await set_limit(base, "key:k0", "0.70")
    assert await is_admitted(ledger, "0.60", "k0")
    assert not await is_admitted(ledger, "0.60", "k1")


async def test_strangers_do_not_push_out_who_has_a_limit(
    base: Store, asked: Asked, open_ledger: OpenLedger, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limit_cache, "PATTERNS_MAX", 5)
    ledger = open_ledger(store=asked.store)
    await set_limit(base, "key:a", "0.50")
    assert not await is_admitted(ledger, "0.60")
    for number in range(20):
        assert await is_admitted(ledger, "0.60", f"stranger{number}")
    await set_limit(base, "key:other", "0.50")
    asked.patterns.clear()
    assert not await is_admitted(ledger, "0.60")
    assert asked.patterns == [[]]


async def test_many_new_keys_are_looked_up_together(base: Store, asked: Asked, open_ledger: OpenLedger):
    ledger = open_ledger(store=asked.store)
    await set_limit(base, "key:k1", "0.50")
    await is_admitted(ledger, "0")
    asked.patterns.clear()
    admitted = await asyncio.gather(*(is_admitted(ledger, "0.60", f"k{number}") for number in range(300)))
    assert admitted.count(False) == 1
    assert [len(patterns) for patterns in asked.patterns] == [128, 128, 44]


async def test_without_runtime_limits_nothing_is_asked_for(asked: Asked, open_ledger: OpenLedger):
    ledger = open_ledger(store=asked.store)
    for number in range(5):
        assert await is_admitted(ledger, "0.60", f"k{number}")
    assert asked.patterns == []


# Enough.


@pytest.mark.parametrize(
    ("pattern", "account"),
    [
        ("key:a", "key:a"),
        ("key", "key:a"),
        ("key:-", "key:-"),
        ("team:-", "team:-"),
        ("model:m", "model:m"),
        ("model", "model:m"),
        ("global", "global"),
        ("key+model:*+m", "key+model:a+m"),
        ("key+model:a+*", "key+model:a+m"),
        ("model+key", "key+model:a+m"),
        ("key+team:a+*", "key+team:a+-"),
        ("key+taem:a+*", "key+taem:a+-"),
        ("key+model+team:*+m+-", "key+model+team:a+m+-"),
        ("org:acme/*", "org:acme/ads/eu"),
        ("org:acme/ads/*", "org:acme/ads/eu"),
        ("org+model:acme/*+*", "model+org:m+acme/ads/eu"),
        ("key+org:*+acme/ads/*", "key+org:a+acme/ads/eu"),
    ],
)
async def test_whatever_pattern_is_set_binds_at_the_next_reserve(
    base: Store, open_ledger: OpenLedger, pattern: str, account: str
):
    """By what is looked up as by all rules of the same book together."""
    ledger = open_ledger(limits="")
    payers = {"key": None if account == "key:-" else "a", "team": None, "org": "acme/ads/eu"}

    async def limits_of() -> dict[str, int | None]:
        held = hold("0")
        held.payers, held.model = payers, "m"
        await ledger.reserve(held)
        await ledger.release(held)
        return {target.account: target.limit for target in held.targets}

    before = await limits_of()
    await set_limit(base, pattern, "0.50")
    of_a_book = open_ledger(limits=f"{pattern}=0.50/month")
    bound = {claim.account: claim.limit for claim in await of_a_book.claims(payers, model="m")}
    await of_a_book.drain()
    assert bound[account] == nanos("0.50")
    assert await limits_of() == bound
    await base.clear_limit(pattern, period=None)
    assert await limits_of() == before


async def test_the_most_specific_of_what_is_looked_up_decides(base: Store, open_ledger: OpenLedger):
    ledger = open_ledger()
    texts = {"key": "0.10", "key:a": "0.30", "key+model": "0.20", "key+model:*+m": "0.40", "key+model:a+*": "0.50"}
    for pattern, usd in texts.items():
        await set_limit(base, pattern, usd)
        await is_admitted(ledger, "0", model="m")
    book = parse_limits(";".join(f"{pattern}={usd}/month" for pattern, usd in texts.items()))
    of_a_book = open_ledger(limits="")
    of_a_book._layers._environment = type(of_a_book._layers._environment)(book)
    for key in ("a", "b"):
        for model in ("m", "n", ""):
            payers = {"key": key}
            assert await ledger.claims(payers, model=model) == of_a_book._layers.claims_without_store(
                payers, model=model
            )


async def test_the_longest_prefix_of_what_is_looked_up_decides_until_it_is_cleared(
    base: Store, open_ledger: OpenLedger
):
    ledger = open_ledger(limits="team:search/*=9/month")
    limits = {"team": "0.10", "team:search/*": "0.30", "team:search/ads/*": "0.20", "team:search/ads/eu": "0.40"}

    async def limit_of(team: str) -> int | None:
        (claim,) = await ledger.claims({"team": team}, model="")
        return claim.limit

    for pattern, usd in limits.items():
        await set_limit(base, pattern, usd)
    await is_admitted(ledger, "0")
    for pattern, usd, below in (
        ("team:search/ads/eu", "0.40", "0.20"),
        ("team:search/ads/*", "0.20", "0.30"),
        ("team:search/*", "0.30", "0.10"),
        ("team:*", "0.10", "9"),
    ):
        assert await limit_of("search/ads/eu") == nanos(usd)
        await base.clear_limit(pattern, period=None)
        await is_admitted(ledger, "0")
        assert await limit_of("search/ads/eu") == nanos(below)
    assert await limit_of("ads/eu") is None


async def test_limits_with_several_tags_are_remembered_within_bounds(
    base: Store, asked: Asked, open_ledger: OpenLedger, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limit_layers, "KNOWN_MAX", 8)
    ledger = open_ledger(store=asked.store, limits="")
    await set_limit(base, "tag:b", "0.50")
    for tags in ("a", ("a", "b"), ("b", "c"), None):
        for _ in range(2):
            held = hold("0.60")
            held.payers = {"key": "k", "tag": tags}
            assert (await ledger.reserve(held)).admits is ("b" not in (tags or ()))
            await ledger.release(held)
    for number in range(100):
        held = hold("0.10")
        held.payers = {"key": "k", "tag": ("a", f"t{number:03}")}
        assert (await ledger.reserve(held)).admits
        await ledger.release(held)
    assert len(ledger._layers._by_loop.current().known) <= 8


# A memory store is never of an older version.
@pytest.mark.parametrize("base", ["server"], indirect=True)
async def test_limits_of_an_older_version_bind_before_they_are_indexed(
    base: ClockedRedisStore, asked: Asked, open_ledger: OpenLedger, clock: MovableClock
):
    await base.head()
    version = clock.now_ms
    for field in ("key:a|month", "key+model:*+m|month", "global|month"):
        await base._client().hset(f"{base._prefix}limits", field, str(nanos("0.50")))
    await base._client().hset(f"{base._prefix}meta", "limits_version", str(version))
    gate = Gate()
    asked.meets("index_limits", reply_held(gate))
    ledger = open_ledger(store=asked.store, limits="")
    assert not await is_admitted(ledger, "0.60")
    assert not await is_admitted(ledger, "0.60", "b", model="m")
    await base.clear_limit("global", period=None)
    assert await is_admitted(ledger, "0.60", "b")
    gate.open()
    await ledger._tasks.drain(timeout_s=10)
    asked.patterns.clear()
    assert await is_admitted(ledger, "0.60", "c")
    assert asked.patterns == [["key+model:*+", "key:c"]] or asked.patterns[0], "what the index names"
    assert not await is_admitted(ledger, "0.60")


@pytest.mark.parametrize("base", ["server"], indirect=True)
async def test_until_an_index_is_there_no_request_looks_for_more_patterns_than_the_cache_holds(
    base: ClockedRedisStore, asked: Asked, open_ledger: OpenLedger, clock: MovableClock
):
    await base.head()
    await base._client().hset(f"{base._prefix}limits", "tag:t3/a/b/c/d|month", str(nanos("0.50")))
    await base._client().hset(f"{base._prefix}meta", "limits_version", str(clock.now_ms))
    gate = Gate()
    asked.meets("index_limits", reply_held(gate))
    ledger = open_ledger(store=asked.store, limits="")
    many = tuple(f"t{number}/a/b/c/d" for number in range(16))

    def held(tags: tuple[str, ...] | str) -> Hold:
        payers = {"key": "k", "team": "a/b/c/d/e", "user": "a/b/c/d/e", "tag": tags}
        return Hold(payers, Amounts(nanos("0.60")), model="m")

    with pytest.raises(StoreUndecided):
        await ledger.reserve(held(many))
    assert not asked.patterns[0]
    assert not (await ledger.reserve(held(many[3]))).admits, "who names one is looked up"
    gate.open()
    await ledger._tasks.drain(timeout_s=10)
    assert not (await ledger.reserve(held(many))).admits


# After a loss.


async def test_f38_flushall_leaves_no_key_unlimited(
    base: Store, faults: FaultyStore, open_ledger: OpenLedger, flush: Flush, caplog: pytest.LogCaptureFixture
):
    ledger = open_ledger(limits="")
    await set_limit(base, "key:a", "1000", Period.TOTAL)
    await set_limit(base, "key:b", "5", Period.DAY)
    await set_limit(base, "key:unseen", "5", Period.DAY)
    for key in ("a", "b"):
        assert not await is_admitted(ledger, "1000.01", key)
    await flush()
    assert not await is_admitted(ledger, "1000.01")
    assert not await is_admitted(ledger, "1000.01", "b")
    assert await is_admitted(ledger, "5")
    limits = (await faults.inner.limits()).limits
    assert limits == {("key:a", Period.TOTAL): nanos("1000"), ("key:b", Period.DAY): nanos("5")}
    told = [record for record in caplog.records if "the store lost limits" in record.message]
    assert [(record.levelno, record.args) for record in told] == [(logging.WARNING, (2, 2))]
    # A worker that starts now, and knew nothing.
    assert not await is_admitted(open_ledger(limits=""), "1000.01")
    # An operator has the last word.
    await set_limit(faults.inner, "key:a", "2000", Period.TOTAL)
    assert await is_admitted(ledger, "1000.01")


async def test_f38_they_come_back_without_a_request(
    base: Store, faults: FaultyStore, open_ledger: OpenLedger, flush: Flush
):
    """A heartbeat, a sweep or an ending is enough to notice."""
    ledger = open_ledger(limits="")
    await set_limit(base, "key:a", "1")
    held = hold("0.60")
    assert (await ledger.reserve(held)).admits
    await flush()
    await ledger.finalize(held, actual=Amounts(usd=nanos("0.10")))
    await ledger.drain()
    assert (await faults.inner.limits()).limits == {("key:a", Period.MONTH): nanos("1")}


async def test_f38_an_operator_who_was_faster_is_obeyed(
    base: Store, faults: FaultyStore, open_ledger: OpenLedger, flush: Flush
):
    ledger = open_ledger(limits="")
    await set_limit(base, "key:a", "1")
    await set_limit(base, "key:b", "1")
    for key in ("a", "b"):
        assert not await is_admitted(ledger, "1.10", key)
    await flush()
    await set_limit(faults.inner, "key:a", "2")
    assert await is_admitted(ledger, "1.10")
    assert not await is_admitted(ledger, "1.10", "b")


async def test_f38_what_two_workers_know_comes_back_together(
    base: Store, faults: FaultyStore, open_ledger: OpenLedger, flush: Flush
):
    ledgers = {key: open_ledger(limits="") for key in ("a", "b")}
    for key, ledger in ledgers.items():
        await set_limit(base, f"key:{key}", "1")
        assert not await is_admitted(ledger, "1.10", key)
    await flush()
    assert not await is_admitted(ledgers["a"], "1.10", "a")
    assert not await is_admitted(ledgers["b"], "1.10", "b")
    for key in ("a", "b"):
        assert not await is_admitted(ledgers["a"], "1.10", key)
        assert not await is_admitted(ledgers["b"], "1.10", key)


async def test_f38_a_write_back_that_fails_is_tried_again_and_nobody_is_admitted_meanwhile(
    base: Store, faults: FaultyStore, open_ledger: OpenLedger, flush: Flush
):
    ledger = open_ledger(limits="")
    await set_limit(base, "key:a", "1")
    assert not await is_admitted(ledger, "1.10")
    await flush()
    faults.meets("write_back_limits", request_lost, refused, refused)
    held = hold("1.10")
    with pytest.raises(StoreRefused):
        await ledger.reserve(held)
    assert [target.limit for target in held.targets] == [nanos("1")], "what is served all the same is known"
    ledger.abandon(held, reason="test")
    for _ in range(3):
        try:
            assert not await is_admitted(ledger, "1.10")
        except StoreRefused:
            continue
    assert (await faults.inner.limits()).limits == {("key:a", Period.MONTH): nanos("1")}


@pytest.mark.parametrize("base", ["memory"], indirect=True)
async def test_f38_a_failover_to_older_limits_is_undone_by_each_worker(
    base: Store, faults: FaultyStore, open_ledger: OpenLedger, clock: MovableClock
):
    """No counter tells of it: of what was lost only limits had changed."""
    ledgers = {key: open_ledger(limits="") for key in ("a", "b")}
    for key, ledger in ledgers.items():
        await set_limit(base, f"key:{key}", "5")
        assert await is_admitted(ledger, "1.10", key)
    replica = replica_of(base)
    for key, ledger in ledgers.items():
        clock.advance(s=1)
        await set_limit(base, f"key:{key}", "1")
        assert not await is_admitted(ledger, "1.10", key)
    fail_over(faults, replica)
    clock.advance(s=1)
    assert not await is_admitted(ledgers["a"], "1.10", "a")
    assert not await is_admitted(ledgers["b"], "1.10", "b"), "told by the other one's lineage"
    limits = (await replica.limits()).limits
    assert limits == {("key:a", Period.MONTH): nanos("1"), ("key:b", Period.MONTH): nanos("1")}


# The store is away.


async def test_what_is_known_is_there_while_the_store_is_away(
    base: Store, faults: FaultyStore, open_ledger: OpenLedger
):
    ledger = open_ledger(store_timeout_s=0.1)
    await set_limit(base, "key:a", "0.50")
    assert not await is_admitted(ledger, "0.60")
    faults.always |= dict.fromkeys(("limit_news", "reserve"), request_lost)
    for key, limit in (("a", "0.50"), ("b", "1")):
        held = hold("0.60", key=key)
        with pytest.raises(StoreUnavailable):
            await ledger.reserve(held)
        assert [target.limit for target in held.targets] == [nanos(limit)]
    faults.always.clear()


async def test_a_look_up_without_an_answer_is_an_outage(base: Store, faults: FaultyStore, open_ledger: OpenLedger):
    """Else requests of keys that are not known yet would wait for a store that is away, one after the other."""
    ledger = open_ledger(store_timeout_s=0.05)
    await set_limit(base, "key:a", "0.50")
    assert not await is_admitted(ledger, "0.60")
    faults.always["limit_news"] = request_lost
    before = ledger._calls.breaker._outages
    with pytest.raises(StoreUnavailable):
        await ledger.reserve(hold("0.60", key="b"))
    assert ledger._calls.breaker._outages > before
    faults.always.clear()


async def test_who_is_cancelled_leaves_the_others_waiting(base: Store, faults: FaultyStore, open_ledger: OpenLedger):
    ledger = open_ledger()
    await set_limit(base, "key:a", "0.50")
    await is_admitted(ledger, "0")
    await set_limit(base, "key:b", "0.50")
    gate = Gate()
    faults.meets("limit_news", reply_held(gate))
    waiting = [asyncio.create_task(is_admitted(ledger, "0.60", key)) for key in ("c", "b", "b")]
    await gate.reached()
    waiting[0].cancel()
    gate.open()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert outcomes[1:] == [False, False]


def test_the_bounds_are_those_of_the_docs():
    assert (limit_cache.PATTERNS_MAX, limit_reader.ASKED_AT_ONCE) == (16_384, 128)
    assert Status.STALE_LIMITS.is_transient
