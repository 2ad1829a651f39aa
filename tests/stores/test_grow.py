"""Grow: an answer that outgrows its hold holds more, whatever the limit, and nothing else about it changes."""

import pytest

from budget_middleware.core.model import Balance
from budget_middleware.core.statuses import Op, Status
from budget_middleware.core.units import Unit
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreRefused
from budget_middleware.testing import MovableClock
from tests.stores.audit import audit, audit_report
from tests.stores.by_hand import change_by_hand
from tests.stores.verbs import (
    KEY,
    START_MS,
    amounts,
    figures,
    finalize,
    grow,
    release,
    reserve,
    target,
    whole_journal,
)

TEAM_TOKENS = target("team:b", unit=Unit.TOKENS)
BOTH = (KEY, TEAM_TOKENS)


@pytest.fixture(autouse=True)
async def audited(store: Store):
    yield
    await audit(store)
    assert (await audit_report(store)).drift == ()
    assert await store.damage() == []


@pytest.mark.proves("I10")
async def test_what_is_held_is_the_largest_that_was_told_in_whichever_order(store: Store):
    await store.reserve(reserve("r1", "0.10"))
    for to, held in (("0.20", "0.20"), ("0.80", "0.80"), ("0.40", "0.80"), ("0.10", "0.80"), ("0", "0.80")):
        assert (await store.grow(grow("r1", to))).status is Status.GROWN
        assert await figures(store) == ("0.00", held)


@pytest.mark.proves("I6")
async def test_no_limit_refuses_it_and_nobody_new_is_admitted_meanwhile(store: Store):
    await store.reserve(reserve("r1", "0.90"))
    answer = await store.grow(grow("r1", "1.30"))
    # Whoever asks sees by it that the limit of 1.00 is passed.
    assert (answer.status, answer.balances) == (Status.GROWN, (Balance(0, 1_300_000_000),))
    refused = await store.reserve(reserve("r2", "0.01"))
    assert refused.status is Status.REJECTED
    assert refused.rejection is not None
    assert (refused.rejection.is_held, refused.rejection.shortfall) == (True, 310_000_000)
    await store.finalize(finalize("r1", "0.50"))
    assert await figures(store) == ("0.50", "0.00")
    assert (await store.reserve(reserve("r2", "0.50"))).status is Status.RESERVED


@pytest.mark.proves("I9")
async def test_it_writes_one_entry_for_each_counter_that_changes(store: Store):
    await store.reserve(reserve("r1", "0.10 800", *BOTH, trace="00-reserve"))
    answer = await store.grow(grow("r1", "0.30 700", trace="00-grow"))
    (entry,) = answer.entries
    assert (entry.op, entry.status, entry.reservation_id, entry.reason) == (Op.GROW, Status.GROWN, "r1", "outgrown")
    assert (entry.counter, entry.spent_delta, entry.reserved_delta) == (KEY.counter, 0, 200_000_000)
    assert (entry.trace, entry.reserve_trace) == ("00-grow", "")
    assert answer.balances == (Balance(0, 300_000_000), Balance(0, 800))
    assert (await store.grow(grow("r1", "0.30 700"))).written == 0
    both = (await store.grow(grow("r1", "0.40 900"))).entries
    assert [(each.counter, each.reserved) for each in both] == [(KEY.counter, 400_000_000), (TEAM_TOKENS.counter, 900)]
    assert (await whole_journal(store))[2:] == [entry, *both]
    assert [entry.bookings for entry in await whole_journal(store)] == [0] * 5


async def test_the_hold_is_known_by_what_its_reserve_asked_for(store: Store):
    verb = reserve("r1", "0.10", charge="0.02", trace="00-reserve")
    await store.reserve(verb)
    await store.grow(grow("r1", "0.40", trace="00-grow"))
    again = await store.reserve(verb)
    assert (again.status, again.admits, again.written) == (Status.DUPLICATE, True, 0)
    assert (await store.reserve(reserve("r1", "0.40", charge="0.02"))).status is Status.CONFLICT
    (held,) = await store.holds()
    assert held == again.recorded
    assert (held.asked, held.held, held.expiry_charge) == (amounts("0.10"), amounts("0.40"), amounts("0.02"))
    assert held.trace == "00-reserve"


