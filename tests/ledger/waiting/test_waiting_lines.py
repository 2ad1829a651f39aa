"""Waiting for what is only held: who is woken by what, in which order, and how a wait ends.

Nobody asks without having been woken here, unless a test says so: `RETRY_S` is an hour.
"""

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from budget_middleware.core.answers import Answer
from budget_middleware.core.model import Balance
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts
from budget_middleware.ledger import CallerLeftError, Hold, Ledger, Terms
from budget_middleware.ledger.waiting import lines as waiting_lines
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.testing import Gate, MovableClock
from tests.ledger.conftest import OpenLedger, hold, nanos
from tests.ledger.faults import FaultyStore, refused, reply_held, reply_lost, request_lost
from tests.stores.clocked import ClockedRedisStore
from tests.stores.verbs import figures

LONG_S = 3600


class Client:
    """Who waits; `waits` is set once it does."""

    def __init__(self, at_most_s: float = LONG_S, *, priority: float = 0) -> None:
        self.waits = asyncio.Event()
        self.leave: Callable[[], None] = lambda: None
        self._terms = Terms(at_most_s, priority)

    def terms(self) -> Terms:
        return self._terms

    def has_room(self) -> bool:
        return True

    def watch(self, on_left: Callable[[], None]) -> Callable[[], None]:
        self.leave = on_left
        self.waits.set()
        return lambda: None


@pytest.fixture(autouse=True)
def _nobody_asks_unwoken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_lines, "RETRY_S", LONG_S)


async def held(ledger: Ledger, amount: str, *, key: str = "a") -> Hold:
    """What is in flight, and in the way of others."""
    taken = hold(amount, key=key)
    assert (await ledger.reserve(taken)).admits
    return taken


async def waiting(
    ledger: Ledger, amount: str = "0.60", *, client: Client | None = None
) -> tuple["asyncio.Task[Answer]", Hold]:
    """A reserve that waits."""
    client, wanted = client or Client(), hold(amount)
    task = asyncio.create_task(ledger.reserve(wanted, caller=client))
    seen = asyncio.create_task(client.waits.wait())
    await asyncio.wait({task, seen}, return_when=asyncio.FIRST_COMPLETED, timeout=30)
    assert not task.done(), "it was to wait"
    return task, wanted


async def end(ledger: Ledger, taken: Hold, actual: str = "0") -> None:
    assert await ledger.finalize(taken, actual=Amounts(usd=nanos(actual)))


async def soon(task: "asyncio.Task[Answer]") -> Answer:
    async with asyncio.timeout(30):
        return await task


@pytest.mark.proves("I6")
async def test_an_ending_of_this_worker_wakes_who_waits(base: Store, ledger: Ledger):
    first = await held(ledger, "0.60")
    task, wanted = await waiting(ledger)
    assert await figures(base) == ("0.00", "0.60")
    await end(ledger, first, "0.10")
    assert (await soon(task)).status is Status.RESERVED
    assert await figures(base) == ("0.10", "0.60")
    await end(ledger, wanted, "0.60")


async def test_an_ending_of_another_worker_wakes_who_waits(
    open_ledger: OpenLedger, server_url: str, namespace: str, clock: MovableClock
):
    stores = [FaultyStore(ClockedRedisStore(server_url, namespace=namespace, clock_ms=clock)) for _ in range(2)]
    one, other = [open_ledger(store=store.store) for store in stores]
    first = await held(one, "0.60")
    task, wanted = await waiting(other)
    # It asks once more when it has begun to listen: from then on the ending alone can wake it.
    async with asyncio.timeout(30):
        while stores[1].count("reserve") < 2:
            await asyncio.sleep(0.001)
    await end(one, first)
    assert (await soon(task)).admits
    await end(other, wanted)


async def test_a_worker_that_may_not_publish_loses_no_ending(
    open_ledger: OpenLedger, server_url: str, namespace: str, clock: MovableClock
):
    heard, user = FaultyStore(ClockedRedisStore(server_url, namespace=namespace, clock_ms=clock)), f"mute-{namespace}"
    client = cast(ClockedRedisStore, heard.inner)._client()
    await client.execute_command("ACL", "SETUSER", user, "on", ">secret", "~*", "resetchannels", "+@all")
    url = f"{server_url}?username={user}&password=secret"
    mute = open_ledger(store=ClockedRedisStore(url, namespace=namespace, clock_ms=clock))
    other = open_ledger(store=heard.store)
    first = await held(mute, "0.60")
    task, wanted = await waiting(other)
    async with asyncio.timeout(30):
        while heard.count("reserve") < 2:
            await asyncio.sleep(0.001)
    await end(mute, first)
    assert await figures(heard.inner) == ("0.00", "0.00")
    assert not task.done()
    # Whoever ends something on the account tells that worker.
    await end(other, await held(other, "0.10"))
    assert (await soon(task)).admits
    await end(other, wanted)
    await client.execute_command("ACL", "DELUSER", user)


