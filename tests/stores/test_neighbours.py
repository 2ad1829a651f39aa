"""Calls that one event loop makes at once: whatever becomes of one of them, each other gets the answer that is its own.

A client may send what a moment brings together. These tests hold for any client, for they know no other seam than
the Store protocol.
"""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from budget_middleware.core.answers import Answer
from budget_middleware.core.money import nanos_from_usd
from budget_middleware.core.statuses import Status
from budget_middleware.core.verbs import Release
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreRefused
from budget_middleware.stores.redis import RedisStore
from tests.stores.audit import audit
from tests.stores.verbs import figures, finalize, release, reserve, target

BATCH = 8
TURNS = range(24)
"""So many turns of the event loop pass before one is cancelled: enough to meet each of a call's own waits."""

Asking = list["asyncio.Task[Answer]"]

on_servers = pytest.mark.parametrize("make_store", ["server"], indirect=True)


def account(number: int):
    """Each call has an account, and so a balance, of its own: an answer shows whose it is."""
    return target(f"key:{number}", "1.00")


def ask(store: Store, numbers: Sequence[int]) -> Asking:
    return [
        asyncio.create_task(store.reserve(reserve(f"r{number}", f"0.{number:02}", account(number))))
        for number in numbers
    ]


async def assert_own(answers: dict[int, Answer]) -> None:
    for number, answer in answers.items():
        assert answer.status is Status.RESERVED
        assert [balance.reserved for balance in answer.balances] == [nanos_from_usd(f"0.{number:02}")]
        assert [entry.reservation_id for entry in answer.entries] == [f"r{number}"]


async def test_each_gets_its_own_answer(store: Store):
    numbers = range(1, 60)
    answers = await asyncio.gather(*ask(store, numbers))
    await assert_own(dict(zip(numbers, answers, strict=True)))


async def test_verbs_of_all_kinds_at_once(store: Store):
    await asyncio.gather(*ask(store, [1, 2]))
    calls = (
        store.reserve(reserve("r1", "0.02", account(1))),
        store.finalize(finalize("r1", "0.01", account(1))),
        store.finalize(finalize("r9", "0.01", account(9))),
        store.release(release("r2")),
        store.release(release("r8")),
        store.head(),
        store.reserve(reserve("r3", "5.00", account(3))),
    )
    answers = await asyncio.gather(*calls)
    assert [answer.status for answer in answers] == [
        Status.CONFLICT,
        Status.FINALIZED,
        Status.FINALIZED_UNRESERVED,
        Status.RELEASED,
        Status.RELEASED_UNKNOWN,
        Status.UNKNOWN,
        Status.REJECTED,
    ]


@pytest.mark.proves("I8")
@on_servers
@pytest.mark.parametrize("place", [0, BATCH // 2, BATCH - 1])
async def test_one_that_is_refused_is_refused_alone(open_store: Callable[[], RedisStore], place: int):
    store, numbers = open_store(), range(1, BATCH + 1)
    spoilt = numbers[place]
    counter = account(spoilt).counter
    await store._client().set(f"{store._prefix}c:{counter.name}", "not a hash")
    answers = await asyncio.gather(*ask(store, numbers), return_exceptions=True)
    assert isinstance(answers.pop(place), StoreRefused)
    await assert_own(dict(zip(_without(spoilt), answers, strict=True)))  # type: ignore[arg-type]


@on_servers
@pytest.mark.parametrize("place", [0, BATCH // 2, BATCH - 1])
async def test_one_that_cannot_even_be_sent_fails_alone(open_store: Callable[[], Store], place: int):
    store, numbers = open_store(), _without(BATCH)
    asking = ask(store, numbers[:place])
    unsendable = asyncio.create_task(store.release(Release("r8", reason="\ud800")))
    asking += ask(store, numbers[place:])
    with pytest.raises(StoreRefused):
        await unsendable
    await assert_own(dict(zip(numbers, await asyncio.gather(*asking), strict=True)))
    await audit(store)


@pytest.mark.proves("I8")
@pytest.mark.parametrize("place", [0, BATCH // 2, BATCH - 1])
async def test_one_that_is_cancelled_anywhere_goes_alone(store: Store, place: int):
    """At every turn of the loop until it is answered; the replies that follow are still those of their calls."""
    expected = 0
    for turn in TURNS:
        numbers = range(1, BATCH + 1)
        verbs = [reserve(f"{turn}-{number}", f"0.0{number}", target(f"key:{turn}-{number}")) for number in numbers]
        asking = [asyncio.create_task(store.reserve(verb)) for verb in verbs]
        for _ in range(turn):
            await asyncio.sleep(0)
        asking[place].cancel()
        await asyncio.wait(asking)
        for number, task in zip(numbers, asking, strict=True):
            if task is not asking[place]:
                assert task.result().status is Status.RESERVED
                assert task.result().entries[0].reservation_id == f"{turn}-{number}"
        # Whether it was applied is unknown to who gave up; the release of its id decides.
        again = await asyncio.gather(*(store.finalize(finalize(verb.id, "0.01", *verb.targets)) for verb in verbs))
        assert {answer.status for answer in again} <= {Status.FINALIZED, Status.FINALIZED_UNRESERVED}
        assert [answer.entries[0].reservation_id for answer in again] == [verb.id for verb in verbs]
        expected += BATCH
    views = await store.counters()
    assert sum(view.balance.spent for view in views) == expected * nanos_from_usd("0.01")


async def test_all_that_are_cancelled_leave_the_store_usable(store: Store):
    for turn in TURNS:
        asking = ask(store, range(1, BATCH + 1))
        for _ in range(turn):
            await asyncio.sleep(0)
        for task in asking:
            task.cancel()
        await asyncio.wait(asking)
        await asyncio.gather(*(store.release(release(f"r{number}")) for number in range(1, BATCH + 1)))
    assert await figures(store, account(1)) == ("0.00", "0.00")
    (answer,) = await asyncio.gather(*ask(store, [50]))
    await assert_own({50: answer})


def _without(left_out: int) -> list[int]:
    return [number for number in range(1, BATCH + 1) if number != left_out]
