"""A ledger over shards: each is monitored by itself, and every change on each of them has its span."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from budget_middleware.core.limits.grammar import parse_limits
from budget_middleware.core.model import Balance
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts
from budget_middleware.ledger import Hold, Job, Ledger
from budget_middleware.stores.journals import journals_of
from budget_middleware.stores.sharded.shard_map import MAIN, ShardMap
from budget_middleware.stores.sharded.store import ShardedStore
from budget_middleware.testing import MovableClock
from tests.ledger.conftest import drain, nanos
from tests.stores.audit import audit
from tests.stores.shards import FaultyShard, opener_of_memory_shards
from tests.telemetry.conftest import Spans, UseProvider, use_provider  # noqa: F401 - its providers serve here too

SHARDS = ShardMap("team", 4)
OWN = SHARDS.shard_of("search")
LIMITS = "key=1/month; team=9/month; global=5/month"

OpenLedger = Callable[..., Ledger]


@pytest.fixture
def shards(clock: MovableClock) -> dict[str, FaultyShard]:
    """Those of the test, which all ledgers share."""
    opener = opener_of_memory_shards(clock)
    return {name: FaultyShard(opener(None, name)) for name in SHARDS.names}


@pytest.fixture
async def open_ledger(shards: dict[str, FaultyShard]) -> AsyncIterator[OpenLedger]:
    opened: list[Ledger] = []

    def open_one(**options: Any) -> Ledger:
        store: Any = ShardedStore(SHARDS, lambda name: shards[name])  # type: ignore[arg-type, return-value]
        opened.append(Ledger(store, limits=parse_limits(LIMITS), store_timeout_s=5, **options))
        return opened[-1]

    yield open_one
    for ledger in opened:
        await drain(ledger)
    await audit(opened[0].store)


def hold(amount: str = "0.40", *, team: str = "search") -> Hold:
    return Hold({"key": "a", "team": team}, Amounts(usd=nanos(amount)))


async def figures(ledger: Ledger) -> dict[str, Balance]:
    return {view.counter.account: view.balance for view in await ledger.store.counters()}


async def test_a_request_is_held_and_booked_on_all_its_shards(open_ledger: OpenLedger):
    ledger, held = open_ledger(), hold()
    assert (await ledger.reserve(held)).status is Status.RESERVED
    assert await ledger.finalize(held, actual=Amounts(usd=nanos("0.10")))
    assert await figures(ledger) == dict.fromkeys(("key:a", "team:search", "global"), Balance(nanos("0.10"), 0))


@pytest.mark.parametrize("arrives", [True, False])
@pytest.mark.parametrize("shard", [OWN, MAIN])
@pytest.mark.proves("I4", "I8")
async def test_a_lost_call_to_one_shard_costs_nothing(
    open_ledger: OpenLedger, shards: dict[str, FaultyShard], shard: str, *, arrives: bool
):
    ledger, held = open_ledger(), hold()
    shards[shard].next_lost |= {"reserve": arrives, "finalize": arrives}
    assert (await ledger.reserve(held)).admits
    await ledger.finalize(held, actual=Amounts(usd=nanos("0.10")))
    assert await figures(ledger) == dict.fromkeys(("key:a", "team:search", "global"), Balance(nanos("0.10"), 0))


@pytest.mark.proves("I5")
async def test_a_refusal_after_a_lost_answer_leaves_nothing_held(
    open_ledger: OpenLedger, shards: dict[str, FaultyShard]
):
    ledger, other = open_ledger(), open_ledger()
    blocking = [hold("0.95", team=f"t{number}") for number in range(5)]
    for number, each in enumerate(blocking):
        each.payers = {"key": f"k{number}", "team": f"t{number}"}
        assert (await other.reserve(each)).admits
    refused = hold("0.40")
    shards[OWN].next_lost["reserve"] = True
    answer = await ledger.reserve(refused)
    assert (answer.status, answer.rejection and answer.rejection.target.account) == (Status.REJECTED, "global")
    for each in blocking:
        await other.release(each)
    assert all(balance == Balance() for balance in (await figures(ledger)).values())


@pytest.mark.parametrize("shard", [OWN, MAIN])
async def test_what_one_shard_lost_is_booked_again_there(
    open_ledger: OpenLedger, shards: dict[str, FaultyShard], clock: MovableClock, shard: str
):
    ledger = open_ledger()
    for _ in range(3):
        held = hold("0.10")
        await ledger.reserve(held)
        await ledger.finalize(held, actual=Amounts(usd=nanos("0.10")))
    await shards[shard].empty(clock)
    await ledger.sweep()
    async with asyncio.timeout(30):
        while len(await figures(ledger)) < 3:
            await asyncio.sleep(0)
        await ledger._tasks.drain(timeout_s=10)
    assert await figures(ledger) == dict.fromkeys(("key:a", "team:search", "global"), Balance(nanos("0.30"), 0))


@pytest.mark.parametrize("lost", ["", "reserve", "finalize"])
@pytest.mark.proves("I9")
async def test_each_entry_of_each_shard_has_one_span(
    open_ledger: OpenLedger,
    shards: dict[str, FaultyShard],
    use_provider: UseProvider,  # noqa: F811 - the fixture
    lost: str,
):
    spans: Spans = use_provider()
    ledger = open_ledger()
    if lost:
        shards[MAIN].next_lost[lost] = True
    held = hold()
    await ledger.reserve(held)
    await ledger.finalize(held, actual=Amounts(usd=nanos("0.10")))
    # One that the main shard refuses, and that its own gives back.
    for number in range(5):
        await ledger.reserve(Hold({"key": f"k{number}", "team": "ads"}, Amounts(usd=nanos("0.96"))))
    refused = Hold({"key": "k9", "team": "search"}, Amounts(usd=nanos("0.50")))
    assert (await ledger.reserve(refused)).status is Status.REJECTED
    await ledger._serve_loop()
    await ledger._tasks.drain(timeout_s=10)
    written: Counter[tuple[Any, Any]] = Counter()
    for name, journal in (await journals_of(ledger.store)).items():
        written.update((name, entry.seq) for entry in await journal.journal(after_seq=0, count=100) if entry.trace)
    shown = Counter(
        (span.attributes["budget.journal.shard"], span.attributes["budget.journal.seq"])
        for span in spans()
        if span.name == "budget.counter" and span.attributes
    )
    assert shown == written


async def test_a_ticket_has_its_parts_on_their_shards_and_any_worker_books_it(
    open_ledger: OpenLedger, clock: MovableClock
):
    creator, job = open_ledger(), Job("openai-batches", "batch_1")
    held = hold()
    await creator.reserve(held)
    assert await creator.tickets.keep(held, job, deadline_s=86_400)
    clock.advance(s=86_399)
    worker = open_ledger()
    await worker.sweep()
    assert {balance.reserved for balance in (await figures(worker)).values()} == {nanos("0.40")}
    found = await worker.tickets.find(job)
    assert found is not None
    await worker.tickets.book(found, Amounts(usd=nanos("0.10")), reason="usage")
    booked = await figures(worker)
    assert len(booked) == 3
    assert set(booked.values()) == {Balance(nanos("0.10"), 0)}
    assert await open_ledger().tickets.find(job) is None


async def test_heartbeats_read_the_journals_of_all_shards_once_for_each_change(open_ledger: OpenLedger):
    ledger, held = open_ledger(), hold()
    await ledger.reserve(held)
    await ledger._serve_loop()
    read = ledger._latest
    await ledger._serve_loop()
    assert {entry.shard for entry in read} > {OWN}
    assert ledger._latest is read
    await ledger.release(held)
