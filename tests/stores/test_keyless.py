"""Requests that the app answers with 401 or 403 leave nothing for long (F56)."""

from collections.abc import Callable

import pytest

from budget_middleware.core.model import Balance
from budget_middleware.core.statuses import Status
from budget_middleware.core.verbs import Expire, Extend, Repair
from budget_middleware.core.windows import Period
from budget_middleware.stores.base import Store
from budget_middleware.stores.retention import RELEASED_MS, Retention
from budget_middleware.testing import MovableClock
from tests.stores.by_hand import change_by_hand
from tests.stores.verbs import KEY, Verb, adjust, figures, finalize, release, reserve, send, target

TOTAL = target("key:a", period=Period.TOTAL)

in_memory = pytest.mark.parametrize("make_store", ["memory"], indirect=True)

COMES_TO_NOTHING: dict[str, list[Verb]] = {
    "released": [release("r1")],
    "finalized with 0": [finalize("r1", "0")],
    "expired by an operator": [Expire("r1")],
    "expired, then finalized with 0": [Expire("r1"), finalize("r1", "0")],
    "expired, then released": [Expire("r1"), release("r1")],
    "a credit and its opposite": [
        release("r1"),
        adjust("a1", "-0.10", KEY, TOTAL),
        adjust("a2", "0.10", KEY, TOTAL),
    ],
    "an adjustment of 0": [adjust("a1", "0", KEY, TOTAL), release("r1")],
}


@pytest.mark.parametrize("amount", ["0.60", "0"])
@pytest.mark.parametrize("endings", COMES_TO_NOTHING.values(), ids=COMES_TO_NOTHING)
async def test_f56_a_counter_that_is_back_at_nothing_is_dropped(store: Store, endings: list[Verb], amount: str):
    await store.reserve(reserve("r1", amount, KEY, TOTAL))
    for verb in endings:
        await send(store, verb)
    assert await store.counters() == []
    # It begins again from 0, which is what it was.
    await store.reserve(reserve("r2", "0.60", KEY, TOTAL))
    assert (await store.finalize(finalize("r2", "0.10"))).balances == (Balance(100_000_000, 0),) * 2
    assert await figures(store, TOTAL) == ("0.10", "0.00")


async def test_f56_a_counter_that_shows_something_is_kept(store: Store):
    team = target("team:b")
    await store.reserve(reserve("r1", "0.60", KEY))
    await store.reserve(reserve("r2", "0.60", team, enforce=False))
    # 0.10 spent and credited: what was adjusted is something.
    await store.finalize(finalize("r3", "0.10", team))
    await store.release(release("r2"))
    await store.adjust(adjust("a1", "-0.10", team))
    assert [view.counter.account for view in await store.counters()] == ["key:a", "team:b"]
    assert (await figures(store), await figures(store, team)) == (("0.00", "0.60"), ("0.00", "0.00"))


async def test_f56_what_is_pending_keeps_a_counter_also_at_0(store: Store):
    await store.reserve(reserve("free", "0"))
    await store.reserve(reserve("r1", "0.60"))
    await store.release(release("r1"))
    await store.finalize(finalize("free", "0.10"))
    assert await figures(store) == ("0.10", "0.00")


async def test_f56_a_repaired_counter_is_kept(store: Store):
    """It knows up to which seq it was repaired: of two operators at once, one repairs."""
    await store.reserve(reserve("r1", "0.60"))
    await store.release(release("r1"))
    await change_by_hand(store, KEY.counter, spent=7)
    found_at_seq = (await store.head()).seq
    assert (await store.repair(Repair("first", KEY, -7, found_at_seq))).status is Status.REPAIRED
    await store.reserve(reserve("r2", "0.60"))
    await store.release(release("r2"))
    assert (await store.repair(Repair("second", KEY, -7, found_at_seq))).status is Status.DUPLICATE
    assert await figures(store) == ("0.00", "0.00")


@in_memory
@pytest.mark.parametrize("is_known", [True, False], ids=["released", "released_unknown"])
async def test_f56_an_id_that_came_to_nothing_is_remembered_as_long_as_its_reserve_may_be_late(
    open_store: Callable[..., Store], clock: MovableClock, is_known: bool
):
    store = open_store(Retention())
    if is_known:
        await store.reserve(reserve("r1", "0.60"))
    await store.release(release("r1"))
    clock.advance(ms=RELEASED_MS - 1)
    late = await store.reserve(reserve("r1", "0.60"))
    assert (late.status, late.admits) == (Status.DUPLICATE, False)
    clock.advance(ms=1)
    # Forgotten, and nothing that its owner may still send changes a counter.
    assert (await store.extend(Extend("r1", lease_ms=1000))).status is Status.UNKNOWN
    again = await store.release(release("r1", age_ms=RELEASED_MS))
    assert (again.status, again.written, await store.counters()) == (Status.RELEASED_UNKNOWN, 0, [])


async def test_a_counter_back_at_nothing_is_dropped_though_nothing_is_held_on_it(store: Store):
    """A hold of nothing shows nothing: a counter that is not there reads the same."""
    await store.reserve(reserve("r1", "0"))
    await store.reserve(reserve("r2", "0.10"))
    await store.release(release("r2"))
    assert await store.counters() == []
    assert (await store.finalize(finalize("r1", "0.02"))).status is Status.FINALIZED
    assert [view.counter for view in await store.counters()] == [KEY.counter]
