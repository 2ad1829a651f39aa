"""Tickets: reservations without an owner, found by their job at any worker, and booked once whoever asks."""

import asyncio

from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts
from budget_middleware.ledger import Hold, Job, Ledger
from budget_middleware.ledger.jobs.tickets import tickets_of
from budget_middleware.stores.base import Store
from budget_middleware.testing import MovableClock
from tests.stores.conftest import OpenLedger
from tests.stores.verbs import figures, whole_journal

JOB = Job("openai-batches", "batch_1")
DAY_S = 86_400
CENT = 10_000_000


async def keep(ledger: Ledger, *, job: Job = JOB, cents: int = 60, charge_cents: int = 60) -> Hold:
    hold = Hold({"key": "a"}, Amounts(usd=cents * CENT), expiry_charge=Amounts(usd=charge_cents * CENT))
    assert (await ledger.reserve(hold)).status is Status.RESERVED
    assert await ledger.tickets.keep(hold, job, deadline_s=2 * DAY_S, details={"model": "plain"})
    return hold


async def test_it_holds_long_after_leases_and_no_worker_owns_it(
    open_worker: OpenLedger, store: Store, clock: MovableClock
):
    creator = open_worker()
    hold = await keep(creator)
    await creator.drain()
    clock.advance(s=2 * DAY_S - 1)
    other = open_worker()
    await other.sweep()
    assert await figures(store) == ("0.00", "0.60")
    found = await other.tickets.find(JOB)
    assert found is not None
    assert (found.reservation.id, found.ticket.details) == (hold.id, {"model": "plain"})


async def test_its_cost_is_booked_once_whoever_asks(open_worker: OpenLedger, store: Store):
    creator = open_worker()
    await keep(creator)
    workers = [open_worker() for _ in range(4)]
    found = await asyncio.gather(*(worker.tickets.find(JOB) for worker in workers))
    booked = [
        worker.tickets.book(each, Amounts(usd=cents * CENT), reason="usage")
        for worker, each, cents in zip(workers, found, (10, 10, 20, 30), strict=True)
        if each is not None
    ]
    answers = await asyncio.gather(*booked)
    assert [answer.status for answer in answers if answer].count(Status.FINALIZED) == 1
    spent, reserved = await figures(store)
    assert (spent in {"0.10", "0.20", "0.30"}, reserved) == (True, "0.00")
    assert await open_worker().tickets.find(JOB) is None
    (entry,) = [entry for entry in await whole_journal(store) if entry.status is Status.FINALIZED]
    assert entry.reason == "usage, job batch_1"


async def test_a_cost_beyond_what_is_held_is_booked_whole(open_worker: OpenLedger, store: Store):
    await keep(open_worker(), cents=1)
    worker = open_worker()
    found = await worker.tickets.find(JOB)
    assert found is not None
    await worker.tickets.book(found, Amounts(usd=250 * CENT), reason="usage")
    assert await figures(store) == ("2.50", "0.00")


async def test_a_job_that_vanishes_is_charged_at_its_deadline_and_corrected_if_it_comes_back(
    open_worker: OpenLedger, store: Store, clock: MovableClock
):
    await keep(open_worker(), charge_cents=40)
    clock.advance(s=2 * DAY_S)
    worker = open_worker()
    await worker.sweep()
    assert await figures(store) == ("0.40", "0.00")
    clock.advance(s=DAY_S // 2)
    found = await worker.tickets.find(JOB)
    assert found is not None
    await worker.tickets.book(found, Amounts(usd=10 * CENT), reason="usage")
    assert await figures(store) == ("0.10", "0.00")


async def test_of_two_tickets_for_one_job_the_first_counts(open_worker: OpenLedger, store: Store):
    first = await keep(open_worker(), cents=20)
    other = open_worker()
    second = Hold({"key": "a"}, Amounts(usd=30 * CENT))
    await other.reserve(second)
    assert not await other.tickets.keep(second, JOB, deadline_s=DAY_S)
    await other.finalize(second, actual=second.asked)
    found = await other.tickets.find(JOB)
    assert found is not None
    assert found.reservation.id == first.id
    assert await figures(store) == ("0.30", "0.20")


async def test_what_has_expired_before_is_no_ticket(open_worker: OpenLedger, store: Store, clock: MovableClock):
    ledger = open_worker()
    hold = Hold({"key": "a"}, Amounts(usd=30 * CENT))
    await ledger.reserve(hold)
    clock.advance(s=61)
    await ledger.sweep()
    assert not await ledger.tickets.keep(hold, JOB, deadline_s=DAY_S)
    await ledger.finalize(hold, actual=hold.asked)
    assert await figures(store) == ("0.30", "0.00")


async def test_a_heartbeat_that_comes_late_does_not_shorten_it(
    open_worker: OpenLedger, store: Store, clock: MovableClock
):
    ledger = open_worker()
    hold = await keep(ledger)
    await ledger._expiries.extend(hold)
    clock.advance(s=DAY_S)
    await ledger.sweep()
    assert await figures(store) == ("0.00", "0.60")


async def test_an_operator_releases_it_and_a_late_usage_is_booked_all_the_same(open_worker: OpenLedger, store: Store):
    ledger = open_worker()
    hold = await keep(ledger)
    assert (await ledger.expire(hold.id, reason="stuck")).status is Status.EXPIRED
    assert await figures(store) == ("0.00", "0.00")
    found = await ledger.tickets.find(JOB)
    assert found is not None
    await ledger.tickets.book(found, Amounts(usd=10 * CENT), reason="usage")
    assert await figures(store) == ("0.10", "0.00")


async def test_operators_see_the_job_but_never_a_secret(open_worker: OpenLedger, store: Store):
    ledger = open_worker()
    shown = await keep(ledger, cents=10)
    secret = await keep(ledger, job=Job("openai-realtime", "ek_secret", shown="sess_1"), cents=10)
    tickets = await tickets_of(store, [shown.id, secret.id, "0" * 32])
    assert {id_: ticket.job for id_, ticket in tickets.items()} == {shown.id: "batch_1", secret.id: "sess_1"}
    assert await ledger.tickets.find(Job("openai-realtime", "ek_secret")) is not None
    assert await ledger.tickets.find(Job("openai-realtime", "sess_1")) is None


async def test_its_counters_outlive_their_windows_as_long_as_it_holds(
    open_worker: OpenLedger, store: Store, clock: MovableClock
):
    """A day's counter is forgotten after 35 days; a deadline may be later than that."""
    ledger = open_worker()
    hold = Hold({"key": "a"}, Amounts(usd=60 * CENT))
    await ledger.reserve(hold)
    assert await ledger.tickets.keep(hold, JOB, deadline_s=60 * DAY_S)
    clock.advance(s=59 * DAY_S)
    other = open_worker()
    await other.sweep()
    found = await other.tickets.find(JOB)
    assert found is not None
    assert await figures(store) == ("0.00", "0.60")
    await other.tickets.book(found, Amounts(usd=10 * CENT), reason="usage")
    assert await figures(store) == ("0.10", "0.00")
