"""The follower of the journal: a threshold is told once, whoever crosses it, through whichever worker has the lease."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from budget_middleware.alerts.board import LEASE_MS
from budget_middleware.alerts.follower import EVERY_S, RENEW_S, AlertFollower
from budget_middleware.alerts.queue import Sending, read_queue
from budget_middleware.core.model import Counter
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import Period
from budget_middleware.stores.retention import Retention
from tests.alerts.conftest import follow
from tests.stores.verbs import DAY_MS, adjust, finalize, reserve, target, transfer

KEY = target("key:ab", "10.00", period=Period.DAY)
OTHER = target("key:cd", "10.00", period=Period.DAY)
TEAM = target("team:search", None, period=Period.DAY, unit=Unit.TOKENS)
USER = target("user:ann", "10.00", period=Period.DAY)


def told(receiver) -> list[tuple[str, str, str]]:
    """What a receiver was told: rule, account and percent, in the order in which it came."""
    bodies = [taken.json for taken in receiver.taken]
    return [(body["rule"], body["account"], body["facts"].get("percent", "")) for body in bodies]


async def test_a_threshold_is_told_once(store, make_follower, receiver):
    follower = make_follower(store)
    await follow(follower)
    await store.finalize(finalize("r1", "4.00", KEY))
    assert await follow(follower) == EVERY_S
    assert told(receiver) == []
    await store.finalize(finalize("r2", "1.00", KEY))
    await follow(follower)
    assert told(receiver) == [("spent", "key:ab", "50")]
    body = receiver.taken[0].json
    assert body["summary"] == (
        f"key:ab has spent $5.00 of its limit of $10.00 for day {KEY.window.id}, which is 50 % or more"
    )
    assert (body["facts"]["spent"], body["facts"]["reservation_id"], body["severity"]) == ("$5.00", "r2", "warning")
    await store.finalize(finalize("r3", "1.00", KEY))
    await follow(follower)
    assert len(receiver.taken) == 1


async def test_one_step_may_cross_several_thresholds_and_a_credit_makes_no_second_alert(store, make_follower, receiver):
    follower = make_follower(store)
    await follow(follower)
    await store.finalize(finalize("r1", "12.00", KEY))
    await store.adjust(adjust("a1", "-10.00", KEY))
    await store.finalize(finalize("r2", "10.00", KEY))
    await follow(follower)
    assert told(receiver) == [("spent", "key:ab", "50"), ("spent", "key:ab", "100")]


async def test_whoever_crosses_is_told_of(store, make_follower, receiver):
    """An operator's charge, a transfer, an ending that nobody heard of, and a lease that ran out."""
    follower = make_follower(store)
    await follow(follower)
    await store.adjust(adjust("a1", "6.00", KEY))
    await store.adjust(adjust("a2", "4.00", OTHER))
    await store.transfer(transfer("t1", "2.00", OTHER, target("key:ef", "10.00", period=Period.DAY)))
    await store.finalize(replace(finalize("late", "60.00", TEAM), actual=finalize("x", "0 60").actual))
    await follow(follower)
    assert sorted(told(receiver)) == [
        ("spent", "key:ab", "50"),
        ("spent", "key:cd", "50"),
        ("spent", "team:search", "50"),
    ]


async def test_limits_without_alerts_of_their_own_have_those_of_the_setting(store, make_follower, receiver):
    follower = make_follower(store, f"{receiver.url}; thresholds=80; audit=off")
    await follow(follower)
    await store.finalize(finalize("r1", "8.00", USER, KEY))
    await follow(follower)
    assert sorted(told(receiver)) == [("spent", "key:ab", "50"), ("spent", "user:ann", "80")]


async def test_a_limit_that_is_set_while_gateways_run_is_watched_at_once(store, make_follower, receiver):
    follower = make_follower(store, limits="key=100/day!alert=50")
    await follow(follower)
    await store.finalize(finalize("r1", "1.00", KEY))
    await follow(follower)
    await store.set_limit("key:ab", period=Period.DAY, limit_nanos=4_000_000_000)
    follower_of_setting = make_follower(store, f"{receiver.url}; thresholds=50; audit=off", limits="key=100/day")
    await follower.stop(timeout_s=5)
    await follow(follower_of_setting)
    await store.finalize(finalize("r2", "1.00", KEY))
    await follow(follower_of_setting)
    assert told(receiver) == [("spent", "key:ab", "50")]
    assert receiver.taken[0].json["facts"]["limit"] == "$4.00"