async def test_a_hold_of_nothing_grows(store: Store):
    await store.reserve(reserve("r1", "0", *BOTH))
    assert await store.counters() == []
    await store.grow(grow("r1", "0.40", trace="00-grow"))
    assert await figures(store) == ("0.00", "0.40")
    await store.release(release("r1"))
    assert await store.counters() == []


@pytest.mark.proves("I3")
async def test_an_expiry_gives_all_of_it_back_and_books_the_charge_that_was_agreed(store: Store, clock: MovableClock):
    await store.reserve(reserve("r1", "0.10", charge="0.02", trace="00-reserve"))
    await store.grow(grow("r1", "0.40"))
    clock.advance(s=60)
    # It is due: nothing revives it.
    answer = await store.grow(grow("r1", "0.80"))
    assert (answer.status, [entry.op for entry in answer.entries]) == (Status.ALREADY_EXPIRED, [Op.EXPIRE])
    assert (answer.entries[0].reserved_delta, answer.entries[0].reserve_trace) == (-400_000_000, "00-reserve")
    assert await figures(store) == ("0.02", "0.00")
    assert (await store.finalize(finalize("r1", "0.50"))).status is Status.FINALIZED_LATE
    assert (await store.grow(grow("r1", "0.80"))).status is Status.ALREADY_FINALIZED
    assert await figures(store) == ("0.50", "0.00")


async def test_it_renews_the_lease_also_where_it_holds_no_more(store: Store, clock: MovableClock):
    await store.reserve(reserve("r1", "0.10"))
    clock.advance(s=40)
    await store.grow(grow("r1", "0.05", lease_s=30))
    assert [held.deadline_ms - START_MS for held in await store.holds()] == [70_000]
    await store.grow(grow("r1", "0.20", lease_s=60))
    assert [held.deadline_ms - START_MS for held in await store.holds()] == [100_000]
    clock.advance(s=59)
    assert (await store.sweep(at_most=10)).written == 0


async def test_released_after_it_has_grown_it_holds_nothing_and_the_journal_explains_it(store: Store):
    await store.reserve(reserve("r1", "0.10"))
    await store.grow(grow("r1", "0.40"))
    assert (await store.release(release("r1"))).status is Status.RELEASED
    assert await figures(store) == ("0.00", "0.00")
    assert [entry.status for entry in await whole_journal(store)] == ["reserved", "grown", "released"]
    await store.finalize(finalize("r2", "0.10"))
    assert [entry.bookings for entry in await whole_journal(store)] == [0, 0, 0, 1]


async def test_it_is_within_the_totals_by_kind(store: Store):
    await store.reserve(reserve("r1", "0.10 800", *BOTH))
    await store.grow(grow("r1", "0.40 900"))
    by_kind = await store.reserved_by_kind()
    assert {kind: held for kind, held in by_kind.items() if held} == {
        (Unit.USD, "key"): 400_000_000,
        (Unit.TOKENS, "team"): 900,
    }


async def test_a_counter_that_is_full_takes_no_more(store: Store):
    await store.reserve(reserve("r1", "0.10 800", *BOTH))
    await change_by_hand(store, KEY.counter, reserved=10**17)
    before, seq = await store.holds(), (await store.head()).seq
    with pytest.raises(StoreRefused, match=r"counter key:a\|.* is full"):
        await store.grow(grow("r1", "0.20 900"))
    assert await store.holds() == before
    # What asks for nothing more of its unit is not refused.
    assert (await store.grow(grow("r1", "0.10 900"))).status is Status.GROWN
    assert (await store.head()).seq == seq + 1
    await change_by_hand(store, KEY.counter, reserved=-(10**17))
