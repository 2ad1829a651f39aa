"""A transfer moves what may be spent from one account to another: both or none, once an id."""

import pytest

from budget_middleware.core.model import Balance
from budget_middleware.core.statuses import Op, Status
from budget_middleware.core.units import Amounts, Unit
from budget_middleware.core.verbs import Transfer
from budget_middleware.core.windows import Period
from budget_middleware.stores.base import Store
from budget_middleware.testing import MovableClock
from tests.stores.audit import audit_report
from tests.stores.verbs import adjust, amounts, figures, finalize, reserve, target, transfer, whole_journal

GIVER = target("team:a", limit="1.00")
GETTER = target("team:b", limit="0.50")
MOVED = transfer("t1", "0.30", GIVER, GETTER)


@pytest.mark.proves("I1", "I9")
async def test_one_has_less_and_the_other_more(store: Store):
    answer = await store.transfer(MOVED)
    assert (answer.status, answer.written, answer.seq) == (Status.TRANSFERRED, 2, 2)
    assert answer.balances == (Balance(300_000_000, 0), Balance(-300_000_000, 0))
    told = [(each.seq, each.counter.account, each.spent_delta, each.limit, each.bookings) for each in answer.entries]
    assert told == [(1, "team:a", 300_000_000, 10**9, 1), (2, "team:b", -300_000_000, 5 * 10**8, 2)]
    assert {(each.op, each.status, each.reservation_id, each.reason) for each in await whole_journal(store)} == {
        (Op.TRANSFER, Status.TRANSFERRED, "t1", "test")
    }
    assert {view.counter.account: view.adjusted for view in await store.counters()} == {
        "team:a": 300_000_000,
        "team:b": -300_000_000,
    }
    assert (await store.reserve(reserve("r1", "0.71", GIVER))).status is Status.REJECTED
    assert (await store.reserve(reserve("r2", "0.80", GETTER))).status is Status.RESERVED
    assert (await audit_report(store)).drift == ()


@pytest.mark.proves("I10")
async def test_an_id_counts_once(store: Store):
    await store.transfer(MOVED)
    again = await store.transfer(MOVED)
    assert (again.status, again.entries) == (Status.DUPLICATE, ())
    for other in (
        transfer("t1", "0.31", GIVER, GETTER),
        transfer("t1", "0.30", GETTER, GIVER),
        transfer("t1", "0.30", GIVER, target("team:c")),
    ):
        assert (await store.transfer(other)).status is Status.CONFLICT
    assert (await store.adjust(adjust("t1", "0.30", GIVER, GETTER))).status is Status.CONFLICT
    await store.adjust(adjust("a1", "0.30", GIVER, GETTER))
    assert (await store.transfer(transfer("a1", "0.30", GIVER, GETTER))).status is Status.CONFLICT
    assert (await figures(store, GIVER), await figures(store, GETTER)) == (("0.60", "0.00"), ("0.00", "0.00"))


@pytest.mark.proves("I5", "I6")
@pytest.mark.parametrize(("spent", "held", "is_held"), [("0.20", "0.75", True), ("0.95", "0", False)])
async def test_what_is_not_available_is_not_given(store: Store, spent: str, held: str, is_held: bool):
    """Neither is what others hold."""
    await store.adjust(adjust("a1", spent, GIVER))
    await store.reserve(reserve("r1", held, GIVER))
    before = await whole_journal(store)
    refused = await store.transfer(transfer("t1", "0.06", GIVER, GETTER))
    assert (refused.status, refused.entries) == (Status.REJECTED, ())
    assert refused.rejection is not None
    assert (refused.rejection.target, refused.rejection.is_held) == (GIVER, is_held)
    assert refused.rejection.balance == refused.balances[0]
    assert (await store.transfer(transfer("t2", "0.05", GIVER, GETTER))).status is Status.TRANSFERRED
    # It was not remembered, so the same id may try again.
    await store.finalize(finalize("r1", "0", GIVER))
    assert (await store.transfer(transfer("t1", "0.06", GIVER, GETTER))).status is (
        Status.TRANSFERRED if is_held else Status.REJECTED
    )
    assert len(await whole_journal(store)) == len(before) + (5 if is_held else 2)


async def test_a_due_lease_stands_in_nobodys_way(store: Store, clock: MovableClock):
    await store.reserve(reserve("r1", "1.00", GIVER))
    clock.advance(s=60)
    answer = await store.transfer(MOVED)
    assert answer.status is Status.TRANSFERRED
    assert [entry.op for entry in answer.entries] == [Op.EXPIRE, Op.TRANSFER, Op.TRANSFER]


async def test_windows_must_be_current_unless_they_are_named(store: Store, clock: MovableClock):
    hours = [target(account, "1.00", period=Period.HOUR) for account in ("team:a", "team:b")]
    clock.advance(s=3600)
    assert (await store.transfer(transfer("t1", "0.30", *hours))).status is Status.STALE_WINDOW
    assert (await store.transfer(transfer("t1", "0.30", *hours, any_window=True))).status is Status.TRANSFERRED
    assert [await figures(store, of) for of in hours] == [("0.30", "0.00"), ("-0.30", "0.00")]


async def test_each_unit_on_its_own_counter(store: Store):
    """Also where several counters give."""
    sources = (GIVER, target("team:a", "1000", unit=Unit.TOKENS))
    destinations = (GETTER, target("team:b", unit=Unit.TOKENS), target("team:b", unit=Unit.REQUESTS))
    verb = Transfer("t1", sources, destinations, amounts("0.10 1001"))
    refused = await store.transfer(verb)
    assert refused.rejection is not None
    assert (refused.rejection.target, refused.rejection.estimate) == (sources[1], 1001)
    verb = Transfer("t1", sources, destinations, amounts("0.10 1000"))
    assert (await store.transfer(verb)).status is Status.TRANSFERRED
    shown = [await figures(store, of) for of in (*sources, *destinations)]
    assert [spent for spent, _ in shown] == ["0.10", "1000", "-0.10", "-1000", "0"]
    assert (await store.transfer(verb)).status is Status.DUPLICATE


async def test_nothing_is_moved_and_remembered(store: Store):
    assert (await store.transfer(transfer("t1", "0", GIVER, GETTER))).entries == ()
    assert (await store.transfer(MOVED)).status is Status.CONFLICT
    assert await store.counters() == []


async def test_back_and_forth_leaves_no_counter(store: Store):
    await store.transfer(MOVED)
    await store.transfer(transfer("t2", "0.30", GETTER, GIVER))
    assert await store.counters() == []


@pytest.mark.parametrize(
    ("sources", "destinations", "amount"),
    [((GIVER,), (GETTER,), Amounts(usd=-1)), ((GIVER,), (GIVER,), Amounts(1)), ((), (GETTER,), Amounts(1))],
)
def test_what_is_no_transfer(sources: tuple, destinations: tuple, amount: Amounts):
    with pytest.raises(ValueError, match=r"no amount to transfer|to itself|gives and somebody who gets"):
        Transfer("t1", sources, destinations, amount)