async def test_another_window_is_another_alert(store, make_follower, receiver, clock):
    follower = make_follower(store)
    await follow(follower)
    await store.finalize(finalize("r1", "5.00", KEY))
    await follow(follower)
    clock.advance(ms=DAY_MS)
    tomorrow = target("key:ab", "10.00", period=Period.DAY, at_ms=clock())
    await store.finalize(finalize("r2", "5.00", tomorrow))
    await follow(follower)
    assert told(receiver) == [("spent", "key:ab", "50")] * 2
    assert len({taken.json["id"] for taken in receiver.taken}) == 2


async def test_of_a_rolling_period_the_sum_of_its_buckets_is_told_once(store, make_follower, receiver, clock):
    follower = make_follower(store)
    await follow(follower)
    for number in range(6):
        bucket = target("tag:x", "10.00", period=Period("24h"), at_ms=clock())
        await store.finalize(finalize(f"r{number}", "1.00", bucket))
        clock.advance(s=1_500)
        await follow(follower)
    assert told(receiver) == [("spent", "tag:x", "50")]


async def test_who_has_the_lease_tells_and_another_goes_on_where_it_dies(open_store, make_follower, receiver, clock):
    store = open_store()
    first, second = make_follower(store, owner="one"), make_follower(open_store(), owner="two")
    await follow(first)
    assert await follow(second) == RENEW_S
    await store.finalize(finalize("r1", "5.00", KEY))
    assert await follow(second) == RENEW_S
    assert receiver.taken == []
    # It dies: nobody gives the lease up, and time passes.
    clock.advance(ms=LEASE_MS)
    assert await follow(second) == EVERY_S
    assert told(receiver) == [("spent", "key:ab", "50")]
    # It was only paused, and comes back.
    first._renew_at_s = 0.0
    assert await follow(first) == RENEW_S
    assert len(receiver.taken) == 1


async def test_two_that_both_think_they_have_the_lease_tell_nothing_twice(open_store, make_follower, receiver):
    store = open_store()
    first, second = make_follower(store, owner="one"), make_follower(open_store(), owner="two")
    await follow(first)
    second.has_lease, second._renew_at_s = True, float("inf")
    second._board._known = dict(first._board._known)
    await store.finalize(finalize("r1", "12.00", KEY))
    await follow(first)
    assert await follow(second) == RENEW_S
    assert told(receiver) == [("spent", "key:ab", "50"), ("spent", "key:ab", "100")]


@pytest.mark.parametrize("calls", range(1, 13))
async def test_a_worker_that_dies_between_any_two_writes_leaves_nothing_untold(
    open_store, make_follower, receiver, clock, calls
):
    """Its writes are cut off after so many; whoever goes on finds by them what is left to do."""
    store, dying = open_store(), open_store()
    first = make_follower(store, owner="one")
    await follow(first)
    await first.stop(timeout_s=5)
    await store.finalize(finalize("r1", "12.00", KEY))
    killed = make_follower(dying, owner="two")
    _kill_after(killed, calls)
    with suppress(asyncio.CancelledError):
        await follow_without_sending(killed)
    killed.has_lease = False
    clock.advance(ms=LEASE_MS)
    await follow(make_follower(open_store(), owner="three"))
    assert sorted(set(told(receiver))) == [("spent", "key:ab", "100"), ("spent", "key:ab", "50")]
    assert len({taken.headers["webhook-id"] for taken in receiver.taken}) == 2


def _kill_after(follower: AlertFollower, calls: int) -> None:
    swap, left = follower._store.swap_text, [calls]

    async def swap_or_die(*words, **more):
        if left[0] == 0:
            raise asyncio.CancelledError
        left[0] -= 1
        return await swap(*words, **more)

    class Dying:
        def __getattr__(self, name):
            return swap_or_die if name == "swap_text" else getattr(follower._ledger.store, name)

    follower._board._store = follower._queue._store = Dying()


async def follow_without_sending(follower: AlertFollower) -> None:
    for name in follower.courier.names:
        follower.courier._down_until_ms[name] = follower.now_ms() + 3_600_000
    await follower.look()


async def test_what_the_journal_dropped_unread_is_told_and_made_good(open_store, make_follower, receiver):
    store = open_store(Retention(journal_max=20))
    follower = make_follower(store)
    await follow(follower)
    await store.finalize(finalize("big", "6.00", KEY))
    for number in range(60):
        await store.finalize(finalize(f"r{number}", "0.01", OTHER))
    await follow(follower)
    assert ("journal_gap", "", "") in told(receiver)
    assert ("spent", "key:ab", "50") in told(receiver)
    assert len(receiver.taken) == 2
    gap = next(taken.json for taken in receiver.taken if taken.json["rule"] == "journal_gap")
    assert "bookings were dropped before they were read" in gap["summary"]


