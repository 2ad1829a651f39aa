"""An adjust with ``as_of`` says what all adjustments of its id come to: the later amount stands, in any order."""

from collections.abc import Callable
from itertools import permutations

import pytest

from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import Period
from budget_middleware.stores.base import Store
from budget_middleware.stores.retention import Retention
from budget_middleware.testing import MovableClock
from tests.stores.audit import audit_report
from tests.stores.verbs import DAY_MS, adjust, figures, finalize, target, transfer, whole_journal

SHORT = Retention(remember_ms=100_000, counters_ms=2 * DAY_MS)


@pytest.mark.proves("I9", "I10")
async def test_the_difference_to_what_is_known_is_booked(store: Store):
    for as_of, amount in ((3, "0.30"), (7, "0.50"), (9, "0.20")):
        assert (await store.adjust(adjust("s", amount, as_of=as_of))).status is Status.ADJUSTED
    assert await figures(store) == ("0.20", "0.00")
    assert [entry.spent_delta for entry in await whole_journal(store)] == [300_000_000, 200_000_000, -300_000_000]
    [view] = await store.counters()
    assert view.adjusted == 200_000_000


@pytest.mark.proves("I10")
@pytest.mark.parametrize("order", list(permutations((3, 7, 9))), ids=str)
async def test_late_copies_of_earlier_amounts_change_nothing(store: Store, order: tuple[int, ...]):
    amounts = {3: "0.30", 7: "0.50", 9: "0.20"}
    for as_of in (*order, *order):
        await store.adjust(adjust("s", amounts[as_of], as_of=as_of))
    assert await figures(store) == ("0.20", "0.00")


async def test_the_same_as_of_is_a_duplicate_and_the_same_amount_writes_nothing(store: Store):
    first = await store.adjust(adjust("s", "0.30", as_of=3))
    assert (await store.adjust(adjust("s", "0.40", as_of=3))).status is Status.DUPLICATE
    again = await store.adjust(adjust("s", "0.30", as_of=4))
    assert (again.status, again.written, again.seq) == (Status.ADJUSTED, 0, first.seq)


async def test_it_adds_to_what_others_book(store: Store):
    await store.adjust(adjust("s", "0.30", as_of=3))
    await store.finalize(finalize("r1", "0.10"))
    await store.adjust(adjust("a1", "-0.40"))
    assert await figures(store) == ("0.00", "0.00")
    await store.adjust(adjust("s", "0.35", as_of=5))
    assert await figures(store) == ("0.05", "0.00")
    assert (await audit_report(store)).drift == ()


async def test_an_id_stands_for_one_counter_and_one_kind_of_adjustment(store: Store):
    day, month = target(period=Period.DAY), target()
    await store.adjust(adjust("s", "0.30", month, as_of=3))
    for other in (
        adjust("s", "0.30", day, as_of=4),
        adjust("s", "0.30", target("key:b"), as_of=4),
        adjust("s", "0.30", month),
    ):
        assert (await store.adjust(other)).status is Status.CONFLICT
    assert (await store.transfer(transfer("s", "0.30", month, target("key:b")))).status is Status.CONFLICT
    await store.adjust(adjust("a", "0.10"))
    assert (await store.adjust(adjust("a", "0.10", as_of=1))).status is Status.CONFLICT
    assert await figures(store) == ("0.40", "0.00")


async def test_other_units(store: Store):
    tokens = target("team:a", unit=Unit.TOKENS)
    await store.adjust(adjust("s", "0 812", tokens, as_of=3))
    await store.adjust(adjust("s", "0 900", tokens, as_of=4))
    [view] = await store.counters("team:a")
    assert (view.counter.unit, view.balance.spent) == (Unit.TOKENS, 900)


@pytest.mark.parametrize("make_store", ["memory", "sqlite", "postgres"], indirect=True)
async def test_it_is_remembered_as_long_as_its_counter(open_store: Callable[..., Store], clock: MovableClock):
    store = open_store(SHORT)
    day, total = target(period=Period.DAY), target(period=Period.TOTAL)
    for name, each in (("day", day), ("total", total)):
        await store.adjust(adjust(name, "0.30", each, as_of=3))
    clock.advance(ms=2 * DAY_MS)
    for name, each in (("day", day), ("total", total)):
        assert (await store.adjust(adjust(name, "0.50", each, any_window=True, as_of=5))).written == 1
    assert {view.balance.spent for view in await store.counters()} == {500_000_000}
    clock.advance(ms=400 * DAY_MS)
    await store.adjust(adjust("total", "0.60", total, as_of=6))
    [view] = await store.counters()
    assert view.balance.spent == 600_000_000


@pytest.mark.parametrize("make_store", ["server"], indirect=True)
async def test_its_key_lasts_as_long_as_its_counter(open_store: Callable[..., Store]):
    store = open_store(SHORT)
    for name, each in (("day", target(period=Period.DAY)), ("total", target(period=Period.TOTAL))):
        await store.adjust(adjust(name, "0.30", each, as_of=3))
    client, prefix = store._client(), store._prefix  # type: ignore[attr-defined]
    assert await client.pttl(f"{prefix}a:total") == -1
    of_record = await client.pttl(f"{prefix}a:day")
    of_counter = await client.pttl(f"{prefix}c:{target(period=Period.DAY).counter.name}")
    assert of_record >= of_counter > 2 * DAY_MS
