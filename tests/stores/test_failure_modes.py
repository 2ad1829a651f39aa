"""Known ways in which a spend counter goes wrong, as far as a store decides them: each ends in exact figures.

B is the limit, S what is spent, R what is reserved; unless said otherwise B = 1.00, S = 0, R = 0.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from budget_middleware.core.statuses import Op, Status
from budget_middleware.core.windows import Period
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreRefused
from budget_middleware.testing import MovableClock
from tests.stores.audit import audit
from tests.stores.clocked import ClockedRedisStore
from tests.stores.verbs import adjust, figures, finalize, release, reserve, reserve_decided, target, whole_journal


async def is_held(store: Store, id_: str, amount: str) -> bool:
    answer = await store.reserve(reserve(id_, amount))
    return answer.status is Status.REJECTED and answer.rejection is not None and answer.rejection.is_held


@pytest.mark.proves("I7")
async def test_f03_a_killed_workers_hold_lasts_as_long_as_its_lease(store: Store, clock: MovableClock):
    await store.reserve(reserve("orphan", "0.60", lease_s=30))
    clock.advance(s=29)
    assert await is_held(store, "second", "0.60")
    clock.advance(s=2)
    assert await figures(store) == ("0.00", "0.00")
    assert (await store.reserve(reserve("second", "0.60"))).status is Status.RESERVED
    assert await figures(store) == ("0.00", "0.60")


async def test_f04_traffic_does_not_keep_a_leak_alive(store: Store, clock: MovableClock):
    await store.reserve(reserve("orphan", "0.60"))
    for at in range(120):
        clock.advance(s=5)
        assert (await store.reserve(reserve(f"r{at}", "0.0001"))).admits
        await store.finalize(finalize(f"r{at}", "0.0001"))
    assert await figures(store) == ("0.012", "0.00")


async def test_f07_held_is_not_spent(store: Store):
    of = target(limit="25")
    for at in range(5):
        assert (await store.reserve(reserve(f"r{at}", "5.00", of))).admits
    assert await figures(store) == ("0.00", "25.00")
    sixth = await store.reserve(reserve("r5", "5.00", of))
    assert sixth.rejection is not None
    assert sixth.rejection.is_held
    for at in range(5):
        await store.finalize(finalize(f"r{at}", "0.02"))
    assert await figures(store) == ("0.10", "0.00")
    assert (await store.reserve(reserve("r5", "5.00", of))).admits


async def test_f08_a_limit_may_be_used_up_exactly(store: Store):
    assert (await store.reserve(reserve("all", "1.00"))).admits
    thirty = target("key:b", "0.30")
    for at in range(3):
        assert (await store.reserve(reserve(f"r{at}", "0.10", thirty))).admits
    assert await figures(store, thirty) == ("0.00", "0.30")
    assert (await store.reserve(reserve("r3", "0.000000001", thirty))).status is Status.REJECTED


@pytest.mark.proves("I4")
@pytest.mark.parametrize("make_store", ["memory", "server"], indirect=True)
async def test_f08_ten_thousand_requests_leave_no_noise(open_store: Callable[..., Store]):
    """Over eight workers; a fake server would need half a minute to say the same."""
    of = target(limit="2.00")
    workers = [open_store() for _ in range(8)]

    async def work(worker: Store, name: int) -> None:
        for at in range(1250):
            assert (await worker.reserve(reserve(f"{name}.{at}", "0.0823", of))).admits
            await worker.finalize(finalize(f"{name}.{at}", "0.00011", of))

    await asyncio.gather(*(work(worker, name) for name, worker in enumerate(workers)))
    assert await figures(workers[0], of) == ("1.10", "0.00")
    await audit(workers[0])


async def test_f09_a_finalize_that_got_lost_is_sent_again(store: Store):
    await store.reserve(reserve("r1", "0.60"))
    lost = finalize("r1", "0.10")
    assert (await store.finalize(replace(lost, age_ms=800))).status is Status.FINALIZED
    assert await figures(store) == ("0.10", "0.00")


@pytest.mark.proves("I8", "I10")
async def test_f10_a_lost_reply_costs_nothing_when_the_verb_is_repeated(store: Store):
    for _ in range(4):
        assert (await store.reserve(reserve("r1", "0.60"))).admits
    assert await figures(store) == ("0.00", "0.60")
    for _ in range(4):
        await store.finalize(finalize("r1", "0.10"))
    assert await figures(store) == ("0.10", "0.00")
    await store.reserve(reserve("r2", "0.60"))
    for _ in range(4):
        await store.release(release("r2"))
    assert await figures(store) == ("0.10", "0.00")
    assert len(await whole_journal(store)) == 4


@pytest.mark.proves("I3")
async def test_f11_of_several_success_events_the_first_counts(store: Store):
    await store.reserve(reserve("r1", "0.60"))
    statuses = [(await store.finalize(finalize("r1", actual))).status for actual in ("0.10", "0.10", "0.20")]
    assert statuses == [Status.FINALIZED, Status.ALREADY_FINALIZED, Status.ALREADY_FINALIZED]
    assert await figures(store) == ("0.10", "0.00")


async def test_f13_a_credit_reaches_every_worker(open_store: Callable[..., Store]):
    one, other = open_store(), open_store()
    await one.reserve(reserve("running", "0.20"))
    await one.finalize(finalize("r1", "1.00"))
    await one.adjust(adjust("credit", "-1.00"))
    assert await figures(other) == ("0.00", "0.20")
    assert (await other.reserve(reserve("r2", "0.80"))).admits


async def test_f13_a_turn_of_the_window_reaches_every_worker(open_store: Callable[..., Store], clock: MovableClock):
    one, other = open_store(), open_store()
    old = target(limit="1.00", period=Period.HOUR)
    await one.reserve(reserve("running", "0.20", old, lease_s=7200))
    await one.finalize(finalize("r1", "1.00", old))
    clock.move_to(old.window.ends_ms)
    new = target(limit="1.00", period=Period.HOUR, at_ms=clock.now_ms)
    assert await figures(other, new) == ("0.00", "0.00")
    assert (await other.reserve(reserve("r2", "1.00", new))).admits
    assert await figures(other, old) == ("1.00", "0.20")


@pytest.mark.parametrize(
    ("zone", "period", "starts", "ends"),
    [
        ("Asia/Tokyo", Period.DAY, "2026-11-17T15:00", "2026-11-18T15:00"),
        ("America/New_York", Period.DAY, "2026-03-08T05:00", "2026-03-09T04:00"),  # A day of 23 hours.
        ("America/New_York", Period.DAY, "2026-11-01T04:00", "2026-11-02T05:00"),  # And one of 25.
        ("UTC", Period.DAY, "2028-02-29T00:00", "2028-03-01T00:00"),
        ("UTC", Period.MONTH, "2028-02-01T00:00", "2028-03-01T00:00"),
        ("UTC", Period.MONTH, "2026-12-01T00:00", "2027-01-01T00:00"),
        ("Europe/Berlin", Period.MONTH, "2026-09-30T22:00", "2026-10-31T23:00"),
    ],
)
async def test_f14_a_budget_turns_with_its_window(store: Store, clock: MovableClock, *, zone, period, starts, ends):
    """Times are UTC. Spent in the first millisecond, refused to the last, admitted at the turn, and no sooner."""
    starts_ms, ends_ms = (round(datetime.fromisoformat(f"{text}Z").timestamp() * 1000) for text in (starts, ends))
    clock.move_to(starts_ms)
    old = target(limit="1.00", period=period, at_ms=starts_ms, timezone=ZoneInfo(zone))
    await store.finalize(finalize("r1", "1.00", old))
    clock.move_to(ends_ms - 1)
    assert target(limit="1.00", period=period, at_ms=clock.now_ms, timezone=ZoneInfo(zone)) == old
    assert (await store.reserve(reserve("r2", "1.00", old))).status is Status.REJECTED
    clock.move_to(ends_ms)
    assert (await store.reserve(reserve("r2", "1.00", old))).status is Status.STALE_WINDOW
    new = target(limit="1.00", period=period, at_ms=clock.now_ms, timezone=ZoneInfo(zone))
    assert (await store.reserve(reserve("r2", "1.00", new))).status is Status.RESERVED
    assert await figures(store, old) == ("1.00", "0.00")


@pytest.mark.parametrize("spent", ["1.00", "1.50"])
async def test_f15_a_free_model_stays_usable_when_the_budget_is_spent(store: Store, spent: str):
    await store.finalize(finalize("r1", spent))
    assert (await store.reserve(reserve("free", "0"))).admits
    await store.finalize(finalize("free", "0"))
    assert await figures(store) == (f"{spent}", "0.00")


@pytest.mark.proves("I6")
async def test_f19_of_eight_at_once_one_is_admitted(open_store: Callable[..., Store]):
    """As the first requests that the store ever saw, each through a worker of its own."""
    workers = [open_store() for _ in range(8)]
    answers = await asyncio.gather(
        *(worker.reserve(reserve(f"r{name}", "0.60")) for name, worker in enumerate(workers))
    )
    (admitted,) = [name for name, answer in enumerate(answers) if answer.admits]
    assert [answer.status for answer in answers].count(Status.REJECTED) == 7
    await workers[0].finalize(finalize(f"r{admitted}", "0.60"))
    assert await figures(workers[1]) == ("0.60", "0.00")


@pytest.mark.proves("I5")
async def test_f20_too_large_an_estimate_is_refused_whole(store: Store):
    await store.finalize(finalize("r1", "0.99"))
    answer = await store.reserve(reserve("r2", "5.00"))
    assert answer.rejection is not None
    assert not answer.rejection.is_held
    assert await figures(store) == ("0.99", "0.00")


@pytest.mark.proves("I8")
async def test_f21_a_failed_reserve_leaves_others_counters_alone(store: Store):
    await store.reserve(reserve("a", "0.50"))
    assert await is_held(store, "b", "0.60")
    assert await is_held(store, "c", "0.90")
    await store.finalize(finalize("a", "0.50"))
    assert await figures(store) == ("0.50", "0.00")


@pytest.mark.parametrize("make_store", ["server"], indirect=True)
async def test_f21_an_error_within_a_reserve_leaves_others_counters_alone(open_store: Callable[..., Store]):
    store = open_store()
    assert isinstance(store, ClockedRedisStore)
    await store.reserve(reserve("a", "0.50"))
    await store._client().hset(f"{store._prefix}r:b", "state", "spoilt")
    with pytest.raises(StoreRefused):
        await store.reserve(reserve("b", "0.10"))
    assert await is_held(store, "c", "0.90")
    await store.finalize(finalize("a", "0.50"))
    assert await figures(store) == ("0.50", "0.00")
    await audit(store)


async def test_f22_who_finalizes_late_is_booked_and_the_overrun_told(store: Store, clock: MovableClock):
    await store.reserve(reserve("a", "0.60", lease_s=30))
    clock.advance(s=30)
    assert (await reserve_decided(store, reserve("b", "0.90"))).admits
    late = await store.finalize(finalize("a", "0.60"))
    assert (late.status, late.balances[0].spent) == (Status.FINALIZED_LATE, 600_000_000)
    last = await store.finalize(finalize("b", "0.90"))
    assert await figures(store) == ("1.50", "0.00")
    (entry,) = last.entries
    assert entry.limit is not None
    assert entry.spent - entry.limit == 500_000_000


@pytest.mark.proves("I4")
async def test_f23_an_ending_books_in_the_window_of_its_reserve(store: Store, clock: MovableClock):
    old = target(limit="1.00", period=Period.HOUR)
    clock.move_to(old.window.ends_ms - 1)
    await store.reserve(reserve("a", "0.60", old))
    clock.advance(ms=1)
    new = target(limit="1.00", period=Period.HOUR, at_ms=clock.now_ms)
    await store.reserve(reserve("b", "0.80", new))
    await store.finalize(finalize("a", "0.10", new))
    await store.finalize(finalize("b", "0.80", new))
    assert await figures(store, new) == ("0.80", "0.00")
    assert await figures(store, old) == ("0.10", "0.00")


@pytest.mark.parametrize("make_store", ["server"], indirect=True)
async def test_f31_what_was_in_flight_when_the_store_was_emptied_is_booked(open_store: Callable[..., Store]):
    store = open_store()
    assert isinstance(store, ClockedRedisStore)
    for at in range(10):
        await store.reserve(reserve(f"r{at}", "0.10"))
    await store.forget_everything()
    await store._client().script_flush()
    for at in range(10):
        assert (await store.finalize(finalize(f"r{at}", "0.02"))).status is Status.FINALIZED_UNRESERVED
    assert await figures(store) == ("0.20", "0.00")
    assert (await store.reserve(reserve("new", "0.80"))).admits
    await audit(store)


@pytest.mark.proves("I5", "I6")
async def test_f32_one_account_of_three_refuses(store: Store):
    key, team, everyone = target(limit="5"), target("team:b", "10"), target("global", "100")
    await store.finalize(finalize("r1", "10", team))
    before = await whole_journal(store)
    answer = await store.reserve(reserve("r2", "0.60", key, team, everyone))
    assert answer.rejection is not None
    assert answer.rejection.target == team
    assert await figures(store, key) == ("0.00", "0.00")
    assert await figures(store, team) == ("10.00", "0.00")
    assert await figures(store, everyone) == ("0.00", "0.00")
    assert await whole_journal(store) == before
    assert {entry.op for entry in before} == {Op.FINALIZE}