async def test_a_hold_that_is_old_is_told_once_and_a_ticket_never(store, make_follower, receiver, clock):
    follower = make_follower(store)
    await follow(follower)
    await store.reserve(reserve("stuck", "1.00", KEY, lease_s=7_000))
    await store.reserve(reserve("batch", "1.00", KEY, lease_s=86_400))
    clock.advance(s=3_599)
    await follow(follower)
    assert receiver.taken == []
    clock.advance(s=3_301)
    await follow(follower)
    clock.advance(s=61)
    await follow(follower)
    assert told(receiver) == [("old_hold", "key:ab", "")]
    assert receiver.taken[0].json["facts"]["reservation_id"] == "stuck"


async def test_spending_too_fast_is_told_once_and_again_only_after_it_had_slowed(store, make_follower, receiver, clock):
    follower = make_follower(store, f"{receiver.url}; audit=off", limits="user=10/day")
    await follow(follower)
    tomorrow_ms = USER.window.ends_ms
    clock.move_to(tomorrow_ms + DAY_MS // 4)
    user = target("user:ann", "10.00", period=Period.DAY, at_ms=clock())
    await store.finalize(finalize("r1", "2.80", user))
    await follow(follower)
    assert told(receiver) == [("forecast", "user:ann", "")]
    assert receiver.taken[0].json["facts"]["forecast"] == "$11.20"
    # About the limit it does not chatter.
    clock.advance(s=120)
    await store.adjust(adjust("a1", "-0.20", user))
    await follow(follower)
    clock.advance(s=120)
    await store.adjust(adjust("a2", "0.30", user))
    await follow(follower)
    assert len(receiver.taken) == 1
    clock.move_to(tomorrow_ms + DAY_MS // 2)
    await follow(follower)
    await store.finalize(finalize("r2", "3.00", user))
    clock.advance(s=120)
    await follow(follower)
    assert told(receiver) == [("forecast", "user:ann", "")] * 2
    assert len({taken.json["id"] for taken in receiver.taken}) == 2


async def test_drift_that_the_nightly_audit_finds_is_told_once_in_all_workers(
    open_store, make_follower, receiver, clock
):
    ran = []

    async def audit():
        ran.append(clock())
        return ["key:ab day 2026-11-24 usd: spent is 5.00, explained is 4.00"]

    store = open_store()
    first = make_follower(store, f"{receiver.url}; audit=03:00", run_audit=audit, owner="one")
    await follow(first)
    assert ran == []
    clock.advance(ms=DAY_MS)
    for _ in range(3):
        await follow(first)
        if first._rounds._audit:
            await first._rounds._audit
    assert len(ran) == 1
    assert told(receiver) == [("drift", "", "")]
    assert "first: key:ab day" in receiver.taken[0].json["summary"]
    await first.stop(timeout_s=5)
    second = make_follower(open_store(), f"{receiver.url}; audit=03:00", run_audit=audit, owner="two")
    await follow(second)
    await follow(second)
    assert len(ran) == 1


async def test_the_queue_outlives_its_worker(open_store, make_follower, receiver, clock):
    store = open_store()
    first = make_follower(store, owner="one")
    await follow(first)
    receiver.answer = "503 Service Unavailable"
    await store.finalize(finalize("r1", "5.00", KEY))
    await follow(first)
    (queued,) = await read_queue(store)
    assert [each.state for each in queued.deliveries.values()] == [Sending.PENDING]
    clock.advance(ms=LEASE_MS + 5_000)
    receiver.answer = "200 OK"
    await follow(make_follower(open_store(), owner="two"))
    (queued,) = await read_queue(store)
    assert [each.state for each in queued.deliveries.values()] == [Sending.SENT]
    assert [taken.headers["webhook-attempt"] for taken in receiver.taken] == ["1", "2"]
    assert len({taken.headers["webhook-id"] for taken in receiver.taken}) == 1


def test_an_alert_has_the_same_id_in_every_process():
    from budget_middleware.core.alerts.alerts import alert_id

    counter = Counter("key:ab", Period.DAY, "2026-11-30")
    assert alert_id("budget", "spent", *counter, "enforce", 10, 50) == "bc2423230f420a4c3b65fd906351d749"
