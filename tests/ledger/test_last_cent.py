"""A request is admitted with what is left, where that covers its expected cost and nothing else is held."""

import asyncio

import pytest

from budget_middleware.core.answers import Answer
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts
from budget_middleware.ledger import Hold, Ledger
from budget_middleware.stores.base import Store
from tests.ledger.conftest import OpenLedger, hold, nanos
from tests.ledger.faults import FaultyStore, request_lost

EXPECTED = nanos("0.20")


def usual(amount: str = "0.60", **more) -> Hold:
    """Of a request that is expected to cost a third of what it asks for."""
    return hold(amount, expected_nanos=EXPECTED, **more)


async def spend(ledger: Ledger, amount: str, key: str = "a") -> None:
    spent = hold(amount, key=key)
    assert (await ledger.reserve(spent)).status is Status.RESERVED
    await ledger.finalize(spent, actual=Amounts(usd=nanos(amount)))


async def figures(store: Store) -> list[tuple[int, int]]:
    return [(view.balance.spent, view.balance.reserved) for view in await store.counters()]


async def test_what_is_left_is_held_where_it_covers_the_expected_cost(open_ledger: OpenLedger, base: Store):
    ledger = open_ledger()
    await spend(ledger, "0.70")
    last = usual()
    answer = await ledger.reserve(last)
    assert (answer.status, answer.rejection) == (Status.RESERVED, None)
    assert await figures(base) == [(nanos("0.70"), nanos("0.30"))]
    assert last.asked.usd == nanos("0.30")
    # It cost less, and the next one gets what that left.
    await ledger.finalize(last, actual=Amounts(usd=nanos("0.10")))
    assert (await ledger.reserve(usual())).status is Status.RESERVED
    assert await figures(base) == [(nanos("0.80"), nanos("0.20"))]


@pytest.mark.parametrize(
    ("spent", "asked", "status"),
    [
        ("0.80", usual(), Status.RESERVED),
        ("0.800000001", usual(), Status.REJECTED),
        ("0.70", hold(), Status.REJECTED),
        ("1.00", usual(), Status.REJECTED),
    ],
    ids=["exactly the expected cost", "less than it", "nothing is expected", "all is spent"],
)
async def test_less_than_the_expected_cost_is_refused(open_ledger: OpenLedger, base: Store, spent, asked, status):
    ledger = open_ledger()
    await spend(ledger, spent)
    before = await figures(base)
    made = Hold(asked.payers, asked.asked, expected_nanos=asked.expected_nanos)
    answer = await ledger.reserve(made)
    assert answer.status is status
    if status is Status.REJECTED:
        assert (await figures(base), made.asked) == (before, asked.asked)


async def test_while_anything_else_is_held_there_nothing_is_clipped(open_ledger: OpenLedger, faults: FaultyStore):
    ledger = open_ledger()
    await spend(ledger, "0.50")
    assert (await ledger.reserve(hold("0.01"))).status is Status.RESERVED
    faults.calls.clear()
    refused = usual()
    assert (await ledger.reserve(refused)).status is Status.REJECTED
    assert (refused.asked.usd, faults.count("reserve")) == (nanos("0.60"), 1)


async def test_of_several_at_once_one_gets_the_rest(open_ledger: OpenLedger, base: Store):
    ledger = open_ledger()
    await spend(ledger, "0.70")
    answers: list[Answer] = await asyncio.gather(*[ledger.reserve(usual()) for _ in range(5)])
    assert sorted(answer.status for answer in answers) == [*[Status.REJECTED] * 4, Status.RESERVED]
    assert await figures(base) == [(nanos("0.70"), nanos("0.30"))]


async def test_the_tightest_of_several_limits_decides(open_ledger: OpenLedger, base: Store):
    ledger = open_ledger(limits="key=1/day; key=0.95/month")
    await spend(ledger, "0.70")
    assert (await ledger.reserve(usual())).status is Status.RESERVED
    assert await figures(base) == [(nanos("0.70"), nanos("0.25"))] * 2


async def test_what_an_unanswered_attempt_may_hold_is_not_asked_for_again(open_ledger: OpenLedger, faults: FaultyStore):
    """A late copy of the first would hold another amount under the same id."""
    ledger = open_ledger()
    await spend(ledger, "0.70")
    faults.meets("reserve", request_lost)
    refused = usual()
    assert (await ledger.reserve(refused)).status is Status.REJECTED
    assert refused.asked.usd == nanos("0.60")