async def test_who_waits_is_served_in_the_order_of_arrival(ledger: Ledger, faults: FaultyStore):
    first = await held(ledger, "0.60")
    tasks = [await waiting(ledger) for _ in range(3)]
    asked = faults.count("reserve")
    for task, wanted in tasks:
        await end(ledger, first)
        assert (await soon(task)).admits
        first = wanted
    assert not any(task.done() for task, _ in tasks[3:])
    # Each ending has one of them asked, and whoever comes next once more; a server tells of each ending again.
    assert faults.count("reserve") - asked <= 4 * len(tasks)
    await end(ledger, first)


async def test_who_comes_later_does_not_overtake_who_waits(base: Store, ledger: Ledger):
    first = await held(ledger, "0.60")
    large, _ = await waiting(ledger, "0.60")
    # It would fit beside the first one.
    small, _ = await waiting(ledger, "0.30")
    assert await figures(base) == ("0.00", "0.60")
    await end(ledger, first)
    assert (await soon(large)).admits
    assert (await soon(small)).admits
    assert await figures(base) == ("0.00", "0.90")


async def test_another_account_is_not_waited_for(ledger: Ledger):
    await held(ledger, "0.60")
    task, _ = await waiting(ledger)
    assert (await ledger.reserve(hold("0.60", key="b"), caller=Client())).admits
    task.cancel()


async def test_what_costs_nothing_never_waits(ledger: Ledger):
    await held(ledger, "0.60")
    task, _ = await waiting(ledger)
    assert (await ledger.reserve(hold("0"), caller=Client())).admits
    task.cancel()


async def test_a_higher_priority_is_served_first(ledger: Ledger):
    first = await held(ledger, "0.60")
    low, _ = await waiting(ledger, client=Client(priority=float("-inf")))
    usual, _ = await waiting(ledger)
    high, highest = await waiting(ledger, client=Client(priority=2))
    await end(ledger, first)
    assert (await soon(high)).admits
    assert not usual.done()
    await end(ledger, highest)
    assert (await soon(usual)).admits
    assert not low.done()
    low.cancel()


async def test_who_leaves_holds_nothing_and_lets_the_next_go(base: Store, ledger: Ledger, faults: FaultyStore):
    await held(ledger, "0.60")
    client = Client()
    large, _ = await waiting(ledger, "0.60", client=client)
    small, _ = await waiting(ledger, "0.30")
    asked = faults.count("reserve")
    client.leave()
    with pytest.raises(CallerLeftError):
        await soon(large)
    assert (await soon(small)).admits
    assert faults.count("reserve") == asked + 1
    assert faults.count("release") == 0
    assert await figures(base) == ("0.00", "0.90")


async def test_who_is_cancelled_holds_nothing(base: Store, ledger: Ledger):
    first = await held(ledger, "0.60")
    task, _ = await waiting(ledger)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await end(ledger, first)
    await ledger.drain()
    assert await figures(base) == ("0.00", "0.00")


async def test_the_refusal_after_a_wait_tells_todays_figures(ledger: Ledger):
    first = await held(ledger, "0.60")
    await held(ledger, "0.30")
    task, _ = await waiting(ledger, "0.90", client=Client(0.05))
    await end(ledger, first, "0.05")
    answer = await soon(task)
    assert answer.status is Status.REJECTED
    assert answer.rejection is not None
    assert answer.rejection.is_held
    assert answer.rejection.balance == Balance(nanos("0.05"), nanos("0.30"))


async def test_who_waits_behind_others_is_asked_for_at_its_deadline(ledger: Ledger):
    await held(ledger, "0.60")
    large, _ = await waiting(ledger, "0.60")
    assert (await soon((await waiting(ledger, "0.30", client=Client(0.05)))[0])).admits
    large.cancel()


