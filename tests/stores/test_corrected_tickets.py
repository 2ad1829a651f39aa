"""What is kept beside a ticket, and how it is corrected when its deadline is over, on each store."""

import asyncio

import pytest

from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts
from budget_middleware.ledger import Hold, Job, Ledger, OpenTicket
from budget_middleware.stores.base import Store
from budget_middleware.testing import MovableClock
from tests.stores.conftest import OpenLedger
from tests.stores.verbs import figures

JOB = Job("openai-realtime-direct", "rtc_1")
HOUR_S = 3_600
CENT = 10_000_000


@pytest.fixture
def open_worker(open_worker: OpenLedger) -> OpenLedger:
    """As ever, but ten cents are booked for a call at its deadline."""

    def open_one() -> Ledger:
        ledger = open_worker()

        async def correct(found: OpenTicket) -> None:
            await ledger.tickets.book(found, Amounts(usd=10 * CENT), reason="corrected")

        ledger.tickets.at_deadline[JOB.api] = correct
        return ledger

    return open_one


async def keep(ledger: Ledger, job: Job) -> None:
    hold = Hold({"key": "a"}, Amounts(usd=60 * CENT), expiry_charge=Amounts(usd=40 * CENT))
    assert (await ledger.reserve(hold)).status is Status.RESERVED
    assert await ledger.tickets.keep(hold, job, deadline_s=HOUR_S)


async def test_of_changes_at_once_none_is_lost(open_worker: OpenLedger):
    workers = [open_worker() for _ in range(6)]

    async def add(number: int) -> None:
        def with_number(text: str | None) -> str:
            return f"{text or ''}{number}"

        await workers[number].job_texts.change(JOB, with_number, keep_ms=HOUR_S * 1_000)

    await asyncio.gather(*map(add, range(6)))
    assert sorted(await workers[0].job_texts.text(JOB) or "") == list("012345")
    assert await workers[0].job_texts.text(Job(JOB.api, "rtc_2")) is None


async def test_whoever_expires_a_ticket_has_it_corrected(open_worker: OpenLedger, store: Store, clock: MovableClock):
    await keep(open_worker(), JOB)
    clock.advance(s=HOUR_S)
    worker = open_worker()
    await worker.sweep()
    await worker.drain()
    assert await figures(store) == ("0.10", "0.00")


async def test_so_does_whose_reserve_expires_it_in_passing(open_worker: OpenLedger, store: Store, clock: MovableClock):
    await keep(open_worker(), JOB)
    clock.advance(s=HOUR_S)
    worker, hold = open_worker(), Hold({"key": "a"}, Amounts(usd=50 * CENT))
    assert (await worker.reserve(hold)).status is Status.RESERVED
    worker.release(hold, reason="not needed")
    await worker.drain()
    assert await figures(store) == ("0.10", "0.00")


async def test_a_ticket_of_another_api_stays_as_it_was_booked(
    open_worker: OpenLedger, store: Store, clock: MovableClock
):
    await keep(open_worker(), Job("openai-batches", "batch_1"))
    clock.advance(s=HOUR_S)
    worker = open_worker()
    await worker.sweep()
    await worker.drain()
    assert await figures(store) == ("0.40", "0.00")
