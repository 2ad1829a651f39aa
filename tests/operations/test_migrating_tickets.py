"""Tickets of jobs are handed over by a migration: found at the destination by their job, and booked once."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pytest

from budget_middleware.core.limits.grammar import parse_limits
from budget_middleware.core.model import Reservation
from budget_middleware.core.money import usd_from_nanos
from budget_middleware.core.statuses import State, Status
from budget_middleware.core.units import Amounts
from budget_middleware.ledger import Hold, Job, Ledger
from budget_middleware.ledger.jobs.tickets import tickets_of
from budget_middleware.operations.migrating import Migration, migrate
from budget_middleware.operations.migrating import migration as moving
from budget_middleware.operations.migrating import tickets as handing_over
from budget_middleware.stores.redis import RedisStore
from budget_middleware.testing import MovableClock
from tests.stores.audit import audit
from tests.stores.clocked import put_on

JOB = Job("openai-videos", "video_1")
DAY_S = 86_400
CENT = 10_000_000


@dataclass
class Two:
    """Two ledgers in one server, each with a gateway."""

    source: Ledger
    destination: Ledger
    asked: Migration

    async def figures(self, ledger: Ledger) -> tuple[str, str]:
        """Spent and reserved."""
        balances = [view.balance for view in await ledger.store.counters()]
        return usd_from_nanos(sum(each.spent for each in balances)), usd_from_nanos(
            sum(each.reserved for each in balances)
        )


@pytest.fixture
async def two(
    server_url: str, namespace: str, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Two]:
    put_on(clock, monkeypatch)
    monkeypatch.setattr(moving, "ROUND_S", 0.005)
    ledgers = [
        Ledger(
            RedisStore(server_url, namespace=name, timeout_s=10), limits=parse_limits("key=5/month"), store_timeout_s=10
        )
        for name in (namespace, f"{namespace}-new")
    ]
    yield Two(ledgers[0], ledgers[1], Migration(server_url, server_url, namespace, f"{namespace}-new", quiet_s=0.02))
    for ledger in ledgers:
        await audit(ledger.store)
        await ledger.drain()
        await ledger.store.aclose()


async def keep(ledger: Ledger, job: Job = JOB, *, cents: int = 60) -> Hold:
    hold = Hold({"key": "a"}, Amounts(usd=cents * CENT), expiry_charge=Amounts(usd=cents * CENT))
    assert (await ledger.reserve(hold)).status is Status.RESERVED
    assert await ledger.tickets.keep(hold, job, deadline_s=2 * DAY_S, details={"model": "film", "video_ms": 8_000})
    return hold


async def test_a_ticket_goes_on_at_the_destination_and_is_booked_there_once(two: Two):
    hold = await keep(two.source)
    assert (await migrate(two.asked)).is_equal
    assert await two.figures(two.source) == ("0.00", "0.00")
    assert await two.figures(two.destination) == ("0.00", "0.60")
    assert await two.source.tickets.find(JOB) is None
    found = await two.destination.tickets.find(JOB)
    assert found is not None
    assert found.ticket.details == {"model": "film", "video_ms": 8_000, "moved_from": hold.id}
    kept, moved = found.reservation, await two.source.store.reservation(hold.id)
    assert kept.expiry_charge == Amounts(usd=60 * CENT)
    assert abs(kept.deadline_ms - kept.created_ms - 2 * DAY_S * 1000) < 60_000
    assert moved is not None
    assert moved.state is State.RELEASED
    assert list(await tickets_of(two.destination.store, [kept.id])) == [kept.id]
    for _ in range(2):
        await two.destination.tickets.book(found, Amounts(usd=25 * CENT, requests=1), reason="usage")
        assert await two.figures(two.destination) == ("0.25", "0.00")


async def test_one_that_was_booked_before_is_not_handed_over(two: Two):
    await keep(two.source)
    found = await two.source.tickets.find(JOB)
    assert found is not None
    await two.source.tickets.book(found, Amounts(usd=25 * CENT, requests=1), reason="usage")
    assert (await migrate(two.asked)).is_equal
    assert await two.figures(two.destination) == ("0.25", "0.00")
    assert await two.destination.tickets.find(JOB) is None


def cut_off(*_: object, **__: object) -> None:
    raise RuntimeError("cut off")


CUTS = {"the reserve": (handing_over.TicketMove, "_keep_facts"), "its facts": (handing_over, "Release")}


@pytest.mark.parametrize("cut_after", CUTS)
async def test_a_hand_over_that_is_cut_off_is_done_again(two: Two, monkeypatch: pytest.MonkeyPatch, cut_after: str):
    await keep(two.source)
    with monkeypatch.context() as patched:
        patched.setattr(*(CUTS[cut_after]), cut_off)
        with pytest.raises(RuntimeError, match="cut off"):
            await migrate(two.asked)
    assert (await migrate(two.asked)).is_equal
    assert await two.figures(two.source) == ("0.00", "0.00")
    assert await two.figures(two.destination) == ("0.00", "0.60")


async def test_a_job_that_is_booked_at_the_source_in_the_midst_of_it_is_booked_once(
    two: Two, monkeypatch: pytest.MonkeyPatch
):
    await keep(two.source)
    keep_facts = handing_over.TicketMove._keep_facts

    async def book_meanwhile(self: handing_over.TicketMove, *arguments: object, **options: object) -> None:
        await keep_facts(self, *arguments, **options)  # type: ignore[arg-type]
        found = await two.source.tickets.find(JOB)
        assert found is not None
        await two.source.tickets.book(found, Amounts(usd=25 * CENT, requests=1), reason="usage")

    monkeypatch.setattr(handing_over.TicketMove, "_keep_facts", book_meanwhile)
    assert (await migrate(two.asked)).is_equal
    assert await two.figures(two.destination) == ("0.25", "0.00")
    assert await two.destination.tickets.find(JOB) is None


async def test_one_that_was_cut_off_and_booked_at_the_source_is_ended_by_the_next_run(
    two: Two, monkeypatch: pytest.MonkeyPatch
):
    await keep(two.source)
    with monkeypatch.context() as patched:
        patched.setattr(handing_over, "Release", cut_off)
        with pytest.raises(RuntimeError, match="cut off"):
            await migrate(two.asked)
    found = await two.source.tickets.find(JOB)
    assert found is not None
    await two.source.tickets.book(found, Amounts(usd=25 * CENT, requests=1), reason="usage")
    assert (await migrate(two.asked)).is_equal
    assert await two.figures(two.destination) == ("0.25", "0.00")
    assert await two.destination.tickets.find(JOB) is None


async def test_several_jobs_go_over(two: Two):
    for n in range(20):
        await keep(two.source, Job("openai-batches", f"batch_{n}"), cents=1)
    assert (await migrate(two.asked)).is_equal
    assert await two.figures(two.destination) == ("0.00", "0.20")
    for n in range(20):
        assert await two.destination.tickets.find(Job("openai-batches", f"batch_{n}")) is not None


async def test_what_files_plan_is_copied_and_tickets_are_not(two: Two):
    await keep(two.source)
    kept = {"file": '{"sums": [1]}', "training": "700", "output": "batch_1"}
    for name, text in kept.items():
        await two.source.tickets.keep_fact(name, text, keep_ms=DAY_S * 1000)
    await two.destination.tickets.keep_fact("output", "batch_2", keep_ms=DAY_S * 1000)
    assert (await migrate(two.asked)).is_equal
    found = {fact.name: fact for fact in await two.destination.store.all_facts()}
    assert {name: found[name].text for name in kept} == {**kept, "output": "batch_2"}
    assert DAY_S * 1000 - 60_000 < found["file"].left_ms <= DAY_S * 1000
    originals = {fact.text for fact in await two.source.store.all_facts()}
    tickets = [fact.text for name, fact in found.items() if name not in kept]
    assert len(tickets) == 2
    assert not originals.intersection(tickets)


async def test_what_is_uploaded_during_a_move_is_copied_at_its_end(two: Two, monkeypatch: pytest.MonkeyPatch):
    await keep(two.source)
    hand_over = handing_over.TicketMove.hand_over

    async def upload_meanwhile(self: handing_over.TicketMove, holds: Sequence[Reservation]) -> int:
        await two.source.tickets.keep_fact("late", "700", keep_ms=DAY_S * 1000)
        return await hand_over(self, holds)

    monkeypatch.setattr(handing_over.TicketMove, "hand_over", upload_meanwhile)
    assert (await migrate(two.asked)).is_equal
    assert await two.destination.tickets.fact("late") == "700"