async def test_a_time_of_nothing_is_no_wait(ledger: Ledger):
    await held(ledger, "0.60")
    answer = await ledger.reserve(hold("0.60"), caller=Client(0))
    assert answer.rejection is not None
    assert answer.rejection.is_held
    assert ledger.n_waiting == 0


async def test_what_becomes_spent_is_refused_at_once(ledger: Ledger):
    first = await held(ledger, "0.60")
    task, _ = await waiting(ledger)
    next_task, _ = await waiting(ledger, "0.30")
    await end(ledger, first, "0.60")
    answer = await soon(task)
    assert answer.rejection is not None
    assert not answer.rejection.is_held
    assert (await soon(next_task)).admits


async def test_too_many_are_refused_as_they_always_were(open_ledger: OpenLedger, faults: FaultyStore):
    ledger = open_ledger(wait_max=2)
    await held(ledger, "0.60")
    first, _ = await waiting(ledger)
    asked = faults.count("reserve")
    # One account takes half of the places.
    answer = await soon(asyncio.create_task(ledger.reserve(hold("0.60"), caller=Client())))
    assert answer.rejection is not None
    assert answer.rejection.is_held
    assert faults.count("reserve") == asked + 1
    assert ledger.n_waiting == 1
    first.cancel()


async def test_a_shutdown_ends_every_wait(open_ledger: OpenLedger, base: Store):
    ledger = open_ledger()
    first = await held(ledger, "0.60")
    tasks = [(await waiting(ledger))[0] for _ in range(3)]
    draining = asyncio.create_task(ledger.drain(timeout_s=60))
    for task in tasks:
        assert (await soon(task)).status is Status.REJECTED
    answer = await ledger.reserve(hold("0.60"), caller=Client())
    assert answer.status is Status.REJECTED
    await end(ledger, first)
    await draining
    assert await figures(base) == ("0.00", "0.00")


async def test_who_hears_nothing_asks_now_and_then(
    faults: FaultyStore, open_ledger: OpenLedger, base: Store, monkeypatch: pytest.MonkeyPatch
):
    """The subscription cannot be had, and another worker gives back: nobody else tells."""
    monkeypatch.setattr(waiting_lines, "RETRY_S", 0.01)
    faults.always["listen"] = refused
    one, other = open_ledger(), open_ledger(store=FaultyStore(base).store)
    first = await held(other, "0.60")
    task, _ = await waiting(one)
    behind, _ = await waiting(one)
    await end(other, first)
    assert (await soon(task)).admits
    assert not behind.done()
    behind.cancel()


async def test_only_the_first_asks_now_and_then(faults: FaultyStore, ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    await held(ledger, "0.60")
    tasks = [(await waiting(ledger))[0] for _ in range(20)]
    # All but the first have never asked.
    assert faults.count("reserve") <= 4
    for task in tasks:
        task.cancel()


async def test_an_ending_while_it_is_asked_is_not_missed(ledger: Ledger, faults: FaultyStore):
    """It was refused by what stood before, and hears of it after the ending."""
    one, two = await held(ledger, "0.60"), await held(ledger, "0.40")
    task, _ = await waiting(ledger, "0.90")
    gate = Gate()
    faults.meets("reserve", reply_held(gate))
    await end(ledger, two)
    await gate.reached()
    await end(ledger, one)
    gate.open()
    assert (await soon(task)).admits


async def test_a_lost_reply_leaves_nothing_behind(base: Store, ledger: Ledger, faults: FaultyStore):
    first = await held(ledger, "0.60")
    client = Client()
    task, wanted = await waiting(ledger, client=client)
    faults.meets("reserve", reply_lost)
    await end(ledger, first)
    answer = await soon(task)
    assert answer.admits, "the repeat finds what the first attempt had made"
    await end(ledger, wanted)
    assert await figures(base) == ("0.00", "0.00")


async def test_a_store_that_goes_away_ends_the_wait(open_ledger: OpenLedger, faults: FaultyStore, base: Store):
    ledger = open_ledger(store_timeout_s=0.2)
    first = await held(ledger, "0.60")
    task, wanted = await waiting(ledger)
    faults.always["reserve"] = request_lost
    await end(ledger, first)
    with pytest.raises(StoreUnavailable):
        await soon(task)
    ledger.abandon(wanted, reason="store away")
    await ledger.drain()
    assert await figures(base) == ("0.00", "0.00")
