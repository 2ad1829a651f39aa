"""The limit of a rolling period looks at the bucket of now and the sixty before it, in every store alike."""

from dataclasses import replace
from datetime import date

import pytest

from budget_middleware.core.model import SERIES, Balance, Target
from budget_middleware.core.statuses import Op, Status
from budget_middleware.core.units import Unit
from budget_middleware.core.verbs import Expire, Repair
from budget_middleware.core.windows import ROLLING_BUCKETS, Period, window_at
from budget_middleware.stores.base import Store
from budget_middleware.stores.retention import Retention
from budget_middleware.testing import MovableClock
from tests.stores.audit import audit_report
from tests.stores.by_hand import change_by_hand
from tests.stores.clocked import ClockedRedisStore
from tests.stores.conftest import OpenStore
from tests.stores.verbs import UTC, adjust, finalize, grow, release, reserve, transfer, whole_journal

HOUR = Period("1h")
MINUTE_MS = 60_000


def at(clock: MovableClock, limit: str | None = "1.00", *, account: str = "key:a", period: Period = HOUR) -> Target:
    """The bucket of now."""
    nanos = None if limit is None else round(float(limit) * 10**9)
    return Target(account, window_at(period, time_ms=clock.now_ms, timezone=UTC), nanos)


async def spend(store: Store, clock: MovableClock, id_: str, usd: str, limit: str | None = "1.00") -> Status:
    """Reserve and book the same; the status of the reserve."""
    bucket = at(clock, limit)
    answer = await store.reserve(reserve(id_, usd, bucket))
    if answer.admits:
        await store.finalize(finalize(id_, usd, bucket))
    return answer.status


async def counted(store: Store, clock: MovableClock) -> Balance:
    """What the limit is compared with now: an adjustment of nothing says it."""
    (balance,) = (await store.adjust(adjust(f"look {clock.now_ms}".replace(" ", ""), "0", at(clock)))).balances
    return balance


@pytest.mark.proves("I6")
async def test_what_was_spent_leaves_after_an_hour_and_at_most_a_bucket(store: Store, clock: MovableClock):
    for number in range(4):
        assert await spend(store, clock, f"r{number}", "0.25") is Status.RESERVED
        clock.advance(ms=MINUTE_MS)
    assert await spend(store, clock, "full", "0.01") is Status.REJECTED
    # The first is counted as long as its bucket is one of the sixty before the current one.
    clock.advance(ms=MINUTE_MS * (ROLLING_BUCKETS - 4))
    assert await spend(store, clock, "still", "0.01") is Status.REJECTED
    assert await counted(store, clock) == Balance(10**9, 0)
    clock.advance(ms=MINUTE_MS)
    assert await counted(store, clock) == Balance(750_000_000, 0)
    assert await spend(store, clock, "again", "0.25") is Status.RESERVED
    clock.advance(ms=MINUTE_MS * (ROLLING_BUCKETS + 1))
    assert await counted(store, clock) == Balance(0, 0)
    assert (await audit_report(store)).drift == ()


async def test_a_refusal_and_an_answer_show_the_sum(store: Store, clock: MovableClock):
    await spend(store, clock, "r1", "0.30")
    await store.reserve(reserve("held", "0.20", at(clock), lease_s=7200))
    clock.advance(ms=10 * MINUTE_MS)
    answer = await store.reserve(reserve("r2", "0.10", at(clock)))
    assert answer.balances == (Balance(300_000_000, 300_000_000),)
    refused = await store.reserve(reserve("r3", "0.41", at(clock)))
    assert refused.rejection is not None
    assert (refused.rejection.balance, refused.rejection.is_held) == (answer.balances[0], True)
    assert (await store.reserve(reserve("r4", "0.71", at(clock)))).rejection == refused.rejection._replace(
        estimate=710_000_000
    )
    (entry,) = answer.entries
    assert (entry.spent, entry.reserved) == (0, 100_000_000), "the journal tells of the bucket"


@pytest.mark.proves("I3", "I4")
async def test_an_ending_books_in_the_bucket_of_its_reserve(store: Store, clock: MovableClock):
    bucket = at(clock)
    for id_ in ("ended", "freed", "grown", "stopped"):
        await store.reserve(reserve(id_, "0.20", bucket, lease_s=7200))
    clock.advance(ms=30 * MINUTE_MS)
    assert await counted(store, clock) == Balance(0, 800_000_000)
    assert (await store.grow(grow("grown", "0.50", lease_s=7200))).balances == (Balance(0, 1_100_000_000),)
    assert (await store.finalize(finalize("ended", "0.05"))).balances == (Balance(50_000_000, 900_000_000),)
    assert (await store.release(release("freed"))).balances == (Balance(50_000_000, 700_000_000),)
    await store.expire(Expire("stopped"))
    assert await counted(store, clock) == Balance(50_000_000, 500_000_000)
    assert {view.counter.window for view in await store.counters()} == {bucket.window.id}
    clock.advance(ms=31 * MINUTE_MS)
    # It has left the hour; what it holds still stands in nobody's way.
    assert await counted(store, clock) == Balance(0, 0)
    assert (await store.finalize(finalize("grown", "0.40"))).balances == (Balance(0, 0),)
    assert (await audit_report(store)).drift == ()


@pytest.mark.proves("I7")
async def test_due_leases_of_all_buckets_are_due_on_each(store: Store, clock: MovableClock):
    for number in range(3):
        await store.reserve(reserve(f"r{number}", "0.30", at(clock), lease_s=60 * (9 - 2 * number)))
        clock.advance(ms=MINUTE_MS)
    clock.advance(ms=20 * MINUTE_MS)
    answer = await store.reserve(reserve("new", "1.00", at(clock)))
    assert answer.status is Status.RESERVED
    assert [(entry.op, entry.reservation_id) for entry in answer.entries] == [
        (Op.EXPIRE, "r2"),
        (Op.EXPIRE, "r1"),
        (Op.EXPIRE, "r0"),
        (Op.RESERVE, "new"),
    ]


async def test_more_due_leases_than_one_call_expires(store: Store, clock: MovableClock):
    for number in range(20):
        await store.reserve(reserve(f"r{number}", "0.05", at(clock), lease_s=1_200))
        clock.advance(ms=MINUTE_MS // 2)
    clock.advance(ms=20 * MINUTE_MS)
    assert (await store.reserve(reserve("new", "0.85", at(clock)))).status is Status.LEASES_DUE
    assert (await store.reserve(reserve("new", "0.85", at(clock)))).status is Status.RESERVED


@pytest.mark.parametrize("moved_ms", [-1, MINUTE_MS])
async def test_only_the_bucket_of_now_takes_holds(store: Store, clock: MovableClock, moved_ms: int):
    bucket = at(clock)
    clock.move_to(bucket.window.starts_ms + moved_ms)
    assert (await store.reserve(reserve("r1", "0.10", bucket))).status is Status.STALE_WINDOW


async def test_a_clock_that_goes_back_finds_the_sum_of_then(store: Store, clock: MovableClock):
    await spend(store, clock, "r1", "0.30")
    clock.advance(ms=40 * MINUTE_MS)
    await spend(store, clock, "r2", "0.20")
    clock.move_to(clock.now_ms - 30 * MINUTE_MS)
    assert await counted(store, clock) == Balance(300_000_000, 0)
    await spend(store, clock, "r3", "0.10")
    clock.advance(ms=30 * MINUTE_MS + 1)
    assert await counted(store, clock) == Balance(600_000_000, 0)


async def test_adjustments_and_transfers_of_any_bucket(store: Store, clock: MovableClock):
    past = at(clock)
    clock.advance(ms=5 * MINUTE_MS)
    assert await counted(store, clock) == Balance(0, 0)
    await store.adjust(adjust("a1", "0.70", past, any_window=True))
    assert await counted(store, clock) == Balance(700_000_000, 0)
    other = at(clock, account="key:b")
    refused = await store.transfer(transfer("t1", "0.31", at(clock), other))
    assert refused.rejection is not None
    assert refused.rejection.balance == Balance(700_000_000, 0)
    moved = await store.transfer(transfer("t2", "0.30", at(clock), other))
    assert moved.balances == (Balance(10**9, 0), Balance(-300_000_000, 0))


async def test_units_and_accounts_have_series_of_their_own(store: Store, clock: MovableClock):
    usd = at(clock)
    tokens = replace(usd, unit=Unit.TOKENS, limit=1_000)
    day = at(clock, "5.00", period=Period("1d"))
    await store.reserve(reserve("r1", "0.40 900", usd, tokens, day, lease_s=7200))
    clock.advance(ms=2 * MINUTE_MS)
    now = [replace(target, window=at(clock).window) for target in (usd, tokens)]
    refused = await store.reserve(reserve("r2", "0.60 101", *now, day))
    assert refused.rejection is not None
    assert (refused.rejection.target, refused.rejection.balance) == (now[1], Balance(0, 900))
    answer = await store.reserve(reserve("r2", "0.60 100", *now, day))
    assert answer.balances == (Balance(0, 10**9), Balance(0, 1_000), Balance(0, 10**9))


async def test_what_is_back_at_nothing_leaves_nothing(store: Store, clock: MovableClock):
    await store.reserve(reserve("r1", "0.40", at(clock)))
    clock.advance(ms=2 * MINUTE_MS)
    await store.release(release("r1"))
    assert await store.counters() == []
    if isinstance(store, ClockedRedisStore):
        keys = await store._client().keys(f"{store._prefix}s:*")
        assert keys == []


async def test_buckets_outlive_the_time_in_which_they_count(open_store: OpenStore, clock: MovableClock):
    """Also where retention is shorter than the window."""
    store = open_store(Retention(counters_ms=1_000))
    month = Period("30d")
    await store.reserve(reserve("r1", "0.40", at(clock, period=month)))
    await store.finalize(finalize("r1", "0.40"))
    clock.advance(s=29 * 86_400)
    answer = await store.reserve(reserve("r2", "0.70", at(clock, period=month)))
    assert answer.status is Status.REJECTED
    if isinstance(store, ClockedRedisStore):
        (key,) = await store._client().keys(f"{store._prefix}c:*")
        assert await store._client().pttl(key) > 30 * 86_400_000


# What somebody does past the ledger.


@pytest.mark.proves("I2", "I9")
async def test_a_bucket_is_audited_and_repaired_like_any_counter(store: Store, clock: MovableClock):
    bucket = at(clock)
    await store.reserve(reserve("r1", "0.30", bucket, lease_s=7200))
    clock.advance(ms=3 * MINUTE_MS)
    assert await counted(store, clock) == Balance(0, 300_000_000)
    await change_by_hand(store, bucket.counter, spent=500, reserved=-100_000_000)
    (lacks,) = (await audit_report(store)).corrections
    assert (lacks.counter, lacks.spent) == (bucket.counter, -500)
    answer = await store.repair(Repair("x1", bucket, lacks.spent, lacks.found_at_seq))
    assert answer.balances == (Balance(0, 300_000_000),)
    assert (await audit_report(store)).drift == ()
    assert await store.damage() == []
    assert await counted(store, clock) == Balance(0, 300_000_000)


@pytest.mark.parametrize("make_store", ["server"], indirect=True)
@pytest.mark.parametrize("how", ["gone", "wrong", "of another type", "no figures"])
async def test_a_sum_is_made_again(store: ClockedRedisStore, clock: MovableClock, how: str):
    await spend(store, clock, "r1", "0.30")
    name = f"s:key:a|1h|{SERIES}"
    client, key = store._client(), f"{store._prefix}{name}"
    assert await client.hgetall(key) == {
        "spent": "300000000",
        "reserved": "0",
        "at": str(at(clock).window.starts_ms // 1000),
    }
    assert 0 < await client.pttl(key) <= MINUTE_MS
    match how:
        case "gone":
            await client.delete(key)
        case "wrong":
            await client.hset(key, "spent", "7")
            assert [damage.flaw for damage in await store.damage(mend=True)] == ["wrong_total"]
        case "of another type":
            await client.delete(key)
            await client.set(key, "x")
            assert [damage.flaw for damage in await store.damage()] == ["wrong_type"]
        case _:
            await client.hset(key, "spent", "many")
    assert await counted(store, clock) == Balance(300_000_000, 0)
    assert await store.damage() == []
    assert await spend(store, clock, "r2", "0.70") is Status.RESERVED
    assert await spend(store, clock, "r3", "0.01") is Status.REJECTED


@pytest.mark.parametrize("make_store", ["server"], indirect=True)
@pytest.mark.parametrize(
    "day",
    ["1970-01-01", "1999-12-31", "2000-02-29", "2024-02-29", "2026-11-29", "2100-03-01", "2400-12-31", "9998-12-31"],
)
async def test_scripts_name_the_buckets_of_any_day(store: Store, clock: MovableClock, day: str):
    """The sum is made from counters whose names only the script has made."""
    clock.move_to(int((date.fromisoformat(day) - date(1970, 1, 1)).total_seconds() * 1000) + 82_800_000)
    await spend(store, clock, "r1", "0.30")
    clock.advance(ms=59 * MINUTE_MS)
    assert await counted(store, clock) == Balance(300_000_000, 0)


async def test_sums_beyond_what_a_double_has_are_exact(store: Store, clock: MovableClock):
    for number in range(4):
        await store.adjust(adjust(f"a{number}", "8999999.000000001", at(clock, None)))
        clock.advance(ms=MINUTE_MS)
    assert await counted(store, clock) == Balance(4 * 8_999_999_000_000_001, 0)
    await spend(store, clock, "r1", "0.000000001", None)
    assert await counted(store, clock) == Balance(4 * 8_999_999_000_000_001 + 1, 0)


async def test_the_whole_journal_chains(store: Store, clock: MovableClock):
    for number in range(5):
        await spend(store, clock, f"r{number}", "0.10")
        clock.advance(ms=20 * MINUTE_MS)
    assert len(await whole_journal(store)) == 10
